"""Arms compared over several seeds: pooled accuracies, paired differences, and the correction of their p-values.

Intervals are 95 % bootstrap intervals over questions *and* seeds: in every resample the seeds are drawn with
replacement and so are the questions, the same questions for every seed and for both sides of a difference.

So few seeds make the bootstrap too sure of itself. What is claimed rests on differences, and theirs reach as far as the
t interval of the seeds' mean differences too (`tested`), which knows how few they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np

from realm.files import read_jsonl
from realm.method.seeds import derive
from realm.statistics.bootstrap import Difference, bootstrap_interval
from realm.statistics.student import t_test

#: Share of right completions of every question id.
Outcome = Mapping[str, float]
#: Outcomes by (split, routes).
Accuracies = dict[tuple[str, int], dict[str, float]]


def accuracies(folder: Path) -> Accuracies:
    """The share of right completions of every question in a finished evaluation, from its predictions.jsonl."""
    found: Accuracies = {}
    for row in read_jsonl(folder / "predictions.jsonl"):
        if row["stage"] == "final":
            right = [item["correct"] for item in row["completions"]]
            found.setdefault((row["split"], row["routes"]), {})[row["question_id"]] = sum(right) / len(right)
    return found


def pooled_means(runs: Sequence[Outcome], resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """Means of bootstrap resamples over seeds and questions, shape (resamples,); equal seeds resample equally.

    Args:
        runs: a value for every question id, one mapping a seed; all hold the same questions.

    Raises:
        ValueError: the seeds were not asked the same questions.
    """
    values = _values(runs)
    source = np.random.default_rng(derive(seed, "pooled"))
    means = []
    for _ in range(resamples):
        rows = source.integers(0, len(values), len(values))
        columns = source.integers(0, values.shape[1], values.shape[1])
        means.append(values[rows][:, columns].mean())
    return np.array(means)


def _values(runs: Sequence[Outcome]) -> np.ndarray:
    """The values of all runs, shape (seeds, questions)."""
    ids = sorted(runs[0])
    if any(sorted(run) != ids for run in runs):
        raise ValueError("pooling needs the same questions for every seed")
    return np.array([[run[key] for key in ids] for run in runs])


def pooled_mean(runs: Sequence[Outcome], resamples: int = 2000, seed: int = 0) -> Difference:
    """Mean over seeds and questions with its interval over both; arguments and errors as of `pooled_means`.

    One seed has the interval of its own evaluation (`realm.evaluation.evaluate`).
    """
    if len(runs) == 1:
        values = list(runs[0].values())
        return Difference(fmean(values), *bootstrap_interval(values, resamples, derive(seed, "bootstrap")))
    low, high = np.quantile(pooled_means(runs, resamples, seed), [0.025, 0.975])
    return Difference(float(_values(runs).mean()), float(low), float(high))


class Compared(NamedTuple):
    """A mean difference with its 95 % interval and two-sided p-value."""

    difference: float
    low: float
    high: float
    p: float


def tested(runs: Sequence[Outcome], resamples: int = 2000, seed: int = 0) -> Compared:
    """The mean of differences over seeds and questions, held against zero; arguments and errors as of `pooled_means`.

    The p-value is the larger of two, and the interval reaches as far as either of theirs: of the bootstrap over seeds
    and questions (twice the share of resamples on the far side of zero, at least 2 / (resamples + 1)), and of the
    two-sided t-test over the seeds' means. One seed has the bootstrap over questions alone.
    """
    means = pooled_means(runs, resamples, seed)
    low, high = (float(end) for end in np.quantile(means, [0.025, 0.975]))
    far = min(int(np.sum(means <= 0)), int(np.sum(means >= 0)))
    p = min(1.0, 2 * (far + 1) / (resamples + 1))
    by_seed = _values(runs).mean(axis=1)
    mean = float(by_seed.mean())
    if len(runs) > 1:
        t_low, t_high, t_p = t_test([float(value) for value in by_seed])
        low, high, p = max(-1.0, min(low, t_low)), min(1.0, max(high, t_high)), max(p, t_p)
    return Compared(mean, low, high, p)


def subtract(a: Outcome, b: Outcome) -> dict[str, float]:
    """a − b for every question id."""
    return {key: a[key] - b[key] for key in a}


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


def interval_words(seeds: int) -> str:
    """How the interval of a difference was made, for the pages that show one."""
    if seeds == 1:
        return "with 95 % bootstrap intervals over questions: one seed says nothing of what another would give"
    return (
        "with 95 % intervals that reach as far as the bootstrap over questions and seeds and as the t interval of the "
        f"{seeds} seeds' mean differences, whichever is farther"
    )
