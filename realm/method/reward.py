"""The two-stage reward of MRPV: scoring the routes earns something only where the answer is right.

    r = w_format · format_ok + a · (w_answer + w_scores · scoring)        a in {0, 1}, scoring in [0, 1]

Source: arXiv 2508.12387. The gate `a` keeps the student from learning to judge at the expense of learning to solve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from realm.method.completion import Completion
from realm.method.outside import share

#: (scores, labels), one of each a route -> their worth in [0, 1]. A score is in [0, 1], or None: maximally wrong.
Rule = Callable[[Sequence[float | None], Sequence[int]], float]


@dataclass(frozen=True)
class Weights:
    """w_format, w_answer and w_scores."""

    format: float = 0.1
    answer: float = 1.0
    scores: float = 0.5


@dataclass(frozen=True)
class Reward:
    """One reward: `total` is the sum of the weighted parts `format`, `answer` and `scores`.

    `scoring` is the ungated, unweighted quality of the scores in [0, 1], for the logs.
    """

    total: float
    format: float
    answer: float
    scores: float
    scoring: float


def scoring(scores: Sequence[float | None], labels: Sequence[int], rule: str | Rule, surplus: int = 0) -> float:
    """How well `scores` (one per route, in [0, 1] or None) tell the routes' `labels`; in [0, 1].

    `l1` 1 − mean|s − u| · `brier` 1 − mean(s − u)² · `accuracy` mean[(s ≥ ½) = u] · `pairwise` share of the (positive,
    negative) pairs with the positive strictly higher, and `accuracy` where all labels are equal. A score that is None,
    outside [0, 1] or not there at all is maximally wrong: |s − u| = 1, and every pair with it is ranked wrongly. Each
    of `surplus` scores beyond the routes counts as one more that is maximally wrong: the value shrinks by
    n / (n + surplus). Without labels the value is 1. `rule` is one of `RULES` by its name, or any other `Rule`.

    Raises `ValueError` for a name that is none, and where a rule gives no number in [0, 1].
    """
    n = len(labels)
    if n == 0:
        return 1.0
    surplus += max(len(scores) - n, 0)
    padded = [*scores[:n], *[None] * (n - len(scores))]
    read = [s if s is not None and 0 <= s <= 1 else None for s in padded]
    if isinstance(rule, str):
        if rule not in RULES:
            raise ValueError(f"unknown scoring rule {rule!r}; expected one of {', '.join(RULES)}")
        rule = RULES[rule]
    value = share(rule(read, labels), "rule", rule, f"scores {read} and labels {list(labels)}")
    return value * n / (n + surplus)


def _l1(scores: Sequence[float | None], labels: Sequence[int]) -> float:
    return 1.0 - sum(1.0 if s is None else abs(s - u) for s, u in zip(scores, labels, strict=True)) / len(labels)


def _brier(scores: Sequence[float | None], labels: Sequence[int]) -> float:
    return 1.0 - sum(1.0 if s is None else (s - u) ** 2 for s, u in zip(scores, labels, strict=True)) / len(labels)


def _accuracy(scores: Sequence[float | None], labels: Sequence[int]) -> float:
    right = sum(s is not None and (s >= 0.5) == (u == 1) for s, u in zip(scores, labels, strict=True))
    return right / len(labels)


def _pairwise(scores: Sequence[float | None], labels: Sequence[int]) -> float:
    if len(set(labels)) == 1:
        return _accuracy(scores, labels)
    positive, negative = ([s for s, u in zip(scores, labels, strict=True) if u == label] for label in (1, 0))
    ranked = [high is not None and low is not None and high > low for high in positive for low in negative]
    return sum(ranked) / len(ranked)


#: The rules of this package; `scoring` says what each does.
RULES: dict[str, Rule] = {"l1": _l1, "brier": _brier, "accuracy": _accuracy, "pairwise": _pairwise}


def reward(completion: Completion, correct: bool, labels: Sequence[int], weights: Weights, rule: str | Rule) -> Reward:
    """The reward of one completion whose answer the verifier found `correct` or not.

    `labels`: those of the routes in its prompt, in order. A completion without an answer is never right, whatever
    `correct` says. Where no route was shown, a right answer is granted the whole of w_scores, so that a prompt without
    routes is not worth less than one with them.
    """
    quality = scoring(completion.scores, labels, rule, completion.surplus)
    right = 1.0 if correct and completion.answer else 0.0
    form = weights.format if completion.format_ok else 0.0
    answer = right * weights.answer
    scores = right * weights.scores * quality
    return Reward(form + answer + scores, form, answer, scores, quality)
