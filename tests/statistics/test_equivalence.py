"""Equivalence: shown where there is none to speak of, and hardly ever where the margin is reached."""

from __future__ import annotations

import numpy as np
import pytest

from realm.statistics.bootstrap import paired_difference
from realm.statistics.equivalence import equivalence, paired_equivalence

PAIRS, QUESTIONS, RESAMPLES = 200, 250, 400


def simulated(gain: float, seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """Two models of about 60 % that agree on most questions; the second is right on `gain` more."""
    source = np.random.default_rng([seed, round(1000 * gain)])
    a = source.random(QUESTIONS) < 0.6
    flipped = source.random(QUESTIONS) < 0.1
    b = np.where(flipped, source.random(QUESTIONS) < 0.6, a)
    b |= ~b & (source.random(QUESTIONS) < gain / 0.4)
    return tuple({str(n): float(right) for n, right in enumerate(side)} for side in (b, a))  # type: ignore[return-value]


def test_200_pairs_of_equals_and_200_with_ten_points_planted() -> None:
    """A/A pairs are shown to differ as often as chance has it, planted ones always; so are both to be equal."""
    shown = {0.0: 0, 0.1: 0}
    equal = {0.0: 0, 0.1: 0}
    for gain in shown:
        for seed in range(PAIRS):
            a, b = simulated(gain, seed)
            _, low, high = paired_difference(a, b, RESAMPLES, seed)
            shown[gain] += low > 0 or high < 0
            equal[gain] += paired_equivalence(a, b, 0.1, RESAMPLES, seed).same < 0.05
    assert shown[0.0] <= 0.08 * PAIRS
    assert shown[0.1] >= 0.95 * PAIRS
    assert equal[0.1] <= 0.08 * PAIRS  # it lies on the margin
    assert equal[0.0] >= 0.95 * PAIRS


def test_the_sides_are_told_apart() -> None:
    better, mixed = np.linspace(0.04, 0.06, 99), np.array([[1.0, -1.0]])
    found = equivalence(better, 0.02, mixed)
    assert (found.no_worse, found.same) == (0.01, 1.0)
    assert equivalence(-better, 0.02, mixed).no_worse == 1.0
    assert equivalence(better - 0.05, 0.02, mixed).same == 0.01
    assert equivalence(better, 0.05, mixed).same == pytest.approx(0.51)


def test_few_questions_without_a_difference_show_no_equivalence() -> None:
    same = {str(n): float(n % 2) for n in range(20)}
    # That 2 of 100 are lost is missed by 20 questions with a probability of 0.98 ** 20.
    assert paired_equivalence(same, same, 0.02).same == pytest.approx(0.98**20)
    won = {**same, "0": 1.0}
    assert paired_equivalence(won, same, 0.02).no_worse == pytest.approx(0.93**20)
    many = {str(n): 1.0 for n in range(400)}
    assert paired_equivalence(many, many, 0.02).same < 0.001


def test_few_seeds_show_less_than_their_resamples() -> None:
    means = np.full(999, 0.0)
    # Mean 0, standard error 0.01, so t = 2 against 0.02: one-sided p of two degrees of freedom is 0.0918.
    spread = 0.01 * 3**0.5
    found = equivalence(means, 0.02, np.array([[-spread] * 999, [0.0] * 999, [spread] * 999]))
    assert found.same == pytest.approx(0.0918, abs=1e-3) == found.no_worse
    assert equivalence(means, 0.02, np.zeros((1, 999))).same == 0.001
    assert equivalence(means, 0.02, np.array([[-0.05], [-0.05 - spread], [-0.05 + spread]])).no_worse > 0.8
