"""Paired tests and Holm's correction: golden values, and properties that hold for all p-values."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.comparison import pooled_mean, subtract
from realm.experiments.statistics import holm, paired

RESAMPLES = 500


def runs(skill: float, seeds: int = 3, salt: str = "") -> list[dict[str, float]]:
    """`skill` of 200 questions right, others for every seed."""
    found = []
    for seed in range(seeds):
        source = Random(f"{salt}{seed}")
        found.append({f"q{n}": float(source.random() < skill) for n in range(200)})
    return found


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.6, 0.9]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_never_lowers(values: list[float]) -> None:
    corrected = holm(values)
    assert all(after >= before and after <= 1 for before, after in zip(values, corrected, strict=True))
    order = sorted(range(len(values)), key=lambda place: values[place])
    assert all(corrected[a] <= corrected[b] for a, b in pairwise(order))
    assert corrected[order[0]] == min(1.0, len(values) * values[order[0]])


def test_a_sure_difference_has_the_smallest_p_that_can_be_shown() -> None:
    a = runs(1.0)
    b = runs(0.2)
    found = paired(a, b, RESAMPLES, 0)
    assert found.p == 1 / (RESAMPLES + 1)
    assert found.low > 0.7 and found.difference == pytest.approx(0.8, abs=0.05)
    assert paired(b, a, RESAMPLES, 0).difference == -found.difference
    assert paired(b, a, RESAMPLES, 0).p == found.p


def test_no_difference_has_p_one() -> None:
    same = runs(0.5)
    assert paired(same, same, RESAMPLES, 0) == (0.0, 0.0, 0.0, 1.0)


def test_the_interval_is_that_of_the_pooled_differences() -> None:
    a, b = runs(0.6), runs(0.5, salt="b")
    expected = pooled_mean([subtract(one, other) for one, other in zip(a, b, strict=True)], RESAMPLES, 0)
    assert paired(a, b, RESAMPLES, 0)[:3] == pytest.approx(expected)


def test_p_is_rarely_small_without_a_difference() -> None:
    small = sum(paired(runs(0.5, salt=f"a{n}"), runs(0.5, salt=f"b{n}"), 200, 0).p < 0.05 for n in range(40))
    assert small <= 8  # two expected; few seeds make it somewhat more


def test_other_questions_are_refused() -> None:
    with pytest.raises((KeyError, ValueError)):
        paired([{"a": 1.0}], [{"b": 1.0}], RESAMPLES, 0)
