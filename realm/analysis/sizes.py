"""Do wrong numbers miss their golds by one and the same amount or factor, whatever the question?

The null `near_miss` takes such an error for granted, so that it has to be looked at by itself. That one error is the
commonest says nothing: where two wrong answers are possible, one of them takes a half or more. It is held against the
larger of two chances:

- that of an error as common as the others are: 1 / (m + 1), where m = 1 / Σ q² is how many equally common ones the
  others (their shares q) would be;
- that of an answer without regard to the question: drawn from all wrong answers of the bank, less the gold, how often
  would it miss the gold by just this? (Between 0 and 1 there is nothing but +1 to miss a 0 by.)
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from realm.statistics.bootstrap import ends, poisson_sums
from realm.tasks.numbers import read_number
from realm.tasks.reading import UnreadableError


@dataclass(frozen=True)
class Common:
    """The commonest way in which numbers miss their golds, over all questions: `+5` or `× 2`.

    `share`: of the `answers` that are numbers, with its 95 % bootstrap interval over questions; `chance`: what it would
    be without a habit.
    """

    error: str
    answers: int
    share: float
    interval: tuple[float, float]
    chance: float

    @property
    def habit_share(self) -> tuple[float, float, float]:
        """(share − chance) / (1 − chance) with its interval: value, low, high; 0 where chance leaves nothing else."""
        if self.chance >= 1:
            return 0.0, 0.0, 0.0
        value, low, high = (max(0.0, (end - self.chance) / (1 - self.chance)) for end in (self.share, *self.interval))
        return value, low, high


def commonest(wrong: Sequence[tuple[str, str, str]], source: np.random.Generator) -> Common | None:
    """The commonest difference or ratio of wrong answers (unit, answer, gold); None where no gold is a number.

    Of the two the one further above its chance.
    """
    numbers = {text: read_plain(text) for one in wrong for text in one[1:]}
    known = [
        (unit, answer, gold)
        for unit, said, right in wrong
        if (gold := numbers[right]) is not None and (answer := numbers[said]) is not None
    ]
    if not known:
        return None
    units = np.unique([unit for unit, _, _ in known], return_inverse=True)[1]
    differences = [answer - gold for _, answer, gold in known]
    ratios = [answer / gold if gold else None for _, answer, gold in known]
    found = []
    for name, errors in (("{:+g}", differences), ("× {:g}", ratios)):
        counts = Counter(error for error in errors if error is not None)
        if not counts:
            continue
        best = min(counts, key=lambda error: (-counts[error], error))
        hits = np.array([error == best for error in errors])
        missed = {gold: gold + best if errors is differences else gold * best for _, _, gold in known}
        chance = max(_as_the_others(counts, best), _without_question([one[1:] for one in known], missed))
        share = float(hits.mean())
        found.append(Common(name.format(float(best)), len(known), share, _interval(units, hits, source), chance))
    # The plainer one of equals
    return max(found, key=lambda one: one.habit_share[0])


def _as_the_others(counts: Counter[Fraction], best: Fraction) -> float:
    others = np.array([count for error, count in counts.items() if error != best], dtype=np.float64)
    # Where there is no other error at all, nobody knows how many were possible.
    return 1 / (1 + float(others.sum() ** 2 / (others**2).sum())) if others.size else 0.0


def _without_question(known: Sequence[tuple[Fraction, Fraction]], missed: dict[Fraction, Fraction]) -> float:
    """`known`: answers with their golds; `missed`: by gold, the answer that the error would give."""
    counts = Counter(answer for answer, _ in known)
    golds = Counter(gold for _, gold in known)
    chances = (number * counts[missed[gold]] / (len(known) - counts[gold]) for gold, number in golds.items())
    return min(1.0, sum(chances) / len(known))


def _interval(units: np.ndarray, hits: np.ndarray, source: np.random.Generator) -> tuple[float, float]:
    above, below = poisson_sums([np.bincount(units, hits), np.bincount(units)], source)
    return ends(above / np.maximum(1, below))


_PLAIN_NUMBER = re.compile(r"\s*[-+−$€£]{0,2}\s?[\d,]*\.?\d+(?:/\d+)?\s*%?\s*")


def read_plain(text: str) -> Fraction | None:
    """The value of a text that is a number and nothing else: `'3'` and `[3]` are other answers than 3."""
    try:
        return read_number(text) if _PLAIN_NUMBER.fullmatch(text) else None
    except UnreadableError:
        return None
