"""What prompts showed and what banks hold, from a bank whose figures are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.config import Config
from realm.errors import DataError
from realm.experiments.facts import bank_facts, shown_routes
from realm.experiments.grid import Cell, Grid
from realm.experiments.results import Outcomes
from realm.experiments.spec import Spec
from realm.rows.experiment import Shown
from tests.conftest import write_rows
from tests.experiments.sample import Invented
from tests.tiny import TinyTask, tiny_bank


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    """Two arms on one bank of four CoTs a question, two of them wrong; the first showed routes, the second none."""
    tiny_bank(TinyTask()).save(tmp_path / "bank")
    grid = Grid(Config())
    for arm, shown in (("mixed", 2.0), ("none", 0.0)):
        folder = tmp_path / arm
        folder.mkdir()
        logged = {"step": 1, "seconds": 1, "tokens": 1, "loss": 0.1, "grad_norm": 0.1, "learning_rate": 0.1}
        rows = [
            {"stage": "rl", **logged, "routes_per_prompt": shown, "routes_dropped": 0.5},
            {"stage": "sft", **logged},
        ]
        write_rows(folder / "metrics.jsonl", rows)
        (folder / "bank_stats.json").write_text(json.dumps({"redundancy": {"mean_distance": 0.4}}))
        changes: dict[str, Any] = {"bank.path": str(tmp_path / "bank"), "routes.k": 3}
        changes |= {"routes.selection": "error_ratio", "routes.error_ratio": 0.0}
        grid.cells.append(Cell(arm, 0, grid.common.changed(changes), folder, folder, None))
    return grid


def test_routes_shown_are_those_that_training_draws(grid: Grid) -> None:
    # Of the three that were to be right only two are there: the third place is filled with a wrong one.
    assert shown_routes(grid, ["mixed", "none"], TinyTask()) == [
        Shown(arm="mixed", routes=3.0, wrong=pytest.approx(1 / 3), dropped=0.5)
    ]


def untrained() -> Outcomes:
    """The untrained model's outcomes, of the one seed that the grid has; a quarter is right."""
    found = Invented({"base": 0.25}, questions=400)
    found.seeds = [0]
    return cast(Outcomes, found)


def test_facts_of_the_bank_of_a_pair(grid: Grid) -> None:
    spec = Spec(
        title="t",
        question="q",
        kind="bound",
        banks={"A": {}},
        arms={"mixed": {"bank": "A"}, "none": {"bank": "A"}},  # type: ignore[dict-item]
        pairs=[("mixed", "none")],
    )
    (facts,) = bank_facts(spec, grid, untrained(), TinyTask())
    assert (facts.name, facts.teacher, facts.distance, facts.pair) == ("A", 0.5, 0.4, ("mixed", "none"))
    # The student is held against the teacher where the teacher has CoTs: on these eight questions of four hundred.
    (answers,) = untrained().of("base", ("test", False))
    assert facts.student == sum(answers[question.id] for question in TinyTask().rows("test")) / 8
    assert facts.gap == pytest.approx(facts.teacher - facts.student)
    assert facts.student != sum(answers.values()) / len(answers)
    assert -1 <= facts.low < facts.gap < facts.high <= 1


def test_what_a_teacher_did_not_bring_to_an_end_is_not_right(grid: Grid, tmp_path: Path) -> None:
    """Beside the four CoTs of every question one that was cut, one that cannot be read, and one that nobody judged."""
    bank = Bank.open(tmp_path / "bank")
    for question in TinyTask().rows("test"):
        more: list[dict[str, Any]] = [
            {"label": 0, "problem": "cut"},
            {"label": None, "reason": "unreadable"},
            {"label": None},
        ]
        bank.append(CoT(question.id, "t", "", teacher="late", sample=n, **one) for n, one in enumerate(more))
    bank.save(tmp_path / "longer")
    for cell in grid.cells:
        cell.config.bank.path = str(tmp_path / "longer")
    (facts,) = bank_facts(bound(("mixed", "none")), grid, untrained(), TinyTask())
    assert facts.teacher == pytest.approx(2 / 6)


def bound(*pairs: tuple[str, ...]) -> Spec:
    arms = {"mixed": {"bank": "A"}, "none": {"bank": "A"}}
    return Spec.model_validate(
        {"title": "t", "question": "q", "kind": "bound", "banks": {"A": {}}, "arms": arms, "pairs": pairs}
    )


def test_the_gain_is_that_of_a_pair_in_the_headline(grid: Grid) -> None:
    spec = bound(("mixed", "none", "ood/with"), ("none", "mixed"))
    assert [one.pair for one in bank_facts(spec, grid, untrained(), TinyTask())] == [("none", "mixed")]


def test_banks_that_hold_too_little_are_told(grid: Grid, tmp_path: Path) -> None:
    for folder in ("mixed", "none"):
        (tmp_path / folder / "bank_stats.json").write_text(json.dumps({"redundancy": {"mean_distance": None}}))
    with pytest.raises(DataError, match="no question has two"):
        bank_facts(bound(("mixed", "none")), grid, untrained(), TinyTask())
    found = untrained()
    found.headline = ("train", False)
    Bank().save(tmp_path / "empty")
    for cell in grid.cells:
        cell.config.bank.path = str(tmp_path / "empty")
    with pytest.raises(DataError, match=r"bank A: .* found none that every seed has"):
        bank_facts(bound(("mixed", "none")), grid, found, TinyTask())


def test_a_bank_is_told_of_once_by_its_first_pair(grid: Grid) -> None:
    spec = Spec(
        title="t",
        question="q",
        kind="bound",
        banks={"A": {}},
        arms={"mixed": {"bank": "A"}, "none": {"bank": "A"}},  # type: ignore[dict-item]
        pairs=[("mixed", "none"), ("none", "mixed")],  # type: ignore[list-item]
    )
    assert [one.pair for one in bank_facts(spec, grid, untrained(), TinyTask())] == [("mixed", "none")]
