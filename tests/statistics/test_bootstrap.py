"""Bootstrap intervals against what is known of them."""

from __future__ import annotations

import random

import pytest

from realm.statistics.bootstrap import Ratio, bootstrap_interval, paired_difference, poisson_weights, share_interval


def test_equal_values_leave_the_doubt_of_so_few() -> None:
    # All of ten right: Clopper and Pearson's lower end is 0.025 ** (1 / 10).
    assert bootstrap_interval([1.0] * 10) == pytest.approx((0.6915, 1.0), abs=1e-4)
    assert bootstrap_interval([0.0] * 60) == pytest.approx((0.0, 0.0596), abs=1e-4)
    assert bootstrap_interval([0.25]) == pytest.approx((0.00625, 0.98125))
    same = {str(n): float(n % 2) for n in range(20)}
    assert paired_difference(same, same) == pytest.approx((0.0, -0.1684, 0.1684), abs=1e-4)
    assert share_interval([(1, 1), (2, 2), (0, 0)], 200) == pytest.approx((0.025**0.5, 1.0))
    ratio = Ratio()
    for number in range(10):
        ratio.add(2 * (number > 5), 2 * (number > 5), poisson_weights(0, str(number)))
    assert ratio.interval() == pytest.approx([0.025**0.25, 1.0])
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval([])


def test_bootstrap_width_is_that_of_the_binomial() -> None:
    # 400 answers, half of them right: standard error √(¼/400) = 0.025, so 0.5 ± 1.96 · 0.025 = 0.451 … 0.549.
    low, high = bootstrap_interval([0.0, 1.0] * 200, resamples=5000)
    assert low == pytest.approx(0.451, abs=0.005)
    assert high == pytest.approx(0.549, abs=0.005)


def test_bootstrap_is_seeded() -> None:
    source = random.Random(0)
    values = [source.random() for _ in range(50)]
    assert bootstrap_interval(values, 200, 1) == bootstrap_interval(values, 200, 1)
    assert bootstrap_interval(values, 200, 1) != bootstrap_interval(values, 200, 2)


def test_bootstrap_in_chunks_covers_every_resample(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [float(i % 2) for i in range(100)]
    whole = bootstrap_interval(values, 2000)
    monkeypatch.setattr("realm.statistics.bootstrap._CHUNK", 700)
    assert bootstrap_interval(values, 2000) == whole


def test_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    source = random.Random(1)
    hits = 0
    for trial in range(300):
        low, high = bootstrap_interval([float(source.random() < 0.6) for _ in range(100)], 400, trial)
        hits += low <= 0.6 <= high
    # 95 % of 300 is 285; five standard errors of √(300 · 0.95 · 0.05) = 3.8 below and above.
    assert 266 <= hits <= 299


def test_paired_difference() -> None:
    a = {"1": 1.0, "2": 1.0, "3": 0.0, "4": 1.0}
    b = {"4": 0.0, "3": 0.0, "2": 1.0, "1": 0.5}
    found = paired_difference(a, b)
    assert found.difference == pytest.approx((0.5 + 0 + 0 + 1) / 4)
    assert found.low <= found.difference <= found.high
    assert paired_difference(b, a).difference == -found.difference
    with pytest.raises(ValueError, match="same questions"):
        paired_difference(a, {"1": 1.0})


def test_pairing_takes_out_what_both_share() -> None:
    # Both are right on the same half; one is right on one question more. Unpaired, 0.01 would drown.
    a = {str(i): float(i < 51) for i in range(100)}
    b = {str(i): float(i < 50) for i in range(100)}
    found = paired_difference(a, b)
    assert found.difference == pytest.approx(0.01)
    assert found.low == 0.0
    assert found.high == pytest.approx(0.03, abs=0.011)


def test_the_interval_of_a_ratio_is_that_of_the_binomial_where_questions_have_one_cot() -> None:
    # 1000 questions, 30 % of them wrong: ±1.96 √(0.3 · 0.7 / 1000) = ±0.0284
    ratio = Ratio()
    for number in range(1000):
        ratio.add(number % 10 < 3, 1, poisson_weights(0, str(number)))
    low, high = ratio.interval() or (0, 0)
    assert ratio.value == 0.3
    assert (low, high) == (pytest.approx(0.2716, abs=0.006), pytest.approx(0.3284, abs=0.006))
