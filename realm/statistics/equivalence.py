"""Whether a difference is shown to be smaller than a margin: two one-sided tests (TOST; Schuirmann 1987).

That no difference is shown is no sign that there is none; these p-values are small where there is none worth the name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from realm.statistics.bootstrap import resampled_means
from realm.statistics.student import t_test


@dataclass(frozen=True)
class Equivalence:
    """p-values of a difference: that it is above -margin (`no_worse`), and that it lies within the margin (`same`)."""

    no_worse: float
    same: float


def equivalence(means: np.ndarray, margin: float, seeds: Sequence[float] = ()) -> Equivalence:
    """The two one-sided tests of a mean difference.

    Args:
        means: of bootstrap resamples, shape (resamples,); a side's p-value is the share on its far side, at least
            1 / (resamples + 1).
        seeds: mean differences of several seeds; with two or more of them a p-value is that of their t-test too,
            whichever is larger.
    """
    sides = [_above(sign * means + margin, [sign * one + margin for one in seeds]) for sign in (1, -1)]
    return Equivalence(sides[0], max(sides))


def _above(means: np.ndarray, seeds: Sequence[float]) -> float:
    """One-sided p-value: the mean is above 0."""
    p = (int(np.sum(means <= 0)) + 1) / (len(means) + 1)
    if len(seeds) < 2:
        return p
    two_sided = t_test(seeds)[2]
    return max(p, two_sided / 2 if fmean(seeds) > 0 else 1 - two_sided / 2)


def paired_equivalence(
    a: Mapping[str, float], b: Mapping[str, float], margin: float, resamples: int = 2000, seed: int = 0
) -> Equivalence:
    """The tests of a − b, paired by question id, by the resamples of `realm.statistics.bootstrap.paired_difference`."""
    return equivalence(resampled_means([a[key] - b[key] for key in sorted(a)], resamples, seed), margin)
