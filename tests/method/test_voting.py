"""Votes weighted by scores: which completions are shown, what each weighs, who wins; all on plain numbers."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.method.voting import affordable, choose, route_weights, score_weighted, vote

Group = int | None


@pytest.mark.parametrize(
    ("groups", "texts", "k", "shown"),
    [
        ([0, 1, 2], "abc", 3, [0, 1, 2]),
        ([0, 0, 1, 1, 1, 2], "abcdef", 3, [2, 0, 5]),  # one of every answer, the most frequent first
        ([0, 0, 1], "abc", 2, [0, 2]),
        ([0, 0, 1], "abc", 3, [0, 2, 1]),
        ([0, 0, 0, 1], "aabc", 3, [0, 3, 2]),  # the copy comes last
        ([0, 0, 0, 1], "aabc", 4, [0, 3, 2, 1]),  # and is shown where nothing else is left
        ([None, 0, None], "abc", 4, [1]),
        ([None], "a", 4, []),
        ([], "", 4, []),
    ],
)
def test_choose(groups: list[Group], texts: str, k: int, shown: list[int]) -> None:
    assert choose(groups, texts, k) == shown


@pytest.mark.parametrize(
    ("groups", "shown", "scores", "weights"),
    [
        ([0, 1], [0, 1], [[0.9, 0.1], [0.7, 0.3]], [0.8, 0.2]),
        ([0, 1], [1, 0], [[0.9, 0.1]], [0.1, 0.9]),  # in the order of the prompt
        ([0, 0, 0, 1], [0, 3], [[0.5, 1.0]], [0.5, 0.5, 0.5, 1.0]),  # equal answers share what one was given
        ([0, 0], [0, 1], [[1.0, 0.0]], [0.5, 0.5]),  # shown twice: the mean
        ([0, 1], [0], [[1.0]], [1.0, 0.0]),  # never shown
        ([0, None], [0], [[1.0]], [1.0, 0.0]),
        ([0, 1], [0, 1], [[None, 0.5], [0.25, None]], [0.25, 0.5]),  # what cannot be read is left out
        ([0], [0], [[None]], [0.0]),
        ([0], [0], [], [0.0]),
        ([0, 1], [], [[], []], [0.0, 0.0]),
    ],
)
def test_route_weights(
    groups: list[Group], shown: list[int], scores: list[list[float | None]], weights: list[float]
) -> None:
    assert route_weights(groups, shown, scores) == pytest.approx(weights)


@pytest.mark.parametrize(
    ("groups", "weights", "winner"),
    [
        ([0, 1, 1], [1.0, 1.0, 1.0], 1),
        ([0, 1, 1], [1.0, 0.4, 0.4], 0),
        ([0, 1], [1.0, 1.0], 0),  # a tie: the first
        ([1, 0, 0], [1.0, 0.5, 0.5], 0),  # equal sums: more votes
        ([0, 1, 1], [0.0, 0.0, 0.0], 1),
        ([0, 0, 0, 1], [0.1, 0.1, 0.1, 0.3], 0),  # by rounding alone 0.1 + 0.1 + 0.1 is above 0.3
        ([None, None, 3], [9.0, 9.0, 0.0], 3),
        ([None], [1.0], None),
        ([], [], None),
    ],
)
def test_vote(groups: list[Group], weights: list[float], winner: Group) -> None:
    assert vote(groups, weights) == winner


@pytest.mark.parametrize(
    ("first", "shown", "scores", "second", "winner"),
    [
        # Two of three say 0; judged wrong by both of the second pass, which say 1 themselves.
        ([0, 0, 1], [0, 2], [[0.0, 1.0], [0.1, 0.9]], [1, 1], 1),
        # The second pass alone, where nothing was scored.
        ([0, 0, 1], [0, 2], [[None, None]], [1], 1),
        # Scores alone, where the second pass gives no answer.
        ([0, 0, 1], [0, 2], [[0.2, 0.9]], [None], 1),
        ([0, 0, 0, 1], [0, 3], [[0.8, 0.9]], [1], 0),  # 3 x 0.8 against 0.9 + 1
        ([0], [0], [[0.0]], [2], 2),  # an answer that only the second pass has
        ([None], [], [[]], [None], None),
    ],
)
def test_score_weighted(
    first: list[Group], shown: list[int], scores: list[list[float | None]], second: list[Group], winner: Group
) -> None:
    assert score_weighted(first, shown, scores, second) == winner


@pytest.mark.parametrize(
    ("lengths", "budget", "number"),
    [([5, 5, 5], 15, 3), ([5, 5, 5], 14, 2), ([5, 5, 5], 5, 1), ([5, 5], 4, 1), ([5, 5], -3, 1), ([5], 100, 1)],
)
def test_affordable(lengths: list[int], budget: int, number: int) -> None:
    assert affordable(lengths, budget) == number


groups = st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=12)
unit = st.floats(0, 1)


@given(groups, st.data())
def test_the_order_of_the_votes_only_settles_ties(found: list[Group], data: st.DataObject) -> None:
    weights = data.draw(st.lists(unit, min_size=len(found), max_size=len(found)))
    pairs = list(zip(found, weights, strict=True))
    random.Random(0).shuffle(pairs)
    winner, other = vote(found, weights), vote([group for group, _ in pairs], [weight for _, weight in pairs])

    def strength(group: Group) -> tuple[float, int]:
        votes = sorted(weight for item, weight in zip(found, weights, strict=True) if item == group)
        return sum(votes), len(votes)

    assert (winner is None) == (other is None) == all(group is None for group in found)
    assert strength(winner) == pytest.approx(strength(other))


@given(groups, st.integers(1, 6), st.data())
def test_equal_weights_are_majority_voting(found: list[Group], k: int, data: st.DataObject) -> None:
    """Where every answer is given the same score, and the second pass has none, the most frequent answer wins."""
    texts = data.draw(st.lists(st.sampled_from("ab"), min_size=len(found), max_size=len(found)))
    shown = choose(found, texts, k)
    known = {group for group in found if group is not None}
    if len(known) <= k:
        score = data.draw(st.floats(0.01, 1))
        winner = score_weighted(found, shown, [[score] * len(shown)], [])
        assert winner == vote(found, [1.0] * len(found))


@given(groups, st.integers(0, 6), st.data())
def test_what_is_shown(found: list[Group], k: int, data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.sampled_from("abc"), min_size=len(found), max_size=len(found)))
    shown = choose(found, texts, k)
    answered = [index for index, group in enumerate(found) if group is not None]
    assert len(shown) == len(set(shown)) == min(k, len(answered))
    assert set(shown) <= set(answered)
    distinct = {found[index] for index in answered}
    assert len({found[index] for index in shown}) == min(k, len(distinct)), "as many different answers as there can be"
    weights = route_weights(found, shown, [[0.5] * len(shown)])
    assert all(0 <= weight <= 1 for weight in weights)


@given(groups, unit, st.data())
def test_a_higher_score_never_costs_the_win(found: list[Group], more: float, data: st.DataObject) -> None:
    shown = choose(found, [""] * len(found), 4)
    row = data.draw(st.lists(unit, min_size=len(shown), max_size=len(shown)))
    winner = score_weighted(found, shown, [row], [])
    raised = [max(score, more) if found[index] == winner else score for index, score in zip(shown, row, strict=True)]
    assert score_weighted(found, shown, [raised], []) == winner
