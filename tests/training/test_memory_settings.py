"""What saves memory as a setting: micro-batches, mixed precision, the optimizer. The same training, in less room."""

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from realm.errors import ConfigError
from realm.files import read_jsonl
from realm.recipes import plan
from realm.training.grpo import grpo_settings
from realm.training.prepare import _tell_coarse
from realm.training.sft import sft_settings
from tests.tiny import CONTEXT, go, tiny_config, weights


@pytest.mark.parametrize(
    ("stage", "micro", "loss_type"),
    # bnpo is left out: it is a mean over the tokens of a micro-batch by definition.
    [("sft", 2, "dapo"), ("rl", 4, "dapo"), ("rl", 2, "dapo"), ("rl", 4, "grpo"), ("rl", 4, "dr_grpo")],
)
def test_micro_batches_add_up_to_the_batch(
    tmp_path: Path, student: Path, stage: str, micro: int, loss_type: str
) -> None:
    """One optimizer step in float32: its loss and the norm of its gradient within 1e-4; 2 cuts the groups of 4."""
    options: dict[str, Any] = {"recipe": "realm-r1" if stage == "sft" else "realm-zero", "eval_questions": 0}
    whole = {"sft": {"steps": 1}, "rl": {"steps": 1, "loss_type": loss_type}}
    parts = {**whole, stage: {**whole[stage], "micro_batch_size": micro}}
    one = go(tiny_config(tmp_path / "one", student, **whole, **options))
    many = go(tiny_config(tmp_path / "many", student, **parts, **options))
    alone, apart = read_jsonl(one.path / "metrics.jsonl")[0], read_jsonl(many.path / "metrics.jsonl")[0]
    for name in ("loss", "grad_norm", "tokens"):
        assert apart[name] == pytest.approx(alone[name], rel=1e-4, abs=1e-6), name
    assert apart.get("reward") == alone.get("reward")


def test_bf16_reaches_both_stages(tmp_path: Path, student: Path) -> None:
    """Forward and backward in bf16, weights and optimizer in float32."""
    full = go(tiny_config(tmp_path / "full", student, recipe="realm-r1", rl={"steps": 2}, sft={"steps": 2}))
    mixed = go(
        tiny_config(tmp_path / "mixed", student, recipe="realm-r1", rl={"steps": 2, "bf16": True}, sft={"steps": 2})
    )
    assert all(math.isfinite(row["loss"]) for row in read_jsonl(mixed.path / "metrics.jsonl"))
    exact, rounded = (read_jsonl(run.path / "metrics.jsonl")[0] for run in (full, mixed))
    assert rounded["loss"] == pytest.approx(exact["loss"], rel=2e-2) and rounded["loss"] != exact["loss"]
    assert {tensor.dtype for tensor in weights(mixed.path / "model").values()} == {torch.float32}
    config = tiny_config(tmp_path, student, rl={"bf16": True})
    assert sft_settings(config, output=str(tmp_path), seed=0, steps=1).bf16
    assert grpo_settings(config, output=str(tmp_path), seed=0, context=CONTEXT).bf16


def test_weights_in_bf16(tmp_path: Path, student: Path) -> None:
    config = tiny_config(tmp_path, student, recipe="realm-r1", rl={"steps": 2}, sft={"steps": 1})
    config.model.dtype = "bfloat16"
    run = go(config)
    assert {tensor.dtype for tensor in weights(run.path / "model").values()} == {torch.bfloat16}
    assert json.loads((run.path / "model" / "config.json").read_text())["dtype"] == "bfloat16"


def test_weights_of_bf16_that_would_hardly_move_are_told(
    tmp_path: Path, student: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny_config(tmp_path, student, recipe="realm-r1", rl={"learning_rate": 1e-6}, sft={"learning_rate": 1e-3})
    for dtype, r in (("float32", 0), ("bfloat16", 4)):
        _tell_coarse(config.changed({"model.dtype": dtype, "training.lora.r": r}), plan(config))
    assert not caplog.text
    _tell_coarse(config.changed({"model.dtype": "bfloat16"}), plan(config))
    assert "steps of training.rl.learning_rate 1e-06 are rounded away" in caplog.text


def test_optimizers(tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = go(
        tiny_config(tmp_path, student, recipe="realm-r1", rl={"steps": 1, "optimizer": "adafactor"}, sft={"steps": 1})
    )
    assert any(not torch.equal(found, weights(student)[name]) for name, found in weights(run.path / "model").items())
    there = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "bitsandbytes" else there(name))
    config = tiny_config(tmp_path, student, rl={"optimizer": "adamw_8bit"})
    for settings in (
        lambda: grpo_settings(config, output=str(tmp_path), seed=0, context=CONTEXT),
        lambda: sft_settings(config, output=str(tmp_path), seed=0, steps=1),
    ):
        with pytest.raises(ConfigError, match=r"adamw_8bit needs bitsandbytes, .*pip install"):
            settings()
