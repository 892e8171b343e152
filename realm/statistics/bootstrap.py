"""95 % bootstrap intervals, in memory that does not grow with the data.

The unit of every interval is the question: several samples or CoTs of one are not independent of each other. How a
resample is drawn is said at each function; equal seeds draw equally.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from realm.method.seeds import derive

#: Resamples of a Poisson bootstrap over a stream, and over what is in memory.
RESAMPLES, RESAMPLES_IN_MEMORY = 500, 1000
#: Random numbers drawn at once; bounds the memory of a bootstrap over many questions.
_CHUNK = 2_000_000
#: Differences of shares that are closer are the same.
_ROUNDED = 1e-9


def ends(resampled: np.ndarray) -> tuple[float, float]:
    """Low and high end of the 95 % percentile interval of resampled figures; those that are NaN are left out."""
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return float(low), float(high)


def certain_ends(value: float, n: int, least: float = 0.0, most: float = 1.0) -> tuple[float, float]:
    """The 95 % interval of the mean of what n values in [least, most] were drawn from, where all of them are `value`.

    No resample tells another mean; the values that were not met may be at either end, as often as n draws miss them
    with a probability of 2.5 %. Of a share of 0 or 1 that is the exact interval (Clopper and Pearson).
    """
    met = 0.025 ** (1 / n)
    return met * value + (1 - met) * least, met * value + (1 - met) * most


def certain_p(value: float, n: int) -> float:
    """Two-sided p-value of n differences in [-1, 1] that all are `value`: that what they are drawn from has mean 0."""
    # Some would have to be at the other end then, and n draws would have missed them all.
    return min(1.0, 2 * (1 + abs(value)) ** -n)


def equal(values: np.ndarray) -> bool:
    """Whether all values are the same, but for the rounding of differences of shares."""
    return bool(np.ptp(values) < _ROUNDED)


def chunks(resamples: int, size: int) -> Iterator[int]:
    """How many resamples of `size` units are drawn at once, until all are."""
    rows = max(1, _CHUNK // size)
    yield from (min(rows, resamples - start) for start in range(0, resamples, rows))


class Difference(NamedTuple):
    """A mean difference with its 95 % interval."""

    difference: float
    low: float
    high: float


def bootstrap_interval(
    values: Sequence[float], resamples: int = 2000, seed: int = 0, least: float = 0.0
) -> tuple[float, float]:
    """95 % percentile-bootstrap interval of the mean of `values`, one value in [least, 1] a question.

    Where all values are equal (accuracy 0 or 1) the bootstrap knows no other outcome: see `certain_ends`.

    Raises:
        ValueError: there is no value.
    """
    means = resampled_means(values, resamples, seed)
    return certain_ends(values[0], len(values), least) if equal(np.asarray(values)) else ends(means)


def ratio_interval(values: Sequence[tuple[float, float]], resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """The same of a ratio of two sums over the questions, of what stands above and of what stands below.

    Resamples in which nothing stands below are left out.
    """
    above, below = (resampled_means(side, resamples, seed) for side in zip(*values, strict=True))
    return ends(quotients(above, below))


def share_interval(values: Sequence[tuple[float, float]], resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """The same of a ratio that is a share: of the questions' things (below) those that are counted (above)."""
    above, below = (sum(side) for side in zip(*values, strict=True))
    if above in (0, below):
        return certain_ends(float(above > 0), sum(side > 0 for _, side in values))
    return ratio_interval(values, resamples, seed)


def quotients(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """One by the other, element by element; NaN where nothing stands below."""
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)


def resampled_means(values: Sequence[float], resamples: int, seed: int) -> np.ndarray:
    """Means of resamples of the questions, shape (resamples,); equal seeds draw the same ones."""
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        raise ValueError("a bootstrap interval needs at least one value")
    source = np.random.default_rng(seed)
    return np.concatenate(
        [data[source.integers(0, data.size, (rows, data.size))].mean(1) for rows in chunks(resamples, data.size)]
    )


