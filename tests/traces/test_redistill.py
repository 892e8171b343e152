"""Recipes whose student learns what it has written itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.config import load_config
from realm.errors import ConfigError, DataError
from realm.pages.data import read_report
from realm.pages.table import Count
from realm.pages.tables import cost_table
from realm.recipes import plan
from realm.run import RunFolder
from realm.training.prepare import prepare
from tests.tiny import TinyTask, go, tiny_bank, tiny_config


def written(run: RunFolder, file: str) -> list[dict[str, Any]]:
    return [row["cot"] for row in json.loads((run.path / "traces" / file).read_text())["traces"]]


@pytest.mark.parametrize(
    ("recipe", "file", "bank", "rl_steps"),
    [
        ("redistill", "sft-1.json", True, 2),
        ("redistill-zero", "sft-1.json", False, 2),
        ("redistill-reader", "sft-0.json", True, 0),
    ],
)
def test_it_learns_what_it_writes_right_and_pays_for_what_it_samples(
    tmp_path: Path, student: Path, task: TinyTask, recipe: str, file: str, bank: bool, rl_steps: int
) -> None:
    config = tiny_config(tmp_path, student, recipe=recipe, sft={"steps": 2}, rl={"steps": 2}, eval_questions=0)
    cots = tiny_bank(task)
    cots.append([CoT(task.rows("train")[0].id, "a lone \ud800", "1", 0, "other")])  # what it costs is counted, too
    run = go(config, bank=cots if bank else None)
    taught = written(run, file)
    gold = {question.id: question.answer for question in task.rows("train")}
    assert taught
    assert all(cot["teacher"] == "student" and cot["answer"] == gold[cot["question_id"]] for cot in taught)
    cost = run.meta.cost
    assert cost is not None
    assert cost.completions == rl_steps * 16 + 4 * len(gold)
    assert bool(cost.teacher_tokens) == bank
    table = cost_table(read_report(run.path))
    assert table is not None
    assert table.bodies[0][1][-1][2][1] == Count(4 * len(gold))  # beside the stages
    assert [stage.fresh for stage in plan(config)][-1] == (recipe != "redistill-reader")


def test_who_reads_routes_needs_a_bank(tmp_path: Path, student: Path, task: TinyTask) -> None:
    for bank in (None, Bank()):
        with pytest.raises(DataError, match=r"there is no bank|the bank has none for any question"):
            prepare(tiny_config(tmp_path, student, recipe="redistill-reader"), task, bank)
    config = tiny_config(tmp_path, student, recipe="redistill-reader")
    config.routes.k = 0
    with pytest.raises(ConfigError, match=r"it is to read routes, but routes.k is 0"):
        prepare(config, task, tiny_bank(task))


def test_steps_that_would_be_ignored_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"training\.sft\.traces"):
        load_config(None, ["training.recipe=redistill-zero", "training.sft.traces=[bank, right]"])
