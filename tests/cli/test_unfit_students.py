"""Students and settings that cannot be trained: one line, exit 2, and no folder."""

from __future__ import annotations

import json
import resource
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Realm

LORA = {"base_model_name_or_path": "Qwen/Qwen3-0.6B", "peft_type": "LORA"}


def adapters(model: Path) -> None:
    (model / "config.json").unlink()
    (model / "adapter_config.json").write_text(json.dumps(LORA))


def nameless_adapters(model: Path) -> None:
    (model / "config.json").unlink()
    (model / "adapter_config.json").write_text("no JSON")


def gguf(model: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "q4.gguf").write_bytes(b"GGUF")


def bare_gguf(model: Path) -> None:
    shutil.rmtree(model)
    model.mkdir()
    (model / "q4.gguf").write_bytes(b"GGUF")


def templates(model: Path) -> None:
    settings = json.loads((model / "tokenizer_config.json").read_text())
    settings["chat_template"] = [{"name": "rag", "template": "x"}, {"name": "tool_use", "template": "y"}]
    (model / "tokenizer_config.json").write_text(json.dumps(settings))


def fine(model: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "settings", "told"),
    [
        (
            adapters,
            [],
            "holds adapters (LoRA, adapter_config.json), not a model. They belong to Qwen/Qwen3-0.6B: merge",
        ),
        (nameless_adapters, [], "not a model. Merge them into it"),
        (gguf, [], "found a GGUF file, which llama.cpp runs"),
        (bare_gguf, [], "found a GGUF file, which llama.cpp runs"),
        (templates, [], "Available template names are ['rag', 'tool_use']"),
        (fine, ["model.dtype=float16"], "model.dtype: float16 weights cannot be trained"),
        (fine, ["training.lora.r=4", "training.lora.targets=[lm_head]"], "the head (lm_head) cannot be adapted"),
        (fine, ["model.template_arguments={enable_thinking: false}"], "the model has no chat template; leave it out"),
        (fine, ["model.date=tomorrow"], "expected a day as 2025-01-31"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_told_in_one_line_before_a_folder_is_made(
    work: Path, student: Path, realm: Realm, change: Callable[[Path], None], settings: list[str], told: str
) -> None:
    shutil.copytree(student, work / "model")
    change(work / "model")
    result = realm("train", "config.yaml", "--model", "model", *(word for s in settings for word in ("--set", s)))
    assert (result.exit_code, result.exception.__class__) == (2, SystemExit), result.output
    assert told in " ".join(result.stderr.split()), result.stderr
    assert not (work / "runs").exists()


def test_a_gguf_file_given_by_its_name(work: Path, realm: Realm) -> None:
    (work / "q4.gguf").write_bytes(b"GGUF")
    result = realm("train", "config.yaml", "--model", "./q4.gguf")
    assert result.exit_code == 2 and "realm model import FILE.gguf DIR" in " ".join(result.stderr.split())


def test_weights_of_float16_are_evaluated_and_train_no_adapters(work: Path, realm: Realm) -> None:
    """What goes back through them to adapters can be below float16's range, and nothing scales it."""
    half = ["--set", "model.dtype=float16"]
    assert realm("evaluate", "config.yaml", *half).exit_code == 0
    result = realm("train", "config.yaml", *half, "--set", "training.lora.r=2")
    assert result.exit_code == 2 and "nor can adapters above them" in " ".join(result.stderr.split())


def test_a_checkpoint_of_adapters_names_the_model_of_its_run(work: Path, realm: Realm) -> None:
    assert realm("train", "config.yaml", "--set", "training.lora.r=2").exit_code == 0
    result = realm("evaluate", "config.yaml", "--model", "runs/first/checkpoints/rl/round-0/checkpoint-2")
    assert result.exit_code == 2
    assert f"the model of that run, with its adapters merged, is {work}/runs/first/model" in result.stderr


@pytest.mark.parametrize(
    ("key", "mode", "ok"),
    [(None, "", False), ("secret", "", True), (None, "offline", True)],
    ids=["no-key", "key", "offline"],
)
def test_wandb_without_a_key(
    work: Path, realm: Realm, monkeypatch: pytest.MonkeyPatch, key: str | None, mode: str, ok: bool
) -> None:
    """It would ask for one, or fail, when the training starts."""
    from realm.training import prepare

    wandb: Any = types.ModuleType("wandb")
    wandb.api = types.SimpleNamespace(api_key=key)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setattr(prepare, "get_available_reporting_integrations", lambda: ["wandb"])
    monkeypatch.setenv("WANDB_MODE", mode)
    if ok:
        assert prepare._known_to_wandb()
        return
    result = realm("train", "config.yaml", "--set", "run.report_to=[wandb]")
    assert result.exit_code == 2 and "run.report_to: wandb has no key here" in result.stderr
    assert not (work / "runs").exists()


@pytest.mark.usefixtures("work")
def test_a_limit_on_the_size_of_files_is_told_as_one(realm: Realm) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        found = realm("train", "config.yaml")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (found.exit_code, found.exception.__class__) == (2, SystemExit), found.output
    assert "ulimit -f" in found.stderr
