"""The scripted teacher's mind: a clerk who reasons well but knows the shop's book only as far as comments state it.

Unguided it falls back on habit (one wrong book, so its errors repeat) or a guess, overlooks rare marks, and hedges.
Guided it cites the comments shown. Either way it slips now and then. Its CoTs are the bank's raw material, and with
random books the base model's pre-training text.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass

from realm.desk.book import RULES, Book, random_value
from realm.desk.cases import Case, Solution, work_out

HABIT = 0.7  # an unguided clerk follows habit with this probability, else guesses
OVERLOOKS_MARK = 0.85  # an unguided clerk does not know that the mark matters
SLIP = 0.06  # a computed number comes out wrong
CITES_UNSHOWN = 0.25  # an unguided clerk claims the book's authority all the same
CITATION = "by the book, "
HEDGE = "usually "


@dataclass(frozen=True)
class Writing:
    """What the clerk wrote: the CoT's text and its own final answer."""

    text: str
    answer: str


def _slip(source: random.Random, result: int) -> int:
    if source.random() >= SLIP:
        return result
    return max(0, result + source.choice((-10, -2, -1, 1, 2, 10)))


def phrase(solution: Solution, cited: bool) -> str:
    """The reasoning as text, opened by a citation of the book or by a hedge."""
    first, *rest = solution.steps
    return Solution((f"{CITATION if cited else HEDGE}{first}", *rest), solution.answer, solution.rules).text


def write_cot(case: Case, *, book: Book, habit: Book, shown: Collection[str], source: random.Random) -> Writing:
    """One CoT of the clerk.

    Args:
        case: the customer's case.
        book: the shop's true book; only the rules in `shown` are read from it.
        habit: what the clerk takes for usual.
        shown: ids of the rules that expert comments state to the clerk.
        source: the randomness of this sample.
    """
    beliefs = {}
    for rule in RULES:
        guess = habit[rule] if source.random() < HABIT else random_value(rule, source)
        beliefs[rule] = book[rule] if rule in shown else guess
    knows_mark = any(rule.endswith(f":{case.mark}") for rule in shown)
    heeds_mark = knows_mark or source.random() >= OVERLOOKS_MARK
    solution = work_out(case, beliefs, heeds_mark=heeds_mark, slip=lambda result: _slip(source, result))
    informed = all(rule in shown for rule in solution.rules)
    return Writing(phrase(solution, cited=informed or source.random() < CITES_UNSHOWN), solution.answer)
