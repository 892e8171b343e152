"""Voting weighted by scores: a trained student judges its own completions as routes, and the judgements are votes.

Not in the paper, which trains the judging and uses it nowhere else. A first pass samples n completions without routes,
a second shows k of them as routes and samples again; every completion of the second pass has an answer of its own and
a score for each route shown. Answers are given here as groups: completions with equal answers have the same number,
None is a completion without an answer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

Groups = Sequence[int | None]


def choose(groups: Groups, texts: Sequence[Hashable], k: int) -> list[int]:
    """Which k completions of the first pass are shown, fewer where fewer have an answer.

    Those whose answers differ come first, an answer that was given more often before a rarer one; then further ones
    with the same answers by other texts; then copies.

    Args:
        texts: what tells completions apart besides their answers.
    """
    size = Counter(groups)
    seen: set[tuple[int, Hashable]] = set()
    turns: Counter[int] = Counter()
    order: list[tuple[bool, int, int, int]] = []
    for index, (group, text) in enumerate(zip(groups, texts, strict=True)):
        if group is not None:
            order.append(((group, text) in seen, turns[group], -size[group], index))
            seen.add((group, text))
            turns[group] += 1
    return [index for *_, index in sorted(order)[:k]]


def route_weights(groups: Groups, shown: Sequence[int], scores: Sequence[Sequence[float | None]]) -> list[float]:
    """The weight of every completion of the first pass: the mean score that its answer was given, 0 if never shown.

    A score judges whether a route reaches the right answer, so it holds for all completions with that answer: what is
    shown once still votes as often as it was given. A score that could not be read says nothing and is left out.

    Args:
        groups: of the first pass.
        shown: which of them are the routes of the second pass, in the order of the prompt.
        scores: of every completion of the second pass, one for each route.
    """
    given: dict[int | None, list[float]] = {}
    for row in scores:
        for index, score in zip(shown, row, strict=True):
            if score is not None:
                given.setdefault(groups[index], []).append(score)
    means = {group: math.fsum(found) / len(found) for group, found in given.items() if group is not None}
    return [means.get(group, 0.0) if group is not None else 0.0 for group in groups]


def vote(groups: Groups, weights: Sequence[float]) -> int | None:
    """The group with the largest sum of weights; a missing answer has no vote. None where there is no answer at all.

    Of equal sums the group with more votes wins, and of equally large ones the first.
    """
    sums: dict[int, list[float]] = {}
    for group, weight in zip(groups, weights, strict=True):
        if group is not None:
            sums.setdefault(group, []).append(weight)
    # `max` keeps the first of equals, and `fsum` does not depend on the order.
    return max(sums, key=lambda group: (math.fsum(sums[group]), len(sums[group])), default=None)


def score_weighted(
    first: Groups, shown: Sequence[int], scores: Sequence[Sequence[float | None]], second: Groups
) -> int | None:
    """The winner of both passes: the first votes by `route_weights`, every answer of the second has weight 1.

    Args:
        first, second: the groups of the two passes, numbered alike.
        shown, scores: see `route_weights`.
    """
    return vote([*first, *second], [*route_weights(first, shown, scores), *(1.0 for _ in second)])


def affordable(lengths: Sequence[int], budget: int) -> int:
    """How many completions of these lengths fit into a budget, both in tokens, taken in their order; at least 1."""
    spent = 0
    for number, length in enumerate(lengths):
        spent += length
        if spent > budget:
            return max(number, 1)
    return len(lengths)
