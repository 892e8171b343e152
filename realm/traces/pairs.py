"""What miners of pairs share: which of many pairs are taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from realm.bank.cot import CoT
from realm.tasks.base import Question
from realm.traces.base import Given, Pair

#: Which pairs of a question come first: any, those nearest in length, or those with the longest common beginning.
By = Literal["lot", "length", "beginning"]


def best(question: Question, cots: Sequence[CoT], given: Given, *, most: int, by: By) -> list[Pair]:
    """At most so many pairs of a right CoT and a wrong one; none where all are right, or all wrong.

    Lots decide between pairs that are as good.
    """
    pairs = [Pair(question, a, b) for a in cots if a.label == 1 for b in cots if b.label == 0]
    given.rng("pairs", question.id).shuffle(pairs)
    if by != "lot":
        pairs.sort(key=lambda pair: _distance(pair, by))
    return pairs[:most]


def _distance(pair: Pair, by: By) -> int:
    assert pair.chosen is not None and pair.rejected is not None
    one, other = pair.chosen.text, pair.rejected.text
    return abs(len(one) - len(other)) if by == "length" else -common(one, other)


def common(one: Sequence[object], other: Sequence[object]) -> int:
    """How many items (characters, tokens) at the beginning are the same."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