def paired_difference(
    a: Mapping[str, float], b: Mapping[str, float], resamples: int = 2000, seed: int = 0
) -> Difference:
    """Mean of a − b over the questions, paired by question id, with its 95 % bootstrap interval.

    Raises:
        ValueError: the two do not hold the same questions, or hold none.
    """
    if a.keys() != b.keys():
        raise ValueError("a paired difference needs the same questions on both sides")
    values = [a[key] - b[key] for key in sorted(a)]
    low, high = bootstrap_interval(values, resamples, seed, least=-1.0)
    return Difference(math.fsum(values) / len(values), low, high)


def swapped_p(a: np.ndarray, b: np.ndarray, resamples: int = 2000, seed: int = 0) -> float:
    """Two-sided p-value of the difference of two shares, by swapping the sides of questions at random.

    Fisher's randomization test, which holds however few questions differ; a bootstrap is too sure of few.

    Args:
        a, b: (questions, 2) what is counted, and out of how much; the same questions.
    """
    moved, sides = b - a, (a.sum(axis=0), b.sum(axis=0))
    seen, source = abs(_apart(*sides)), np.random.default_rng(derive(seed, "swapped"))
    far = 0
    for rows in chunks(resamples, len(a)):
        shift = source.integers(0, 2, (rows, len(a))) @ moved
        nearer = abs(_apart(sides[0] + shift, sides[1] - shift)) < seen - _ROUNDED
        far += int(np.sum(~nearer))
    return (far + 1) / (resamples + 1)


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return quotients(a[..., 0], a[..., 1]) - quotients(b[..., 0], b[..., 1])


def poisson_sums(columns: Sequence[np.ndarray], source: np.random.Generator) -> np.ndarray:
    """Each column, one value a question, summed over resamples, shape (columns, RESAMPLES_IN_MEMORY).

    Every question is in every resample Poisson(1) times: see `poisson_weights`.
    """
    found = []
    for rows in chunks(RESAMPLES_IN_MEMORY, len(columns[0])):
        weights = source.poisson(1.0, (rows, len(columns[0])))
        found.append([weights @ column for column in columns])
    return np.concatenate(found, axis=1)


def poisson_weights(seed: int, question_id: str) -> np.ndarray:
    """How often each of `RESAMPLES` resamples holds the question, shape (RESAMPLES,).

    The Poisson bootstrap (Hanley and MacGibbon 2006; Chamandy et al. 2012): every question is in every resample
    Poisson(1) times, independently, which is the bootstrap over questions for one pass and any order of the questions.
    """
    return np.random.default_rng(derive(seed, "bootstrap", question_id)).poisson(1.0, RESAMPLES)


@dataclass
class Ratio:
    """A pooled ratio: the sum of the numerators over the sum of the denominators of all questions."""

    above: float = 0.0
    below: float = 0.0
    units: int = 0
    _above: np.ndarray = field(default_factory=lambda: np.zeros(RESAMPLES))
    _below: np.ndarray = field(default_factory=lambda: np.zeros(RESAMPLES))

    def add(self, above: float, below: float, weights: np.ndarray) -> None:
        """What one question adds; `weights` are its `poisson_weights`."""
        if below:
            self.above += above
            self.below += below
            self.units += 1
            self._above += above * weights
            self._below += below * weights

    @property
    def value(self) -> float | None:
        """The ratio; None where nothing was added."""
        return self.above / self.below if self.below else None

    def interval(self) -> list[float] | None:
        """Its 95 % interval [low, high] by percentiles, of 0 or 1 `certain_ends`; None where nothing was added."""
        if self.below and self.above in (0, self.below):
            return [*certain_ends(float(self.above > 0), self.units)]
        held = self._below > 0
        if not held.any():
            return None
        return [*ends(self._above[held] / self._below[held])]
