"""Where arms fall while they train: the best step, the first one below it beyond the margin, and what stays untold."""

from __future__ import annotations

from pathlib import Path

import pytest

from realm.config import Config
from realm.experiments.courses import courses
from realm.experiments.grid import Cell
from realm.experiments.results import curves_of
from realm.files import append_jsonl
from realm.rows.experiment import At, Curve


def curves(*seeds: list[float], arm: str = "a", measure: str = "without") -> list[Curve]:
    """Curves with an evaluation every ten steps, one a seed."""
    return [
        Curve(arm=arm, seed=seed, measure=measure, points=tuple((10 * n, value) for n, value in enumerate(values)))
        for seed, values in enumerate(seeds)
    ]


def test_start_best_and_end_are_means_over_the_seeds() -> None:
    found = courses([*curves([0.25, 0.5, 0.75], [0.25, 1.0, 0.5]), *curves([0.5, 0.25], measure="with")])
    without, with_ = found
    assert (without.arm, without.measure, without.seeds) == ("a", "without", 2)
    assert without.start == At(step=0, mean=0.25)
    assert without.best == At(step=10, mean=0.75)
    assert without.end == At(step=20, mean=0.625)
    assert with_.best == At(step=0, mean=0.5)


def test_a_fall_is_the_first_step_below_the_best_by_more_than_the_margin() -> None:
    # At step 20 the seeds fall by 0, 4 and 2 points (t 1.73), at step 30 by 10, 12 and 14 (t 10.4), then they recover.
    (row,) = courses(curves([0.2, 0.6, 0.6, 0.5, 0.6], [0.2, 0.6, 0.56, 0.48, 0.6], [0.2, 0.6, 0.58, 0.46, 0.6]))
    fall = row.falls
    assert fall is not None
    assert fall.step == 30
    assert fall.difference == pytest.approx(0.12)
    # Standard error 0.02 / sqrt(3), t of two degrees of freedom 4.30265.
    assert fall.low == pytest.approx(0.12 - 4.30265 * 0.0115470, abs=1e-5)
    assert fall.high == pytest.approx(0.12 + 4.30265 * 0.0115470, abs=1e-5)


def test_no_fall_is_told_of_one_seed_or_before_the_best() -> None:
    assert courses(curves([0.6, 0.9, 0.1]))[0].falls is None
    assert courses(curves([0.6, 0.1, 0.9], [0.6, 0.2, 0.9], [0.6, 0.15, 0.9]))[0].falls is None


def test_equal_falls_have_no_margin() -> None:
    assert courses(curves([0.7, 0.5], [0.6, 0.4]))[0].falls is None


def test_only_steps_of_every_seed_count() -> None:
    (row,) = courses(curves([0.2, 0.4], [0.2, 0.4, 0.9]))
    assert row.end.step == 10 == row.best.step
    assert courses([Curve(arm="a", seed=0, measure="without", points=())]) == []


def test_steps_count_on_over_the_stages_and_the_last_evaluation_is_none_of_them(tmp_path: Path) -> None:
    logged = {"seconds": 1.0, "tokens": 1, "loss": 0.1, "grad_norm": 0.1, "learning_rate": 0.1}
    for stage, step in (("sft", 40), ("rl", 20)):
        append_jsonl(tmp_path / "metrics.jsonl", {"stage": stage, "step": step, **logged})
    taken = [("base", 0, 0.25), ("sft", 40, 0.5), ("rl", 20, 0.75), ("final", 20, 0.875)]
    append_jsonl(
        tmp_path / "evaluations.jsonl",
        *(
            {"stage": stage, "step": step, "split": split, "routes": 0, "n": 8}
            | {"accuracy": value, "accuracy_low": value, "accuracy_high": value}
            for stage, step, value in taken
            for split in ("validation", "validation_ood")
        ),
    )
    cell = Cell("a", 3, Config(), tmp_path, tmp_path, None)
    points = ((0, 0.25), (40, 0.5), (60, 0.75))
    assert curves_of(cell, tmp_path) == [Curve(arm="a", seed=3, measure="without", points=points)]
