"""Calibration: bins and figures against values worked out by hand, intervals over questions, hostile rows."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from realm.evaluation.measures import auroc, brier
from realm.pages.calibration import calibrate, judged_routes
from realm.pages.data import read_report
from realm.pages.judging import copying_figures
from realm.rows.training import RlStep
from tests.pages import fake_run


def test_bins_hold_what_was_worked_out_by_hand() -> None:
    found = calibrate([[(0.05, 0), (0.95, 1)], [(0.92, 0), (1.0, 1)], [(None, 1), (0.5, 1)]])
    assert (found.questions, found.n, found.missing) == (3, 6, 1)
    assert [(one.low, one.high, one.n) for one in found.bins] == [(0.0, 0.1, 1), (0.5, 0.6, 1), (0.9, 1.0, 3)]
    last = found.bins[-1]
    assert last.score == pytest.approx((0.95 + 0.92 + 1.0) / 3)
    assert last.right == pytest.approx(2 / 3)
    assert (found.bins[0].right_low, found.bins[0].right_high) == pytest.approx((0.0, 0.975))  # of one question
    # (0.05² + 0.05² + 0.92² + 0 + 1 for the missing score + 0.5²) / 6
    assert found.brier == pytest.approx((0.0025 + 0.0025 + 0.8464 + 0 + 1 + 0.25) / 6)
    # 0.05 against 0, 0.5 against 1, three scores of mean 0.9567 against two thirds
    assert found.error == pytest.approx((0.05 + 0.5 + 3 * (2.87 / 3 - 2 / 3)) / 5)
    assert found.accuracy == pytest.approx(4 / 6)


def test_the_figures_are_those_of_the_evaluation() -> None:
    rng = random.Random(0)
    judged = [[(rng.choice([None, rng.random()]), rng.randrange(2)) for _ in range(4)] for _ in range(50)]
    scores = [score for one in judged for score, _ in one]
    labels = [label for one in judged for _, label in one]
    found = calibrate(judged)
    assert found.brier == brier(scores, labels)
    assert found.auroc == auroc(scores, labels)


def test_intervals_resample_questions_not_routes() -> None:
    rng = random.Random(1)
    alone = [[(0.8, int(rng.random() < 0.6))] for _ in range(400)]
    # The same 400 routes, but the four of a question stand and fall together.
    together = [[(0.8, judged[0][1])] * 4 for judged in alone[:100]]
    narrow, wide = calibrate(alone).bins[0], calibrate(together).bins[0]
    assert narrow.n == wide.n == 400
    assert narrow.right_low < narrow.right < narrow.right_high
    assert wide.right_high - wide.right_low > 1.6 * (narrow.right_high - narrow.right_low)
    assert calibrate(alone) == calibrate(alone)


def test_a_model_whose_scores_are_the_truth_has_no_error() -> None:
    found = calibrate([[(1.0, 1), (0.0, 0)]] * 20)
    assert (found.brier, found.error, found.auroc, found.accuracy) == (0.0, 0.0, 1.0, 1.0)
    assert calibrate([[(None, 1)]]).error is None
    with pytest.raises(ValueError, match="at least one question"):
        calibrate([])
    with pytest.raises(ValueError, match="routes"):
        calibrate([[]])


def predicted(labels: list[Any], *scores: list[Any], stage: str = "final", split: str = "test") -> dict[str, Any]:
    """A row of predictions.jsonl: routes with these labels, and a completion for each list of scores."""
    row = fake_run.predictions(random.Random(0), "grpo", 1)[0]
    shown = [{"id": "a", "answer": "1", "label": label} for label in labels]
    completions = [{**row["completions"][0], "scores": each} for each in scores]
    return {**row, "stage": stage, "split": split, "shown": shown, "completions": completions}


def test_rows_without_routes_or_sense_are_passed_over(tmp_path: Path) -> None:
    rows = [
        predicted([], []),
        predicted([1], [0.9], stage="rl"),
        predicted(["yes"], [0.9]),
        {**predicted([1], [0.9]), "shown": "routes", "completions": 3},
        predicted([1, 1], [None, None], [None, 0.5], split="ood"),
        predicted([1], [7]),
        predicted([1], [0.9], [0.9]),
    ]
    fake_run.jsonl(tmp_path / "predictions.jsonl", rows)
    notes: list[str] = []
    found = judged_routes(tmp_path, notes)
    assert found == {"ood": [[(None, 1), (None, 1), (None, 1), (0.5, 1)]], "test": [[(0.9, 1), (0.9, 1)]]}
    (note,) = notes
    assert "3 unreadable lines were left out, the first, line 3: shown.0.label: " in note


def test_same_err_is_drawn_over_training_and_of_the_validation_questions(tmp_path: Path) -> None:
    report = read_report(fake_run.training_run(tmp_path / "r", steps=120))
    sampled, validated = copying_figures(report)
    assert "sampled in RL" in sampled.title and "Validation" in validated.title
    row = next(row for row in report.runs[0].evaluations if row.stage == "sft" and row.routes)
    assert f"step {row.step} · {100 * (row.same_err or 0):.1f}" in validated.drawing
    for run in report.runs:
        run.metrics = [replace(row, same_err=None) if isinstance(row, RlStep) else row for row in run.metrics]
    assert [figure.title for figure in copying_figures(report)] == [validated.title]


def test_completions_that_were_not_asked_to_judge_are_left_out(tmp_path: Path) -> None:
    rows = [predicted([1], []), predicted([1], [None], [0.9])]  # the first with prompt.judge: false
    fake_run.jsonl(tmp_path / "predictions.jsonl", rows)
    assert judged_routes(tmp_path, []) == {"test": [[(None, 1), (0.9, 1)]]}
