"""Measures against numbers worked out by hand."""

from __future__ import annotations

import itertools
import random

import pytest

from realm.evaluation.measures import (
    auroc,
    bootstrap_interval,
    brier,
    macro_f1,
    maj_at_n,
    paired_difference,
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
        # A tie goes to the first.
        (["8", "7"], [False, True], False),
        # What gives no answer has no vote.
        ([None, None, "", "7"], [False, False, False, True], True),
        ([None, ""], [False, False], False),
    ],
)
def test_maj_at_n(answers: list[str | None], correct: list[bool], wanted: bool) -> None:
    assert maj_at_n(answers, correct) is wanted


def test_bootstrap_of_equal_values_has_no_width() -> None:
    assert bootstrap_interval([1.0] * 10) == (1.0, 1.0)
    assert bootstrap_interval([0.25]) == (0.25, 0.25)
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
    monkeypatch.setattr("realm.evaluation.measures._CHUNK", 700)
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
