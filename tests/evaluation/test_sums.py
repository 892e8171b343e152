"""The share of true sums: counted by hand, by operator, and over questions that state different numbers of them."""

from __future__ import annotations

import pytest

from realm.evaluation.sums import ALL, MIXED, tally, together
from realm.statistics.bootstrap import ratio_interval


def test_equations_are_counted_by_operator() -> None:
    text = "Usually 14 days. 14 + 10 = 24. 24 - 18 = 7. So 7.\n2 * 3 + 1 = 7\n2 ** 3 = 8\nx = 5"
    assert tally([text, "12 - 2 = 10."]) == {ALL: (4, 5), "+": (1, 1), "-": (1, 2), MIXED: (1, 1), "^": (1, 1)}
    assert tally(["I do not know.", ""]) == {ALL: (0, 0)}
    # The end of one line is not the beginning of the sum in the next one.
    assert tally(["10 - 3 = 7\n7 * 2 = 14\n14 + 1 = 16"])[ALL] == (2, 3)


def test_tallies_add_up() -> None:
    assert together([tally(["1 + 1 = 2."]), tally(["1 + 1 = 3. 4 - 1 = 3."])]) == {
        ALL: (2, 3),
        "+": (1, 2),
        "-": (1, 1),
    }


def test_the_interval_is_of_a_ratio_of_sums_and_not_a_mean_of_ratios() -> None:
    # One question states 90 true sums, nine state one false one each: 90 of 99 are true, whatever their mean is.
    values = [(90, 90), *[(0, 1)] * 9]
    low, high = ratio_interval(values, 500)
    assert low < 90 / 99 < high
    # Every question with the same share: no resample differs; those without any sum leave it as it is.
    assert ratio_interval([(1, 2), (2, 4), (3, 6), (0, 0)], 500) == pytest.approx((0.5, 0.5))
