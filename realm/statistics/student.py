"""Student's t distribution for whole degrees of freedom, and what it says of a mean: a p-value and an interval.

The closed forms are those of Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from realm.statistics.bootstrap import certain_ends, certain_p


def beyond(t: float, df: int) -> float:
    """Two-sided p-value: the probability of a value at least as far from zero as `t`; `df` is at least 1."""
    angle = math.atan2(abs(t), math.sqrt(df))
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = (cosine, 0.0) if df % 2 else (1.0, 0.0)
    for k in range(2 + df % 2, df + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    within = (angle + sine * total) * 2 / math.pi if df % 2 else sine * total
    return min(1.0, max(0.0, 1.0 - within))


def quantile(df: int, p: float = 0.05) -> float:
    """The t whose two-sided p-value is `p`, by bisection: 12.706 for one degree of freedom, 4.303 for two."""
    low, high = 0.0, 1.0
    while beyond(high, df) > p:
        high *= 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if beyond(middle, df) > p else (low, middle)
    return high


def t_test(values: Sequence[float]) -> tuple[float, float, float]:
    """Low and high end of the 95 % interval of the mean of at least two values, and its p-value against zero."""
    return _held(fmean(values), stdev(values) / math.sqrt(len(values)), len(values) - 1)


def _held(mean: float, error: float, df: int) -> tuple[float, float, float]:
    """Interval and p-value of a mean with its standard error."""
    if error == 0:
        return mean, mean, 1.0 if mean == 0 else 0.0
    reach = quantile(df) * error
    return mean - reach, mean + reach, beyond(mean / error, df)


#: Variance of differences below which it is but their rounding.
_ROUNDED = 1e-12


@dataclass
class PairedMean:
    """Mean of one difference in [-1, 1] per question, with interval and test, from count, sum and sum of squares."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.squares += value * value

    def summary(self) -> dict[str, Any]:
        """{"questions", "mean", "interval", "p"}; p is two-sided, and None as the interval is with fewer than two.

        Differences that are all equal have no spread to make a t of: see `realm.statistics.bootstrap.certain_ends`.
        """
        mean = self.total / self.count if self.count else None
        found: dict[str, Any] = {"questions": self.count, "mean": mean, "interval": None, "p": None}
        if mean is not None and self.count > 1:
            spread = max(0.0, self.squares - self.count * mean * mean) / (self.count - 1)
            if spread < _ROUNDED:
                return found | {
                    "interval": [*certain_ends(mean, self.count, least=-1.0)],
                    "p": certain_p(mean, self.count),
                }
            *found["interval"], found["p"] = _held(mean, math.sqrt(spread / self.count), self.count - 1)
        return found
