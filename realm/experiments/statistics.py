"""Differences between arms over seeds and questions, and the correction of their p-values.

Everything rests on `realm.comparison.tested`: a bootstrap that draws the seeds and the questions, the same ones for
both sides of a difference, held against a t-test over the seeds; the more cautious of the two counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from realm.comparison import Compared, subtract, tested

#: Share of right completions of every question id.
Outcome = Mapping[str, float]


def paired(a: Sequence[Outcome], b: Sequence[Outcome], resamples: int, seed: int) -> Compared:
    """Mean of a − b, paired by seed and question, with interval and p-value as of `tested`.

    Raises:
        ValueError: the runs hold different questions.
        KeyError: b lacks a question of a.
    """
    return tested([subtract(one, other) for one, other in zip(a, b, strict=True)], resamples, seed)


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
