"""How much the CoTs of one question repeat each other: texts and answers."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from realm.analysis.answers import answer_of
from realm.bank.cot import CoT
from realm.method.distance import NEAR_DUPLICATE, distance
from realm.method.seeds import rng
from realm.statistics.bootstrap import Ratio
from realm.tasks.verify import Verifier, of_kind

#: Pairs of texts compared per question; a question with more has that many drawn by lot.
PAIRS = 64
_TWO = 2


def pairs(size: int, limit: int, source: random.Random) -> Iterator[tuple[int, int]]:
    """All pairs of indices below `size`, or `limit` different ones by lot where there are more."""
    total = size * (size - 1) // 2
    if total <= limit:
        yield from combinations(range(size), 2)
        return
    for number in source.sample(range(total), limit):
        # The pairs (i, j), i < j, ordered by j: j(j − 1)/2 of them come before the first with this j.
        j = int((1 + (1 + 8 * number) ** 0.5) / 2)
        while j * (j - 1) // 2 > number:
            j -= 1
        yield number - j * (j - 1) // 2, j


def agreeing(answers: Sequence[str]) -> tuple[int, int]:
    """Pairs of equal answers, and all pairs. `answers`: as `realm.analysis.answers.read` gives them."""
    return sum(n * (n - 1) // 2 for n in Counter(answers).values()), len(answers) * (len(answers) - 1) // 2


class Redundancy:
    """Running figures of the whole bank. Add every question once."""

    def __init__(self, verifier: Verifier, seed: int) -> None:
        self._verifier, self._seed = verifier, seed
        self._near, self._distance, self._agreement = Ratio(), Ratio(), Ratio()
        self._answers: Counter[int] = Counter()
        self._possible: set[str] = set()
        self._unreadable = self._sampled = 0

    def add(self, question_id: str, cots: Sequence[CoT], weights: np.ndarray, kind: str = "") -> None:
        """The CoTs of one question of that kind and its `poisson_weights`."""
        if not cots:
            return
        verifier = of_kind(self._verifier, kind)
        said = [(cot, answer_of(verifier, cot)) for cot in cots]
        answers = {answer for _, answer in said if answer is not None}
        self._answers[len(answers)] += 1
        if len(self._possible) <= _TWO:
            self._possible |= answers
        self._unreadable += sum(answer is None and not cot.problem for cot, answer in said)
        wrong = [answer for cot, answer in said if answer is not None and cot.label == 0 and cot.usable]
        self._agreement.add(*agreeing(wrong), weights)
        # In an order of their own: a bank that was filled in parallel has none.
        cots = sorted(cots, key=lambda cot: cot.id)
        source = rng(self._seed, "pairs", question_id)
        found = [distance(cots[i].text, cots[j].text) for i, j in pairs(len(cots), PAIRS, source)]
        self._sampled += len(found) < len(cots) * (len(cots) - 1) // 2
        self._near.add(sum(far <= NEAR_DUPLICATE for far in found), len(found), weights)
        self._distance.add(sum(found), len(found), weights)

    def summary(self) -> dict[str, Any]:
        """Shares over pairs of CoTs of one question, pooled, with intervals; histogram of distinct answers.

        Agreement is that of wrong CoTs that are whole answers, as training shows them; the rest is of all CoTs.
        Answers are told apart as the verifier reads them; `unreadable_answers` are whole ones that it cannot read, and
        count nowhere else. `two_answers`: the bank has no more, so that two wrong ones of a question must agree.
        """
        questions = sum(self._answers.values())
        distinct = sum(number * count for number, count in self._answers.items())
        return {
            "distinct_answers": distinct / questions if questions else None,
            "two_answers": len(self._possible) == _TWO,
            "unreadable_answers": self._unreadable,
            "distinct_answers_histogram": {str(number): self._answers[number] for number in sorted(self._answers)},
            "wrong_agreement": self._agreement.value,
            "wrong_agreement_interval": self._agreement.interval(),
            "wrong_pairs": int(self._agreement.below),
            "near_duplicates": self._near.value,
            "near_duplicates_interval": self._near.interval(),
            "near_duplicate_distance": NEAR_DUPLICATE,
            "mean_distance": self._distance.value,
            "mean_distance_interval": self._distance.interval(),
            "pairs_compared": int(self._near.below),
            "questions_with_sampled_pairs": self._sampled,
        }
