"""Paired tests and Holm's correction: golden values, and properties that hold for all p-values."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.experiments.comparison import holm, paired, pooled_mean, subtract

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


def test_the_bootstraps_p_is_never_below_what_its_resamples_can_show() -> None:
    a, b = runs(1.0, seeds=1), runs(0.2, seeds=1)
    found = paired(a, b, RESAMPLES, 0)
    assert found.p == 2 / (RESAMPLES + 1)
    assert found.low > 0.7 and found.difference == pytest.approx(0.8, abs=0.06)
    assert paired(b, a, RESAMPLES, 0).difference == -found.difference
    assert paired(b, a, RESAMPLES, 0).p == found.p


def test_seeds_that_differ_as_much_as_they_gain_show_nothing() -> None:
    """The seeds' gains are 2, 10 and 30 points: every resample is above zero, and three seeds are yet too few."""
    none = [{f"q{n}": 0.0 for n in range(200)} for _ in range(3)]
    some = [{f"q{n}": float(n < share * 200) for n in range(200)} for share in (0.02, 0.1, 0.3)]
    found = paired(some, none, RESAMPLES, 0)
    # Mean 0.14, standard error 0.0833, t = 1.6813, two degrees of freedom.
    assert found.p == pytest.approx(0.2347, abs=1e-4)
    assert found.low == pytest.approx(0.14 - 4.30265 * 0.083267, abs=1e-4)
    assert found.high == pytest.approx(0.14 + 4.30265 * 0.083267, abs=1e-4)
    assert paired(some[:1], none[:1], RESAMPLES, 0).high < 0.06  # one seed: the bootstrap over questions alone


def test_no_difference_has_p_one() -> None:
    same = runs(0.5)
    assert paired(same, same, RESAMPLES, 0) == (0.0, 0.0, 0.0, 1.0)


def test_the_interval_is_nowhere_narrower_than_the_bootstraps() -> None:
    for n in range(10):
        a, b = runs(0.6, salt=f"a{n}"), runs(0.5, salt=f"b{n}")
        boot = pooled_mean([subtract(one, other) for one, other in zip(a, b, strict=True)], RESAMPLES, 0)
        found = paired(a, b, RESAMPLES, 0)
        assert found.low <= boot.low < boot.high <= found.high
        assert found.difference == pytest.approx(boot.difference)


def test_p_is_rarely_small_without_a_difference() -> None:
    small = sum(paired(runs(0.5, salt=f"a{n}"), runs(0.5, salt=f"b{n}"), 200, 0).p < 0.05 for n in range(40))
    assert small <= 4  # two expected at most


def test_other_questions_are_refused() -> None:
    with pytest.raises((KeyError, ValueError)):
        paired([{"a": 1.0}], [{"b": 1.0}], RESAMPLES, 0)
