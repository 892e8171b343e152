"""The quickstart before it starts: budgets, what it refuses, and which finished seeds it keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from realm import quickstart
from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.batch import FAST, with_values
from realm.config import Config, dump_config, load_config
from realm.errors import ConfigError, ModelError, ResourceError
from realm.quickstart import recipe_configs, run_quickstart, run_seeds

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
        assert with_values(found[name], changes) == found["grpo"]


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


def test_finished_seeds_are_kept_if_their_settings_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[int, bool]] = []

    def pretend(one: Config, *, fast: bool, overwrite: bool, console: Console) -> Path:
        ran.append((one.run.seed, overwrite))
        one.run_path.mkdir(parents=True, exist_ok=True)
        (one.run_path / "config.yaml").write_text(dump_config(with_values(one, FAST if fast else {})))
        (one.run_path / "summary.json").write_text(json.dumps({"seed": one.run.seed}))
        return one.run_path

    monkeypatch.setattr(quickstart, "run_quickstart", pretend)
    monkeypatch.setattr(quickstart, "results_page", lambda *args: "page")
    quiet = Console(quiet=True)
    page = run_seeds(config(tmp_path), seeds=2, fast=True, overwrite=False, console=quiet)
    assert page.read_text() == "page"
    run_seeds(config(tmp_path), seeds=3, fast=True, overwrite=False, console=quiet)
    assert ran == [(0, False), (1, False), (2, False)]
    with pytest.raises(ResourceError, match=r"seed-0: a finished run of other settings"):
        run_seeds(config(tmp_path), seeds=3, fast=False, overwrite=False, console=quiet)
    run_seeds(config(tmp_path), seeds=1, fast=False, overwrite=True, console=quiet)
    assert ran[3:] == [(0, True)]


def test_a_bank_that_was_paid_for_is_never_replaced(tmp_path: Path) -> None:
    settings = config(tmp_path)
    bank = settings.run_path / "bank"
    with BankFolder.create(bank, {"teachers": {"big": {"kind": "openai"}}}).writer() as writer:
        writer.write([CoT("q", "text", "1", 1, teacher="big")])
    before = (bank / "cots.jsonl").read_bytes()
    with pytest.raises(ResourceError, match="did not come from the scripted teacher"):
        run_quickstart(settings, fast=True, overwrite=True, console=Console(quiet=True))
    assert (bank / "cots.jsonl").read_bytes() == before
