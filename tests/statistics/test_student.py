"""Student's t: quantiles and p-values against the printed tables."""

from __future__ import annotations

import pytest

from realm.statistics.student import PairedMean, beyond, quantile, t_test


@pytest.mark.parametrize(
    ("df", "p", "expected"),
    [
        (1, 0.05, 12.7062), (2, 0.05, 4.3027), (3, 0.05, 3.1824), (4, 0.05, 2.7764), (5, 0.05, 2.5706),
        (9, 0.05, 2.2622), (30, 0.05, 2.0423), (120, 0.05, 1.9799), (1, 0.01, 63.6567), (4, 0.01, 4.6041),
        (7, 0.1, 1.8946),
    ],
)  # fmt: skip
def test_quantiles_of_the_tables(df: int, p: float, expected: float) -> None:
    assert quantile(df, p) == pytest.approx(expected, abs=6e-5)
    assert beyond(quantile(df, p), df) == pytest.approx(p)


def test_p_values() -> None:
    assert beyond(0.0, 3) == beyond(0.0, 4) == 1.0
    assert beyond(1.0, 1) == pytest.approx(0.5)  # a Cauchy distribution: 1 - 2/pi * atan(1)
    assert beyond(-2.0, 2) == beyond(2.0, 2) == pytest.approx(1 - 2 / 6**0.5)


def test_a_mean_by_hand() -> None:
    low, high, p = t_test([1.0, 2.0, 3.0])  # standard error 1 / sqrt(3), t = 3.4641
    assert (low, high) == (pytest.approx(2 - 2.48414, abs=1e-4), pytest.approx(2 + 2.48414, abs=1e-4))
    assert p == pytest.approx(0.0742, abs=1e-4)


def test_equal_values_leave_no_doubt() -> None:
    assert t_test([0.5, 0.5]) == (0.5, 0.5, 0.0)
    assert t_test([0.0, 0.0]) == (0.0, 0.0, 1.0)


def test_paired_mean_by_hand() -> None:
    # 1, 2, 3: mean 2, s = 1, standard error 1/√3, t(2) = 4.303
    mean = PairedMean()
    for value in (1.0, 2.0, 3.0):
        mean.add(value)
    assert mean.summary()["interval"] == pytest.approx([2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5], abs=1e-3)
    assert mean.summary()["p"] == pytest.approx(0.0742, abs=1e-3)


@pytest.mark.parametrize(
    ("value", "n", "low", "p"), [(0.5, 2, -0.7628, 0.8889), (1.0, 6, 0.0815, 0.0313), (0, 2, -0.8419, 1.0)]
)
def test_equal_differences_of_a_few_questions_prove_little(value: float, n: int, low: float, p: float) -> None:
    mean = PairedMean()
    for _ in range(n):
        mean.add(value)
    found = mean.summary()
    assert found["interval"][0] == pytest.approx(low, abs=1e-4)
    assert found["p"] == pytest.approx(p, abs=1e-4)  # of 1.0 that of the sign test, 2 / 2 ** 6


def test_rounding_is_no_spread() -> None:
    mean = PairedMean()
    for _ in range(3):
        mean.add(1 / 3)
    assert mean.summary()["p"] == pytest.approx(2 * 0.75**3)
