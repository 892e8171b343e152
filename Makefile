# Each target sets up what it needs, on a machine with nothing but Python >= 3.11, git and make.
#
#   make quickstart   install into .venv and train the tiny student, offline after the installation (10 minutes)
#   make smollm2      make a student of a pre-trained model of 135 M parameters and train it (examples/smollm2)
#   make test         the fast tests; make test-slow: the others
#   make check        lint, types and the fast tests
#   make docs         the documentation as a site, in build/site/
#
# ARGS="…" is handed on, e.g. make quickstart ARGS=--fast, make test ARGS="-k reward -x".

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help install install-dev quickstart smollm2 test test-slow lint types check docs format clean

# The first Python that is new enough; `make PYTHON=/path/to/python …` names another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The tests run in this many processes, file by file.
WORKERS ?= 2
# A tiny model on many threads spends its time on waiting for them.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
# Nothing is asked of a hub: neither by the quickstart nor by the tests.
quickstart smollm2 test test-slow docs: export HF_HUB_OFFLINE = 1
# A model of this size gains from a second one.
smollm2: export OMP_NUM_THREADS = 2

help:
	@sed -n 's/^#   //p' Makefile

$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found; name one: make PYTHON=/path/to/python" >&2; exit 2; }
	@echo "Creating $(VENV) with $(PYTHON) ..."
	@"$(PYTHON)" -m venv $(VENV)
	@touch $@

# torch goes first and by its exact version, so that no other package's wider range brings in a bigger build.
$(VENV)/.torch: constraints.txt $(VENV)/.created
	@echo "Installing PyTorch (some minutes on the first time) ..."
	@$(PIP_INSTALL) "$$(grep '^torch==' constraints.txt)" -c constraints.txt
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.torch
	@echo "Installing realm and what it needs ..."
	@$(PIP_INSTALL) -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing the tools of development ..."
	@$(PIP_INSTALL) -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	@echo "Installing what builds the site ..."
	@$(PIP_INSTALL) -c constraints.txt -e '.[docs]'
	@touch $@

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

quickstart: $(VENV)/.installed
	@$(BIN)/realm quickstart $(ARGS)

smollm2: $(VENV)/.installed
	@$(PIP_INSTALL) -c constraints.txt -e '.[gguf]'
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/smollm2/run.sh

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not slow" --numprocesses=$(WORKERS) --dist=loadfile $(ARGS)

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow --numprocesses=$(WORKERS) --dist=loadfile $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

check: lint types test

# A link that leads nowhere, a page that no one finds, a docstring that cannot be read: each fails.
docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -q --fail-on-warning -c docs -d build/doctrees . build/site
	@echo "build/site/index.html"

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
