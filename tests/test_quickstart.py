"""The quickstart before it starts: budgets, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from realm import quickstart
from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.config import Config, load_config
from realm.errors import ConfigError, ModelError, ResourceError
from realm.quickstart import recipe_configs, run_quickstart

DESK = Path(quickstart.__file__).parent / "desk" / "desk.yaml"


def config(tmp_path: Path, *overrides: str) -> Config:
    return load_config(DESK, [f"run.dir={tmp_path}", "run.name=q", *overrides])


def test_the_cold_start_is_taken_from_the_common_budget(tmp_path: Path) -> None:
    settings = config(tmp_path)
    found = recipe_configs(settings, tmp_path / "q")
    assert found["grpo"].training.rl.steps == found["realm-zero"].training.rl.steps == settings.training.rl.steps
    r1 = found["realm-r1"].training
    assert r1.rl.steps + r1.sft.steps == settings.training.rl.steps
    # Nothing else differs between the recipes but their names.
    for name in ("realm-zero", "realm-r1"):
        changes: dict[str, Any] = {"run.name": "grpo", "training.recipe": "grpo", "training.rl.steps": 160}
        assert found[name].changed(changes) == found["grpo"]


def test_no_room_for_rl_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sft\.steps \(100\) must be below training\.rl\.steps \(100\)"):
        recipe_configs(config(tmp_path, "training.rl.steps=100"), tmp_path)


def test_mistakes_leave_nothing_behind(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": str(n), "question": f"{n}?", "answer": "1"}) + "\n" for n in range(300)))
    other = config(tmp_path, "task.name=jsonl", f"task.path={rows}")
    with pytest.raises(ConfigError, match="only knows the task desk"):
        run_quickstart(other, fast=True, overwrite=False, console=Console(quiet=True))
    with pytest.raises(ModelError, match="nowhere"):
        run_quickstart(
            config(tmp_path, f"model.path={tmp_path / 'nowhere'}"),
            fast=True,
            overwrite=False,
            console=Console(quiet=True),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_bank_that_was_paid_for_is_never_replaced(tmp_path: Path) -> None:
    settings = config(tmp_path)
    bank = settings.run_path / "bank"
    with BankFolder.create(bank, {"teachers": {"big": {"kind": "openai"}}}).writer() as writer:
        writer.write([CoT("q", "text", "1", 1, teacher="big")])
    before = (bank / "cots.jsonl").read_bytes()
    with pytest.raises(ResourceError, match="did not come from the scripted teacher"):
        run_quickstart(settings, fast=True, overwrite=True, console=Console(quiet=True))
    assert (bank / "cots.jsonl").read_bytes() == before
