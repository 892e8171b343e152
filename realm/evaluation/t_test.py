"""Student's t distribution for whole degrees of freedom, and what few seeds say of a mean: a p-value and an interval.

The closed forms are those of Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev


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
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle, df) > p else (low, middle)
    return high


def t_test(values: Sequence[float]) -> tuple[float, float, float]:
    """Low and high end of the 95 % interval of the mean of at least two values, and its p-value against zero."""
    mean, df = fmean(values), len(values) - 1
    error = stdev(values) / math.sqrt(len(values))
    if error == 0:
        return mean, mean, 1.0 if mean == 0 else 0.0
    reach = quantile(df) * error
    return mean - reach, mean + reach, beyond(mean / error, df)
