"""Whether a difference is shown to be smaller than a margin: two one-sided tests (TOST; Schuirmann 1987).

That no difference is shown is no sign that there is none; these p-values are small where there is none worth the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from realm.statistics.bootstrap import resampled_means
from realm.statistics.student import t_test


@dataclass(frozen=True)
class Equivalence:
    """p-values of a difference: that it is above -margin (`no_worse`), and that it lies within the margin (`same`)."""

    no_worse: float
    same: float


def equivalence(means: np.ndarray, margin: float, differences: np.ndarray) -> Equivalence:
    """The two one-sided tests of a mean difference.

    Args:
        means: of bootstrap resamples, shape (resamples,); a side's p-value is the share on its far side, at least
            1 / (resamples + 1).
        differences: of every question in [-1, 1], shape (seeds, questions); with two or more seeds a p-value is that
            of the t-test of their means too, whichever is larger.
    """
    sides = [_above(sign * means, margin, sign * differences) for sign in (1, -1)]
    return Equivalence(sides[0], max(sides))


def _above(means: np.ndarray, margin: float, differences: np.ndarray) -> float:
    """One-sided p-value: the mean is above -margin."""
    p = (int(np.sum(means <= -margin)) + 1) / (len(means) + 1)
    if (differences >= 0).all():
        # No resample has a loss where none was met. Were the mean at -margin, so many questions would be lost, and
        # those that are won beside: as often would none be among as many.
        p = max(p, max(0.0, 1 - margin - float(differences.mean())) ** differences.shape[1])
    seeds = differences.mean(axis=1)
    if len(seeds) < 2:
        return p
    two_sided = t_test([float(one) + margin for one in seeds])[2]
    return max(p, two_sided / 2 if seeds.mean() > -margin else 1 - two_sided / 2)


def paired_equivalence(
    a: Mapping[str, float], b: Mapping[str, float], margin: float, resamples: int = 2000, seed: int = 0
) -> Equivalence:
    """The tests of a − b, paired by question id, by the resamples of `realm.statistics.bootstrap.paired_difference`."""
    differences = [a[key] - b[key] for key in sorted(a)]
    return equivalence(resampled_means(differences, resamples, seed), margin, np.array([differences]))
