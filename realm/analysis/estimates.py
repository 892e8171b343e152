"""Figures with 95 % intervals from one pass over a bank, in memory that does not grow with it.

The unit of every interval is the question: CoTs of one question are not independent of each other.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from realm.method.seeds import derive, rng

#: Resamples of a Poisson bootstrap.
RESAMPLES = 500

T = TypeVar("T")


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
    _above: np.ndarray = field(default_factory=lambda: np.zeros(RESAMPLES))
    _below: np.ndarray = field(default_factory=lambda: np.zeros(RESAMPLES))

    def add(self, above: float, below: float, weights: np.ndarray) -> None:
        """What one question adds; `weights` are its `poisson_weights`."""
        if below:
            self.above += above
            self.below += below
            self._above += above * weights
            self._below += below * weights

    @property
    def value(self) -> float | None:
        """The ratio; None where nothing was added."""
        return self.above / self.below if self.below else None

    def interval(self) -> list[float] | None:
        """Its 95 % interval [low, high] by percentiles; None where nothing was added."""
        held = self._below > 0
        if not held.any():
            return None
        return [float(end) for end in np.quantile(self._above[held] / self._below[held], [0.025, 0.975])]


@dataclass
class PairedMean:
    """Mean of one difference per question, with Student's interval and test, from count, sum and sum of squares."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.squares += value * value

    def summary(self) -> dict[str, Any]:
        """{"questions", "mean", "interval", "p"}; p is two-sided, and None as the interval is with fewer than two."""
        if not self.count:
            return {"questions": 0, "mean": None, "interval": None, "p": None}
        mean = self.total / self.count
        found: dict[str, Any] = {"questions": self.count, "mean": mean, "interval": None, "p": None}
        if self.count > 1:
            spread = max(0.0, self.squares - self.count * mean * mean) / (self.count - 1)
            error = math.sqrt(spread / self.count)
            reach = student_quantile(self.count - 1) * error
            found["interval"] = [mean - reach, mean + reach]
            if error:
                found["p"] = student_tail(abs(mean) / error, self.count - 1)
            else:
                found["p"] = 1.0 if mean == 0 else 0.0
        return found


def student_tail(t: float, freedom: int) -> float:
    """P(|T| > t) of Student's distribution, by Simpson's rule over θ = arctan(t/√ν): density ∝ cos θ^(ν − 1)."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    start, end, parts = math.atan(t / math.sqrt(freedom)), math.pi / 2, 2000
    # With many degrees of freedom the density is a narrow bump at θ = 0: cut the empty rest off.
    end = min(end, start + 40.0 / math.sqrt(freedom))
    width = (end - start) / parts
    total = 0.0
    for part in range(parts + 1):
        weight = 1 if part in (0, parts) else 4 if part % 2 else 2
        total += weight * max(0.0, math.cos(start + part * width)) ** (freedom - 1)
    return min(1.0, 2 * scale * total * width / 3)


def student_quantile(freedom: int, level: float = 0.05) -> float:
    """The t with P(|T| > t) = level."""
    low, high = 0.0, 1.0
    while student_tail(high, freedom) > level:
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, freedom) > level else (low, middle)
    return high


class Reservoir(Generic[T]):
    """An even sample of a stream of unknown length (Vitter's algorithm R), seeded."""

    def __init__(self, size: int, seed: int, name: str) -> None:
        self.items: list[T] = []
        self.seen = 0
        self._size = size
        self._source: random.Random = rng(seed, "reservoir", name)

    def add(self, item: T) -> None:
        self.seen += 1
        if len(self.items) < self._size:
            self.items.append(item)
        elif (place := self._source.randrange(self.seen)) < self._size:
            self.items[place] = item


def spread(values: list[int] | list[float], mean: float | None = None) -> dict[str, Any]:
    """{"mean", "p5", "median", "p95", "max"} of a sample; `mean` where it is known better. All None for none."""
    if not values:
        return dict.fromkeys(("mean", "p5", "median", "p95", "max"))
    low, middle, high = (float(value) for value in np.quantile(values, [0.05, 0.5, 0.95]))
    found = float(np.mean(values)) if mean is None else mean
    return {"mean": found, "p5": low, "median": middle, "p95": high, "max": max(values)}
