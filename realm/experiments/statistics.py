"""Intervals, differences and p-values over seeds and questions, from the outcome of every question.

Everything rests on one bootstrap (`realm.comparison.pooled_means`): in every resample the seeds are drawn with
replacement and so are the questions, the same ones for both sides of a difference. With few seeds the part of the
seeds is rough: five of them have 126 different resamples, and the interval tends to be too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from realm.comparison import pooled_means, subtract

#: Share of right completions of every question id.
Outcome = Mapping[str, float]


class Compared(NamedTuple):
    """A mean difference with its 95 % interval and two-sided p-value."""

    difference: float
    low: float
    high: float
    p: float


def paired(a: Sequence[Outcome], b: Sequence[Outcome], resamples: int, seed: int) -> Compared:
    """Mean of a − b, paired by seed and question, with interval and p-value.

    The p-value is twice the share of resamples on the far side of zero, at least 1 / (resamples + 1): no smaller one
    can be shown by so many resamples.

    Raises:
        ValueError: the runs hold different questions.
        KeyError: b lacks a question of a.
    """
    runs = [subtract(one, other) for one, other in zip(a, b, strict=True)]
    means = pooled_means(runs, resamples, seed)
    low, high = np.quantile(means, [0.025, 0.975])
    far = min(float(np.mean(means <= 0)), float(np.mean(means >= 0)))
    p = min(1.0, max(2 * far, 1 / (resamples + 1)))
    mean = float(np.mean([list(run.values()) for run in runs]))
    return Compared(mean, float(low), float(high), p)


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected by Holm's step-down method (Scand. J. Statist. 6, 1979), in the order given.

    Their family-wise error rate holds however the tests depend on each other.
    """
    corrected = [0.0] * len(values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda place: values[place])):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = highest
    return corrected
