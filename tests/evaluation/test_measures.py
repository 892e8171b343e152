"""Measures against numbers worked out by hand."""

from __future__ import annotations

import itertools

import pytest

from realm.evaluation.measures import (
    auroc,
    brier,
    macro_f1,
    maj_at_n,
    pass_at_n,
    same_err,
    scoring_accuracy,
)


@pytest.mark.parametrize(
    ("scores", "labels", "wanted"),
    [
        ([0.9, 0.8, 0.3, 0.1], [1, 1, 0, 0], 1.0),
        ([0.1, 0.9], [1, 0], 0.0),
        # Positives 0.8, 0.4; negatives 0.6, 0.2: 0.8 beats both, 0.4 beats one: 3 of 4.
        ([0.8, 0.6, 0.4, 0.2], [1, 0, 1, 0], 0.75),
        # All tied: every pair counts ½.
        ([0.5, 0.5, 0.5], [1, 0, 0], 0.5),
        # Positives 0.5, 0.7; negatives 0.5, 0.2: 0.5 ties one and beats one (1.5), 0.7 beats both (2): 3.5 of 4.
        ([0.5, 0.7, 0.5, 0.2], [1, 1, 0, 0], 0.875),
        # A missing score of a positive is 0, of a negative 1: the pairs (0, 0.2), (0, 1), (0.9, 0.2), (0.9, 1): 1 of 4.
        ([None, 0.9, 0.2, None], [1, 1, 0, 0], 0.25),
        ([0.3, 0.4], [1, 1], None),
        ([], [], None),
    ],
)
def test_auroc(scores: list[float | None], labels: list[int], wanted: float | None) -> None:
    assert auroc(scores, labels) == (None if wanted is None else pytest.approx(wanted))


@pytest.mark.parametrize(
    ("scores", "labels", "wanted"),
    [
        ([1.0, 0.0], [1, 0], 0.0),
        # (0.1² + 0.4² + 1²) / 3 = (0.01 + 0.16 + 1) / 3
        ([0.9, 0.4, None], [1, 0, 1], 0.39),
        ([None, None], [0, 1], 1.0),
        ([], [], None),
    ],
)
def test_brier(scores: list[float | None], labels: list[int], wanted: float | None) -> None:
    assert brier(scores, labels) == (None if wanted is None else pytest.approx(wanted))


def test_scoring_accuracy() -> None:
    # ½ counts as a yes; the missing one is wrong: right, right, wrong, wrong.
    assert scoring_accuracy([0.5, 0.49, 0.5, None], [1, 0, 0, 1]) == 0.5
    assert scoring_accuracy([None], [0]) == 0.0
    assert scoring_accuracy([], []) is None


def test_macro_f1() -> None:
    # yes: TP 2, FP 1, FN 1 → 4/6. no: TP 1, FP 1, FN 1 → 2/4. maybe: TP 0, FN 1 → 0.  (2/3 + 1/2 + 0) / 3
    golds = ["yes", "yes", "yes", "no", "no", "maybe"]
    predictions = ["yes", "yes", "no", "no", "yes", None]
    assert macro_f1(golds, predictions) == pytest.approx((2 / 3 + 1 / 2) / 3)
    assert macro_f1(["a", "b"], ["a", "b"]) == 1.0
    # A class that is only predicted is a class too: a: 2/3, b: 0.
    assert macro_f1(["a", "a"], ["a", "b"]) == pytest.approx((2 / 3 + 0) / 2)
    assert macro_f1([], []) is None


def test_same_err() -> None:
    # Four wrong ones, three of them copied, of six in all. A right answer that "copies" does not count.
    correct = [True, False, False, False, False, True]
    copied = [True, True, False, True, True, False]
    assert same_err(correct, copied) == (0.75, 0.5)
    assert same_err([True], [False]) == (None, 0.0)
    assert same_err([], []) == (None, None)


def test_pass_at_n() -> None:
    assert pass_at_n(5, 0, 3) == 0.0
    assert pass_at_n(5, 5, 1) == 1.0
    assert pass_at_n(4, 1, 1) == 0.25
    # 1 − C(3, 2) / C(5, 2) = 1 − 3/10
    assert pass_at_n(5, 2, 2) == pytest.approx(0.7)
    assert pass_at_n(5, 2, 4) == 1.0
    with pytest.raises(ValueError, match="1 ≤ n ≤ samples"):
        pass_at_n(3, 1, 4)


@pytest.mark.parametrize(("samples", "correct", "n"), [(6, 2, 3), (5, 1, 2), (7, 4, 2)])
def test_pass_at_n_is_the_mean_over_all_subsets(samples: int, correct: int, n: int) -> None:
    marks = [1] * correct + [0] * (samples - correct)
    subsets = list(itertools.combinations(marks, n))
    assert pass_at_n(samples, correct, n) == pytest.approx(sum(map(max, subsets)) / len(subsets))


@pytest.mark.parametrize(
    ("answers", "correct", "wanted"),
    [
        (["7", "8", "7"], [True, False, True], True),
        (["7", "8", "8"], [True, False, False], False),
        # Spelled alike but for case and white space.
        (["No", "yes", " YES "], [False, True, True], True),
        # White space within a number is part of it.
        (["1 1/2", "11/2", "3", "3"], [True, False, False, False], False),
        (["11/2", "1  1/2", "1 1/2"], [False, True, True], True),
        # A tie goes to the first.
        (["8", "7"], [False, True], False),
        # What gives no answer has no vote.
        ([None, None, "", "7"], [False, False, False, True], True),
        ([None, ""], [False, False], False),
    ],
)
def test_maj_at_n(answers: list[str | None], correct: list[bool], wanted: bool) -> None:
    assert maj_at_n(answers, correct) is wanted
