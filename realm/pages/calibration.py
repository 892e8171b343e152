"""Calibration of the scores: what the student says of the routes against what they are, from predictions.jsonl."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realm.evaluation.measures import auroc, brier, scoring_accuracy
from realm.method.seeds import derive
from realm.rows.evaluation import Prediction
from realm.run_rows import read_rows
from realm.statistics.bootstrap import certain_ends, ends, quotients

#: Bins of equal width that scores in [0, 1] are sorted into, and resamples of the questions for an interval.
BINS, RESAMPLES = 10, 1000
#: Draws held in memory at once; of very many questions fewer resamples are made.
_CHUNK = 20_000_000

#: The routes that one question's completions judged: (score, None where none could be read; label).
Judged = list[tuple[float | None, int]]


@dataclass(frozen=True)
class Bin:
    """The scores in [low, high): how many, their mean, and the share of their routes that are right, with interval.

    Of all or none the interval is the exact one over their questions.
    """

    low: float
    high: float
    n: int
    score: float
    right: float
    right_low: float
    right_high: float


@dataclass(frozen=True)
class Calibration:
    """How far the scores of one model on one split can be taken at their word.

    Attributes:
        questions, n, missing: questions, routes judged, and those of them whose score could not be read.
        brier, brier_low, brier_high: mean (s − u)² with its 95 % interval over questions; a missing score counts 1.
        auroc: None where all labels are equal. accuracy: share of routes judged rightly at ½.
        error: expected calibration error, the mean distance of a bin's score from its share of right routes, weighted
            by its routes (Naeini et al., AAAI 2015); None where no score was read.
    """

    questions: int
    n: int
    missing: int
    brier: float
    brier_low: float
    brier_high: float
    auroc: float | None
    accuracy: float
    error: float | None
    bins: tuple[Bin, ...]


def judged_routes(folder: Path, notes: list[str]) -> dict[str, list[Judged]]:
    """By split, what each question's completions of the final evaluation said of the routes shown."""
    found: dict[str, list[Judged]] = {}
    for row in read_rows(folder, Prediction, notes):
        labels = [route.label for route in row.shown]
        judged: Judged = []
        for item in row.completions:
            if item.scores and row.stage == "final":  # none where nobody was asked to judge (prompt.judge: false)
                judged += zip((*item.scores, *[None] * len(labels)), labels, strict=False)
        if judged:
            found.setdefault(row.split, []).append(judged)
    return found


def calibrate(questions: Sequence[Judged]) -> Calibration:
    """The calibration of what several questions' completions said of their routes.

    Intervals resample questions: scores of one question are not independent.

    Raises:
        ValueError: there is no question, or one without a route.
    """
    if not questions or not all(questions):
        raise ValueError("calibration needs at least one question, and routes for each")
    pairs = [pair for judged in questions for pair in judged]
    scores, labels = [score for score, _ in pairs], [label for _, label in pairs]
    value, accuracy = brier(scores, labels), scoring_accuracy(scores, labels)
    assert value is not None and accuracy is not None
    # Every resample is the number of times each question was drawn.
    source = np.random.default_rng(derive(0, "calibration"))
    size = len(questions)
    resamples = max(200, min(RESAMPLES, _CHUNK // size))
    drawn = source.multinomial(size, np.full(size, 1 / size), resamples).astype(float)
    errors = np.array(
        [[sum(1.0 if s is None else (s - u) ** 2 for s, u in judged), len(judged)] for judged in questions]
    )
    sums = drawn @ errors
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
    bins = _bins(questions, drawn)
    read = sum(one.n for one in bins)
    return Calibration(
        questions=size,
        n=len(pairs),
        missing=len(pairs) - read,
        brier=value,
        brier_low=float(low),
        brier_high=float(high),
        auroc=auroc(scores, labels),
        accuracy=accuracy,
        error=sum(one.n * abs(one.score - one.right) for one in bins) / read if read else None,
        bins=bins,
    )


def _bins(questions: Sequence[Judged], drawn: NDArray[np.float64]) -> tuple[Bin, ...]:
    """The bins that hold a score; `drawn` (resamples, questions) says how often each question is in a resample."""
    counts = np.zeros((3, len(questions), BINS))  # routes, right ones among them, sum of their scores
    for index, judged in enumerate(questions):
        for score, label in judged:
            if score is not None:
                place = min(BINS - 1, int(score * BINS))
                counts[:, index, place] += (1, label, score)
    found = []
    for place in range(BINS):
        n, right, total = counts[:, :, place].sum(1)
        if not n:
            continue
        low, high = certain_ends(float(right > 0), int((counts[0, :, place] > 0).sum()))
        if 0 < right < n:
            low, high = ends(quotients(drawn @ counts[1, :, place], drawn @ counts[0, :, place]))
        edges = place / BINS, (place + 1) / BINS
        found.append(Bin(*edges, int(n), float(total / n), float(right / n), float(low), float(high)))
    return tuple(found)
