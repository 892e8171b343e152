"""The quickstart before it starts: budgets, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.config import Config
from realm.errors import ConfigError, ModelError, ResourceError
from realm.experiments.grid import DESK, base_config, make_grid
from realm.experiments.quickstart import run_quickstart
from realm.experiments.spec import find, load

FILE = find("quickstart")


def arms(tmp_path: Path, *overrides: str, fast: bool = False) -> dict[str, Config]:
    grid = make_grid(load(FILE), FILE, tmp_path, seeds=1, overrides=overrides, fast=fast)
    return {cell.arm: cell.config for cell in grid.cells}


def run(folder: Path, *overrides: str, overwrite: bool = False) -> None:
    quiet = Console(quiet=True)
    run_quickstart(DESK, overrides, folder, fast=True, overwrite=overwrite, command="realm quickstart", console=quiet)


@pytest.mark.parametrize("fast", [False, True])
def test_the_cold_start_is_taken_from_the_common_budget(tmp_path: Path, fast: bool) -> None:
    found = arms(tmp_path, fast=fast)
    steps = 16 if fast else base_config(load(FILE), FILE).training.rl.steps
    assert found["grpo"].training.rl.steps == found["realm-zero"].training.rl.steps == steps
    r1 = found["realm-r1"].training
    assert r1.rl.steps + r1.sft.steps == steps
    # Nothing else differs between the recipes but their names.
    for name in ("realm-zero", "realm-r1"):
        changes: dict[str, Any] = {"run": found["grpo"].run, "training.recipe": "grpo", "training.rl.steps": steps}
        assert found[name].changed(changes) == found["grpo"]


def test_no_room_for_rl_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sft\.steps \(100\) must be below training\.rl\.steps \(100\)"):
        arms(tmp_path, "training.rl.steps=100")


def test_mistakes_leave_nothing_behind(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": str(n), "question": f"{n}?", "answer": "1"}) + "\n" for n in range(300)))
    with pytest.raises(ConfigError, match="only knows the task desk"):
        run(tmp_path / "q", "task.name=jsonl", f"task.path={rows}")
    with pytest.raises(ModelError, match="nowhere"):
        run(tmp_path / "q", f"model.path={tmp_path / 'nowhere'}")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_banks_and_what_is_no_quickstart_are_never_replaced(tmp_path: Path) -> None:
    bank = tmp_path / "q" / "banks" / "big"
    with BankFolder.create(bank, {"teachers": {"big": {"kind": "openai"}}}).writer() as writer:
        writer.write([CoT("q", "text", "1", 1, teacher="big")])
    (tmp_path / "q" / "cells").mkdir()
    (tmp_path / "q" / "results.json").write_text("{}")
    with pytest.raises(ResourceError, match="already used"):
        run(tmp_path / "q")
    with pytest.raises(ModelError, match="nowhere"):
        run(tmp_path / "q", f"model.path={tmp_path / 'nowhere'}", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "q").iterdir()) == ["banks", "cells", "results.json"]
    (tmp_path / "q" / "letter.txt").write_text("mine")
    with pytest.raises(ResourceError, match=r"letter\.txt"):
        run(tmp_path / "q", overwrite=True)
    assert (bank / "cots.jsonl").exists()
