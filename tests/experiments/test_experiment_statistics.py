"""Paired tests and Holm's correction: golden values, and properties that hold for all p-values."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.experiments import comparison
from realm.experiments.comparison import by_seed, farthest, holm, paired, paired_sums, pooled_mean, subtract

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
    reach = 1 - 0.025 ** (1 / len(same[0]))  # as sure as so many questions without a difference are
    assert paired(same, same, RESAMPLES, 0) == pytest.approx((0.0, -reach, reach, 1.0))


def test_a_few_questions_that_differ_alike_show_nothing() -> None:
    a, b = ([{f"q{n}": right for n in range(5)}] * 3 for right in (1.0, 0.0))
    assert paired(a, b, RESAMPLES, 0).p == pytest.approx(2 / 2**5)  # a sign test


def test_one_seed_is_no_surer_than_swapping_sides() -> None:
    """Six of twenty questions that differ, all one way: two of 64 outcomes are as far; a bootstrap says 0.002."""
    a, b = ({f"q{n}": float(right and n < 6) for n in range(20)} for right in (True, False))
    assert paired([a], [b], 5000, 0).p == pytest.approx(2 / 2**6, rel=0.25)
    sums = [{name: (value * 2, 2) for name, value in side.items()} for side in (a, b)]
    assert comparison.paired_sums(sums[:1], sums[1:], 5000, 0).p == pytest.approx(2 / 2**6, rel=0.25)


def test_differences_of_gaps_may_be_beyond_one() -> None:
    found = comparison.tested([{"a": gap, "b": -gap / 2} for gap in (1.9, 0.3)], RESAMPLES, 0, most=2.0)
    assert (found.low, found.high) == (-2.0, 2.0)


def test_the_interval_is_nowhere_narrower_than_the_bootstraps() -> None:
    for n in range(10):
        a, b = runs(0.6, salt=f"a{n}"), runs(0.5, salt=f"b{n}")
        boot = pooled_mean([subtract(one, other) for one, other in zip(a, b, strict=True)], RESAMPLES, 0)
        found = paired(a, b, RESAMPLES, 0)
        assert found.low <= boot.low < boot.high <= found.high
        assert found.difference == pytest.approx(boot.difference)


Side = tuple[list[dict[str, float]], list[dict[str, tuple[int, int]]]]


def trained(skill: float, sums: float, salt: str) -> Side:
    """Five seeds on 400 questions, each hard in its own way for all arms: right or not; true sums, and sums stated."""
    source = np.random.default_rng(list(salt.encode()))
    luck, hard = source.normal(0, 0.01, (5, 1)), np.linspace(-0.3, 0.3, 400)
    right = source.random((5, 400)) < skill + luck + hard
    stated = 1 + np.arange(400) % 3
    true = source.binomial(stated, sums + luck + hard / 3)
    names = [f"q{n}" for n in range(400)]
    return (
        [dict(zip(names, map(float, one), strict=True)) for one in right],
        [dict(zip(names, zip(one, stated, strict=True), strict=True)) for one in true],
    )


def test_equal_arms_are_rarely_shown_to_differ_and_ten_points_are_found() -> None:
    """What the page calls shown, of 200 experiments with an arm against its like and against a better one."""
    shown = {"like": 0, "better": 0, "like, sums": 0, "better, sums": 0}
    for n in range(200):
        one, like, better = trained(0.5, 0.7, f"a{n}"), trained(0.5, 0.7, f"b{n}"), trained(0.6, 0.8, f"c{n}")
        tests = [paired(other[0], one[0], 100, 0) for other in (like, better)]
        sums = [paired_sums(other[1], one[1], 100, 0) for other in (like, better)]
        values = [*holm([test.p for test in tests]), *holm([test.p for test in sums])]
        for name, p in zip(shown, values, strict=True):
            shown[name] += p < 0.05
    assert max(shown["like"], shown["like, sums"]) <= 0.08 * 200
    assert min(shown["better"], shown["better, sums"]) >= 0.9 * 200


def test_shares_of_sums_are_those_of_all_equations_of_a_seed() -> None:
    runs = [{"a": (90, 90), "b": (0, 10)}, {"a": (0, 0), "b": (1, 2)}]
    assert by_seed(runs) == [0.9, 0.5]
    assert pooled_mean(runs, RESAMPLES, 0).difference == pytest.approx(0.7)
    none = [{"a": (0, 90), "b": (0, 10)}, {"a": (0, 0), "b": (0, 2)}]
    found = paired_sums(runs, none, RESAMPLES, 0)
    assert found.difference == pytest.approx(0.7) and 0 < found.p < 1
    assert paired_sums(none, runs, RESAMPLES, 0).difference == -found.difference
    assert paired_sums(runs, runs, RESAMPLES, 0)[::3] == (0.0, 1.0)
    # Every question with the same share, however many sums it states: no resample differs.
    even = [{"a": (1, 2), "b": (20, 40), "c": (0, 0)}, {"a": (3, 6), "b": (1, 2), "c": (2, 4)}]
    assert pooled_mean(even, RESAMPLES, 0) == (0.5, 0.5, 0.5)


def test_other_questions_are_refused() -> None:
    with pytest.raises((KeyError, ValueError)):
        paired([{"a": 1.0}], [{"b": 1.0}], RESAMPLES, 0)


def settings(source: Random, *skills: float) -> dict[str, list[dict[str, float]]]:
    """Arms that answer the same 200 questions, hard and easy ones, each with its own luck."""
    ease = [source.uniform(-0.3, 0.3) for _ in range(200)]
    return {
        f"arm{number}": [{f"q{n}": float(source.random() < skill + more) for n, more in enumerate(ease)}]
        for number, skill in enumerate(skills)
    }


def test_the_spread_of_arms_is_that_of_the_highest_and_the_lowest_on_the_same_resamples() -> None:
    source = Random(3)
    for _ in range(10):
        arms = settings(source, *(source.uniform(0.3, 0.7) for _ in range(4)))
        found = farthest(arms, RESAMPLES, 0)
        means = {arm: sum(runs[0].values()) / 200 for arm, runs in arms.items()}
        assert (means[found.lowest], means[found.highest]) == (min(means.values()), max(means.values()))
        assert found.difference == pytest.approx(max(means.values()) - min(means.values()))
        one = paired(arms[found.highest], arms[found.lowest], RESAMPLES, 0)
        assert found.high - found.difference > 0.9 * (one.high - one.difference)  # of all pairs, not of one
        two = farthest({arm: arms[arm] for arm in (found.lowest, found.highest)}, RESAMPLES, 0)
        assert two.high - two.difference < found.high - found.difference
        assert two.high == pytest.approx(one.high, abs=0.015)
    same = farthest({"a": arms["arm0"], "b": arms["arm0"]}, RESAMPLES, 0)
    assert (same.difference, same.low, same.high) == (0, 0, 0)


def test_equal_arms_are_seldom_shown_to_lie_apart_and_planted_ones_nearly_always() -> None:
    source = Random(5)
    equal = [farthest(settings(source, *[0.5] * 6), 300, 0) for _ in range(200)]
    assert sum(found.low > 0 for found in equal) <= 16  # 5 + 3 %
    assert sum(found.difference for found in equal) / 200 > 0.05  # yet picked ones seem to lie apart
    planted = [farthest(settings(source, 0.6, 0.6, 0.6, 0.4), 300, 0) for _ in range(50)]
    assert sum(found.low > 0 and found.lowest == "arm3" for found in planted) >= 45
