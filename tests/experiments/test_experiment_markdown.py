"""The Markdown page: every table and every figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from realm.config import Config
from realm.experiments.grid import Cell, Grid
from realm.experiments.page import page
from realm.experiments.results import _budget
from realm.experiments.spec import Arm, Spec
from realm.rows.experiment import Took
from tests.experiments.sample import SKILL, results

BANK: dict[str, Any] = {
    "name": "A", "teacher": 0.7, "student": 0.3, "gap": 0.4, "low": 0.3, "high": 0.5, "distance": 0.42,
    "pair": ["mid", "low"],
}  # fmt: skip


def written(**changes: Any) -> str:
    return page(results(**changes), image="sample.svg")


def test_head() -> None:
    text = written()
    assert text.startswith("# A sample\n\nWhich?\n")
    assert "Written by `realm experiment sample`. Seeds 0, 1, 2; 2:05 min of processes of one thread;" in text
    assert "python 3.11, torch 2." in text
    assert "Budget: every arm takes 5 optimizer steps, of 96 completions in RL, 32 examples in SFT;" in text
    assert "## Finding\n\nIt was found.\n\n![A sample](sample.svg)" in text
    assert "figures mean little" not in text
    assert "**A fast run" in written(fast=True)


def test_arms_of_models_of_their_own_are_not_said_to_start_alike() -> None:
    assert "; all start from the same model and answer the same questions." in page(results(), image="a.svg")
    arms = [{"name": arm, "set": {"model.path": f"./{arm}"}} for arm in SKILL]
    text = page(results(arms=arms), image="a.svg")
    assert "the same model" not in text and "start from a model of their own; all answer the same questions." in text


def test_unequal_budgets_are_told_by_arm() -> None:
    budget = {"steps": "low 5, mid 7", "completions_per_step": 96, "examples_per_step": 32}
    assert "Budget: optimizer steps: low 5, mid 7, of 96" in written(budget=budget)


def test_a_step_is_told_of_the_stages_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "realm.experiments.results._costs",
        lambda _: [Took(arm="a", seed=0, steps=5, completions=0, tokens=0, seconds=0)],
    )
    spec = Spec(title="t", question="q", arms={"a": Arm()})
    changes: list[dict[str, object]] = [
        {"training.recipe": "sft"},
        {"training.recipe": "pairs", "training.pairs.batch_size": 8, "training.pairs.micro_batch_size": 8},
        {"training.recipe": "grpo", "training.rl.batch_size": 32, "training.rl.micro_batch_size": 32},
        {"training.recipe": "grpo", "training.rl.batch_size": 96},
    ]
    cells = [Cell("a", 0, Config().changed(one), Path(), Path(), None) for one in changes]
    budget = _budget(spec, Grid(Config(), cells))
    assert "of 32 or 96 completions in RL, 32 examples in SFT, 8 pairs in learning from pairs;" in written(
        budget=budget
    )
    assert "of 32 examples in SFT; all" in written(budget=_budget(spec, Grid(Config(), cells[:1])))


def test_arms_of_a_group_that_take_equal_steps_are_told_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {"a": 80, "b": 80, "c": 160, "d": 159, "e": 7}
    groups = {"a": "short", "b": "short", "c": "long", "d": "long"}
    costs = [Took(arm=arm, seed=0, steps=n, completions=0, tokens=0, seconds=0.0) for arm, n in steps.items()]
    monkeypatch.setattr("realm.experiments.results._costs", lambda _: costs)
    spec = Spec(title="t", question="q", arms={arm: Arm(group=groups.get(arm, "")) for arm in steps})
    assert _budget(spec, Grid(Config()))["steps"] == "short 80, c 160, d 159, e 7"


def test_tables() -> None:
    lines = written().splitlines()
    assert "|  | test, without routes | test, with routes |" in lines
    assert "| mid | **62.0** (58.0 to 66.0) [61.0, 62.0, 63.0] | **82.0** (78.0 to 86.0) [81.0, 82.0, 83.0] |" in lines
    assert "| mid − base | **+32.0** (+27.0 to +37.0), p 0.003 | **+32.0** (+27.0 to +37.0), p 0.003 |" in lines
    assert "| mid − low | +2.0 (-3.0 to +7.0), p 0.400 | +2.0 (-3.0 to +7.0), p 0.400 |" in lines
    assert "| high | **+20.0** (+10.0 to +30.0) |" in lines
    assert "|  | bin | left |" in lines
    assert "| mid | 50 |  |" in lines
    assert "| mid | 0 | 5 | 480 | 12,345 |  | 61 |" in lines


def test_arms_of_a_group_stand_together() -> None:
    arms = [
        {"name": arm, "group": group}
        for arm, group in zip(SKILL, ("", "80 steps", "160 steps", "80 steps"), strict=True)
    ]
    lines = written(arms=arms).splitlines()
    first = lines.index("|  | test, without routes | test, with routes |") + 2
    assert [line.split(" | ")[0] for line in lines[first : first + 6]] == [
        "| base", "| *80 steps*", "| low", "| high", "| *160 steps*", "| mid",
    ]  # fmt: skip
    assert "| *160 steps* |  |  |" in lines


def test_what_was_sampled_for_traces_has_columns_of_its_own() -> None:
    assert (
        "|  | seed | steps | completions in RL | student tokens in training | teacher tokens | seconds |" in written()
    )
    took = {"arm": "mid", "seed": 0, "steps": 5, "completions": 480, "tokens": 12345, "seconds": 61.4}
    lines = written(cost=[took | {"sampled": 400, "sampled_tokens": 2345, "teacher_tokens": 7}]).splitlines()
    assert "| mid | 0 | 5 | 80 | 10,000 | 400 | 2,345 | 7 | 61 |" in lines


def test_few_seeds_are_said_to_be_rough() -> None:
    assert "With few seeds their part of an interval is rough" in written()


def test_the_page_says_what_its_intervals_and_p_values_rest_on() -> None:
    assert "the t interval of the 3 seeds' mean differences" in written()
    assert "the larger one of that bootstrap and of a t-test over the seeds" in written()
    one = written(seeds=[0])
    assert "one seed says nothing of what another would give" in one
    assert "t-test" not in one
    assert "bootstrap intervals over questions *and* seeds" in written()
    assert "seeds*" not in one and "bootstrap intervals over questions:" in one


def test_empty_tables_are_left_out() -> None:
    text = written(pairs=[], gaps=[], gap_pairs=[], kinds=[], judging=[], cost=[], training=[])
    assert text.count("\n## ") == 2  # finding and accuracy


def test_every_table_has_its_section() -> None:
    """What is in them: tests/pages/test_experiment_page.py, of the same tables."""
    text = written(shown=[{"arm": "low", "routes": 4.0, "wrong": 0.125, "dropped": 0.5}], banks=[BANK])
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        "Finding", "Accuracy", "Differences", "What routes in the prompt still add", "Differences of these gaps",
        "By kind of question", "How routes are read", "While training", "What the prompts showed", "Banks",
        "What each training took",
    ]  # fmt: skip
    assert all(f"\n| {first} | " in text for first in ("low", "A", "mid", "mid − low"))


def test_one_thread_is_claimed_only_where_it_is_so() -> None:
    assert "seconds of training on one thread, without evaluation" in written()
    text = written(threads=None)
    assert "2:05 min of processes;" in text and "one thread" not in text


def test_names_of_the_user_are_text_in_a_table() -> None:
    kinds = [{"arm": "mid", "kind": "a|b", "mean": 0.5}]
    assert "|  | a\\|b |" in written(kinds=kinds).splitlines()


def test_what_the_teacher_was_paid_stands_beside_what_it_wrote() -> None:
    took = {"arm": "mid", "seed": 0, "steps": 5, "completions": 480, "tokens": 12345, "seconds": 61.4}
    paid = {"teacher_tokens": 70, "teacher_cots": 7, "teacher_cost": 0.21, "currency": "EUR"}
    axis = {"label": "cost", "by": "teacher_cost", "values": {"low": 0.1, "mid": 0.21, "high": 1200.4}}
    lines = written(cost=[took | paid, took | {"seed": 1}], axis=axis).splitlines()
    head = "| student tokens in training | teacher tokens | teacher CoTs | teacher cost, EUR | seconds |"
    assert any(line.endswith(head) for line in lines)
    assert "| mid | 0 | 5 | 480 | 12,345 | 70 | 7 | 0.21 | 61 |" in lines
    assert "| mid | 1 | 5 | 480 | 12,345 |  |  |  | 61 |" in lines
    assert "|  | cost | test, without routes | test, with routes |" in lines
    assert [line.split(" | ")[:2] for line in lines if line.startswith("| high |") and "**20.0**" in line] == [
        ["| high", "1,200"]
    ]
    assert "teacher cost" not in written()


def test_how_far_settings_move_a_measure_stands_beside_the_interval_of_what_is_reported() -> None:
    row = {"group": "decoding", "measure": "test/without", "arms": 3, "lowest": "high", "highest": "mid"}
    ends = {"difference": 0.42, "low": 0.25, "high": 0.6}
    lines = written(kind="models", spreads=[row | ends]).splitlines()
    assert "## How far the settings move it" in lines
    assert "| test, without routes, decoding | 3 | high | mid | **42.0** (25.0 to 60.0) | 4.0 |" in lines
