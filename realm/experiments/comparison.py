"""Arms compared over several seeds: pooled accuracies, paired differences, and the correction of their p-values.

Intervals are 95 % bootstrap intervals over questions *and* seeds: in every resample the seeds are drawn with
replacement and so are the questions, the same questions for every seed and for both sides of a difference.

So few seeds make the bootstrap too sure of itself. What is claimed rests on differences, and theirs reach as far as the
t interval of the seeds' mean differences too (`tested`), which knows how few they are.
"""

import functools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from realm.evaluation.sums import Tally, tally
from realm.files import read_jsonl
from realm.method.seeds import derive
from realm.statistics.bootstrap import (
    Difference,
    bootstrap_interval,
    certain_ends,
    certain_p,
    ends,
    equal,
    quotients,
    share_interval,
    swapped_p,
)
from realm.statistics.equivalence import Equivalence, equivalence
from realm.statistics.student import t_test

#: Share of right completions of every question id.
Outcome = Mapping[str, float]
#: True equations and stated ones of every question id: the figure of a seed is their share over all of its questions.
Sums = Mapping[str, tuple[int, int]]
#: One seed each.
Runs = Sequence[Outcome] | Sequence[Sums]
#: A split, and whether routes are shown.
Key = tuple[str, bool]


def accuracies(folder: Path) -> dict[Key, dict[str, float]]:
    """The share of right completions of every question in a finished evaluation, from its predictions.jsonl."""
    found: dict[Key, dict[str, float]] = {}
    for row in read_jsonl(folder / "predictions.jsonl"):
        if row["stage"] == "final":
            right = [item["correct"] for item in row["completions"]]
            found.setdefault((row["split"], row["routes"] > 0), {})[row["question_id"]] = sum(right) / len(right)
    return found


def stated(folder: Path, wanted: Collection[Key]) -> dict[Key, dict[str, Tally]]:
    """The equations that the completions of every question state there, of what is wanted."""
    found: dict[Key, dict[str, Tally]] = {}
    for row in read_jsonl(folder / "predictions.jsonl") if wanted else ():
        if row["stage"] == "final" and (key := (row["split"], row["routes"] > 0)) in wanted:
            found.setdefault(key, {})[row["question_id"]] = tally(item["text"] for item in row["completions"])
    return found


