from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.method.completion import parse
from realm.method.reward import Weights, reward, scoring
from tests.method import hostile

N = None
RULES = ["l1", "brier", "accuracy", "pairwise"]

# scores, labels -> l1, brier, accuracy, pairwise
#
# 0.9 0.1 0.8 against 1 0 1: |s−u| 0.1 0.1 0.2 -> l1 1 − 0.4/3 = 0.8667; squares 0.01 0.01 0.04 -> 1 − 0.06/3 = 0.98;
#   all on the right side; pairs (0.9 > 0.1), (0.8 > 0.1): 2 of 2.
# 0.6 0.7 0.2 against 1 0 1: |s−u| 0.4 0.7 0.8 -> 1 − 1.9/3 = 0.3667; squares 0.16 0.49 0.64 -> 1 − 1.29/3 = 0.57;
#   only the first on the right side: 1/3; pairs 0.6 > 0.7 no, 0.2 > 0.7 no: 0.
# 0.5 0.5 against 1 0: l1 ½; brier 1 − ¼ = ¾; 0.5 counts as "right", so 1 of 2; a tie is no ranking: 0.
# None 0 against 1 0: missing = 1 off: l1 1 − ½; brier the same; 1 of 2; the pair with None is wrong: 0.
# 0.4 None 0.1 0.3 against 1 1 0 0: |s−u| 0.6 1 0.1 0.3 -> 1 − 2/4 = 0.5; squares 0.36 1 0.01 0.09 -> 1 − 1.46/4 =
#   0.635; sides: no, no, yes, yes = ½; pairs 0.4 > 0.1, 0.4 > 0.3 right, two with None wrong: 2/4.
# 0.7 0.2 against 1 1 (all labels equal): l1 1 − (0.3 + 0.8)/2 = 0.45; brier 1 − (0.09 + 0.64)/2 = 0.635; ½;
#   pairwise falls back to accuracy: ½.
# 0.5 against a single 1: half off, but on the right side (s ≥ ½).
# Not one score for two routes: everything 1 off.
GOLDEN = [
    ((0.9, 0.1, 0.8), (1, 0, 1), 0.8666667, 0.98, 1.0, 1.0),
    ((0.6, 0.7, 0.2), (1, 0, 1), 0.3666667, 0.57, 1 / 3, 0.0),
    ((0.5, 0.5), (1, 0), 0.5, 0.75, 0.5, 0.0),
    ((N, 0.0), (1, 0), 0.5, 0.5, 0.5, 0.0),
    ((0.4, N, 0.1, 0.3), (1, 1, 0, 0), 0.5, 0.635, 0.5, 0.5),
    ((0.7, 0.2), (1, 1), 0.45, 0.635, 0.5, 0.5),
    ((0.5,), (1,), 0.5, 0.75, 1.0, 1.0),
    ((), (1, 0), 0.0, 0.0, 0.0, 0.0),
    ((1.0, 0.0), (1, 0), 1.0, 1.0, 1.0, 1.0),
    ((0.0, 1.0), (1, 0), 0.0, 0.0, 0.0, 0.0),
    ((N,), (0,), 0.0, 0.0, 0.0, 0.0),
    ((), (), 1.0, 1.0, 1.0, 1.0),
]


@pytest.mark.parametrize(("scores", "labels", "l1", "brier", "accuracy", "pairwise"), GOLDEN)
def test_scoring(scores: tuple, labels: tuple, l1: float, brier: float, accuracy: float, pairwise: float) -> None:
    found = [scoring(scores, labels, rule) for rule in RULES]
    assert found == pytest.approx([l1, brier, accuracy, pairwise])


@pytest.mark.parametrize("rule", RULES)
def test_surplus_scores_are_wrong_ones(rule: str) -> None:
    # Two perfect scores and one, two, … too many: 2/3, 2/4 of the value.
    assert scoring((1, 0), (1, 0), rule, surplus=1) == pytest.approx(2 / 3)
    assert scoring((1, 0), (1, 0), rule, surplus=2) == pytest.approx(1 / 2)
    assert scoring((1, 0, 1), (1, 0), rule) == pytest.approx(2 / 3)


any_score = st.none() | st.floats()


@given(
    st.lists(any_score, max_size=8), st.lists(st.integers(0, 1), max_size=8), st.sampled_from(RULES), st.integers(0, 5)
)
def test_scoring_is_in_0_1_and_surplus_never_pays(scores: list, labels: list[int], rule: str, surplus: int) -> None:
    value = scoring(scores, labels, rule, surplus)
    assert 0 <= value <= 1
    assert value <= scoring(scores, labels, rule)


@given(st.lists(st.tuples(any_score, st.integers(0, 1)), min_size=1, max_size=8), st.sampled_from(RULES), st.data())
def test_leaving_a_score_out_never_pays(pairs: list, rule: str, data: st.DataObject) -> None:
    scores, labels = [s for s, _ in pairs], [u for _, u in pairs]
    i = data.draw(st.integers(0, len(pairs) - 1))
    without = [*scores[:i], None, *scores[i + 1 :]]
    assert scoring(without, labels, rule) <= scoring(scores, labels, rule) + 1e-12


