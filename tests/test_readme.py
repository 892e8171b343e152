"""The README names every command and what it links to is there; the map and the columns are what the docstrings say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from typer.main import get_command

from realm.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("maker", ["make_map", "make_run_reference"])
def test_the_generated_pages_are_what_the_docstrings_say(maker: str) -> None:
    made = runpy.run_path(str(ROOT / "docs" / f"{maker}.py"))
    assert made["PAGE"].read_text(encoding="utf-8") == made["text"](), f"run python docs/{maker}.py"


def test_the_table_names_every_command() -> None:
    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    table = README.split("## Commands")[1].split("\n## ")[0]
    assert set(re.findall(r"`realm (\w+)", table)) == commands


def test_every_link_leads_to_a_file() -> None:
    targets = re.findall(r"\]\(((?!https?:)[^)#]+)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