def pooled_means(runs: Runs, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """Means of bootstrap resamples over seeds and questions, shape (resamples,); equal seeds resample equally.

    Of equations, means over the seeds of each seed's share of true ones; NaN where a seed states none.

    Args:
        runs: a value for every question id, one mapping a seed; all hold the same questions.

    Raises:
        ValueError: the seeds were not asked the same questions.
    """
    values = _values(runs)
    rows, columns = _drawn(*values.shape[:2], resamples, seed)
    if values.ndim == 2:
        return np.asarray((columns @ values.T * rows).sum(axis=1) / values.size)
    each = quotients(columns @ values[..., 0].T, columns @ values[..., 1].T)
    return np.asarray((each * rows).sum(axis=1) / len(values))


@functools.lru_cache(maxsize=4)  # all differences of an experiment rest on the same resamples
def _drawn(seeds: int, questions: int, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each seed and each question is in each resample, shapes (resamples, seeds), (resamples, questions)."""
    source = np.random.default_rng(derive(seed, "pooled"))
    rows, columns = np.empty((resamples, seeds)), np.empty((resamples, questions))
    for place in range(resamples):
        rows[place] = np.bincount(source.integers(0, seeds, seeds), minlength=seeds)
        columns[place] = np.bincount(source.integers(0, questions, questions), minlength=questions)
    return rows, columns


def by_seed(runs: Runs) -> list[float]:
    """The figure of every seed; NaN for one that states no equation. Errors as of `pooled_means`."""
    return [float(value) for value in _each(_values(runs))]


def _each(values: np.ndarray) -> np.ndarray:
    if values.ndim == 2:
        return values.mean(axis=1)
    true, all_ = np.moveaxis(values.sum(axis=1), 1, 0)
    return quotients(true, all_)


def _values(runs: Runs) -> np.ndarray:
    """The values of all runs, shape (seeds, questions), of equations (seeds, questions, 2)."""
    ids = sorted(runs[0])
    if any(sorted(run) != ids for run in runs):
        raise ValueError("pooling needs the same questions for every seed")
    return np.array([[run[key] for key in ids] for run in runs], dtype=np.float64)


def pooled_mean(runs: Runs, resamples: int = 2000, seed: int = 0) -> Difference:
    """Mean over seeds and questions with its interval over both; arguments and errors as of `pooled_means`.

    One seed has the interval of its own evaluation (`realm.evaluation.evaluate`).
    """
    mean, values = fmean(by_seed(runs)), _values(runs)
    if len(runs) == 1:
        interval: Any = share_interval if values.ndim == 3 else bootstrap_interval
        return Difference(mean, *interval(list(runs[0].values()), resamples, derive(seed, "bootstrap")))
    means = pooled_means(runs, resamples, seed)
    if not equal(means[~np.isnan(means)]) or (values.ndim == 3 and mean not in (0.0, 1.0)):
        return Difference(mean, *ends(means))
    asked = (values[..., -1] > 0).any(axis=0).sum() if values.ndim == 3 else values.shape[1]
    return Difference(mean, *certain_ends(mean, int(asked)))


class Compared(NamedTuple):
    """A mean difference with its 95 % interval and two-sided p-value."""

    difference: float
    low: float
    high: float
    p: float


def tested(runs: Sequence[Outcome], resamples: int = 2000, seed: int = 0, most: float = 1.0) -> Compared:
    """The mean of differences over seeds and questions, held against zero; arguments and errors as of `pooled_means`.

    The p-value is the larger of two, and the interval reaches as far as either of theirs: of the bootstrap over seeds
    and questions (twice the share of resamples on the far side of zero, at least 2 / (resamples + 1)), and of the
    two-sided t-test over the seeds' means; of one seed, of swapping the sides of questions (`swapped_p`). Differences
    that are all equal have no resample with another mean: see `realm.statistics.bootstrap.certain_ends`. None is beyond
    `most`.
    """
    found = _held(pooled_means(runs, resamples, seed), by_seed(runs), len(runs[0]), most)
    if len(runs) > 1:
        return found
    half = np.stack([_values(runs)[0] / 2, np.ones(len(runs[0]))], axis=1)
    return found._replace(p=max(found.p, swapped_p(half, half * (-1, 1), resamples, seed)))


def _held(means: np.ndarray, seeds: Sequence[float], questions: int, most: float = 1.0) -> Compared:
    """Differences against zero: `means` of resamples, that of every seed, and the number of questions they are of."""
    means = means[~np.isnan(means)]
    if equal(means):
        mean = fmean(seeds)
        return Compared(mean, *certain_ends(mean, questions, -most, most), certain_p(mean / most, questions))
    low, high = ends(means)
    far = min(int(np.sum(means <= 0)), int(np.sum(means >= 0)))
    p = min(1.0, 2 * (far + 1) / (len(means) + 1))
    if len(seeds) > 1:
        t_low, t_high, t_p = t_test(seeds)
        low, high, p = max(-most, min(low, t_low)), min(most, max(high, t_high)), max(p, t_p)
    return Compared(fmean(seeds), low, high, p)


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


def against_margin(a: Sequence[Outcome], b: Sequence[Outcome], margin: float, resamples: int, seed: int) -> Equivalence:
    """Whether a − b is shown to be above -margin, and within it; arguments and errors as of `paired`."""
    runs = [subtract(one, other) for one, other in zip(a, b, strict=True)]
    return equivalence(pooled_means(runs, resamples, seed), margin, _values(runs))


class Range(NamedTuple):
    """The arm with the lowest mean, that with the highest, and their difference with a 95 % interval."""

    lowest: str
    highest: str
    difference: float
    low: float
    high: float


def farthest(arms: Mapping[str, Sequence[Outcome]], resamples: int, seed: int) -> Range:
    """How far arms that answered the same questions lie apart; errors as of `pooled_means`.

    The interval holds for all pairs of them at once, as the two are picked by these figures: 95 % of the resamples have
    no two arms that are farther off together than half of it.
    """
    means = {arm: fmean(by_seed(runs)) for arm, runs in arms.items()}
    lowest, highest = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    off = [pooled_means(runs, resamples, seed) - means[arm] for arm, runs in arms.items()]
    half, apart = float(np.quantile(np.ptp(off, axis=0), 0.95)), means[highest] - means[lowest]
    return Range(lowest, highest, apart, max(0.0, apart - half), min(1.0, apart + half))


def paired_sums(a: Sequence[Sums], b: Sequence[Sums], resamples: int, seed: int) -> Compared:
    """The same of shares of true equations; both sides of a resample are of the same seeds and questions."""
    means = pooled_means(a, resamples, seed) - pooled_means(b, resamples, seed)
    both = (_values(a)[..., 1] > 0) & (_values(b)[..., 1] > 0)
    seeds = [one - other for one, other in zip(by_seed(a), by_seed(b), strict=True)]
    found = _held(means, seeds, max(1, int(both.any(axis=0).sum())))
    if len(a) > 1:
        return found
    return found._replace(p=max(found.p, swapped_p(_values(a)[0], _values(b)[0], resamples, seed)))


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