def test_a_score_outside_the_range_is_a_missing_one() -> None:
    for bad in (1.5, -0.1, math.nan, math.inf):
        assert scoring((bad, 0.0), (1, 0), "l1") == scoring((None, 0.0), (1, 0), "l1") == 0.5


GOOD = "<think>t</think><answer>4</answer><scores>0.9, 0.1</scores>"
LOOSE = "<think>t</think><answer>4</answer><scores>0.9, 0.1</scores> bye"
HIGH = "<think>t</think><answer>4</answer><scores>0.9, 0.1, 0.5</scores>"
BARE = "<think>t</think><answer>4</answer>"

# Weights 0.1, 1, 0.5 and l1 against labels 1 0: scoring 1 − 0.1 = 0.9, weighted 0.45.
#   GOOD right 0.1 + 1 + 0.45 = 1.55, wrong 0.1       LOOSE loses the 0.1
#   HIGH one surplus: scoring 0.9 · 2/3 = 0.6, weighted 0.3, format lost: 1.3
#   BARE with two routes: scoring 0, format lost: 1.0; with no route: 0.1 + 1 + 0.5 = 1.6
REWARDS = [
    (GOOD, True, (1, 0), (1.55, 0.1, 1.0, 0.45, 0.9)),
    (GOOD, False, (1, 0), (0.1, 0.1, 0.0, 0.0, 0.9)),
    (LOOSE, True, (1, 0), (1.45, 0.0, 1.0, 0.45, 0.9)),
    (LOOSE, False, (1, 0), (0.0, 0.0, 0.0, 0.0, 0.9)),
    (HIGH, True, (1, 0), (1.3, 0.0, 1.0, 0.3, 0.6)),
    (BARE, True, (1, 0), (1.0, 0.0, 1.0, 0.0, 0.0)),
    (BARE, True, (), (1.6, 0.1, 1.0, 0.5, 1.0)),
    (BARE, False, (), (0.1, 0.1, 0.0, 0.0, 1.0)),
    ("", True, (), (0.0, 0.0, 0.0, 0.0, 1.0)),
    ("<think>t</think><answer> </answer>", True, (), (0.0, 0.0, 0.0, 0.0, 1.0)),
]


@pytest.mark.parametrize(("text", "correct", "labels", "parts"), REWARDS)
def test_reward(text: str, correct: bool, labels: tuple[int, ...], parts: tuple[float, ...]) -> None:
    found = reward(parse(text, len(labels)), correct, labels, Weights(), "l1")
    assert (found.total, found.format, found.answer, found.scores, found.scoring) == pytest.approx(parts)


def test_weights_and_rule_are_taken() -> None:
    # accuracy of 0.9, 0.1 against 1, 0 is 1: 2 + 3 + 5 · 1.
    assert reward(parse(GOOD, 2), True, (1, 0), Weights(2, 3, 5), "accuracy").total == pytest.approx(10)


@given(hostile.text, st.lists(st.integers(0, 1), max_size=5), st.sampled_from(RULES))
def test_a_wrong_answer_never_earns_for_its_scores(text: str, labels: list[int], rule: str) -> None:
    scored = f"<think>t</think><answer>4</answer><scores>{', '.join(map(str, labels))}</scores>"
    for completion in (parse(text, len(labels)), parse(scored, len(labels)), parse(text + scored, len(labels))):
        found = reward(completion, False, labels, Weights(), rule)
        assert (found.answer, found.scores) == (0.0, 0.0)
        assert found.total == found.format == (0.1 if completion.format_ok else 0.0)


@given(hostile.text, st.lists(st.integers(0, 1), max_size=5), st.sampled_from(RULES), st.booleans())
def test_reward_is_the_sum_of_its_parts(text: str, labels: list[int], rule: str, correct: bool) -> None:
    found = reward(parse(text, len(labels)), correct, labels, Weights(), rule)
    assert found.total == found.format + found.answer + found.scores
    assert 0 <= found.total <= 1.6 + 1e-12


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="rule"):
        scoring((1.0,), (1,), "log")


def first(scores: Sequence[float | None], labels: Sequence[int]) -> float:
    assert len(scores) == len(labels)
    return 2.0 if scores[0] == 0.25 else scores[0] or 0.0


def test_a_rule_of_others_gets_a_score_or_none_for_each_route() -> None:
    # 0.5 of one too many: 0.5 · 2/3; out of range is None
    assert scoring((0.5, 2.0, 1.0), (1, 0), first) == pytest.approx(1 / 3)
    assert [scoring(scores, (1, 0), first) for scores in ((), (1.5, 1), (1, 1))] == [0.0, 0.0, 1.0]
    assert scoring((), (), first) == 1.0
    assert reward(parse(GOOD, 2), True, (1, 0), Weights(), first).scoring == 0.9
    told = rf"^the rule {__name__}:first gave 2\.0 at scores \[0\.25, None\] and labels \[1, 0\], expected a number in "
    with pytest.raises(ValueError, match=told):
        scoring((0.25,), (1, 0), first)
