"""The scripted teacher's mind: a clerk who reasons well but knows the shop's book only as far as comments state it.

Unguided it falls back on habit (one wrong book, so its errors repeat) or a guess, overlooks rare marks, and hedges.
Guided it cites the comments shown. Either way it slips now and then. Its CoTs are the bank's raw material, and with
random books the base model's pre-training text. As instructor it writes new cases for the errors of a student.
"""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from realm.desk.book import RULES, Book, random_value, state_rule, stated
from realm.desk.cases import Case, Solution, answerable, random_case, work_out

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


@dataclass(frozen=True)
class _Mind:
    """What the clerk goes by in one sample: a value for every rule, the rules it knows, whether it heeds the mark."""

    beliefs: Book
    known: Collection[str]
    heeds_mark: bool


def _mind(case: Case, book: Book, habit: Book, shown: Collection[str], source: random.Random) -> _Mind:
    beliefs = {}
    for rule in RULES:
        guess = habit[rule] if source.random() < HABIT else random_value(rule, source)
        beliefs[rule] = book[rule] if rule in shown else guess
    knows_mark = any(rule.endswith(f":{case.mark}") for rule in shown)
    return _Mind(beliefs, shown, knows_mark or source.random() >= OVERLOOKS_MARK)


def _write(case: Case, mind: _Mind, source: random.Random) -> Writing:
    solution = work_out(case, mind.beliefs, heeds_mark=mind.heeds_mark, slip=lambda result: _slip(source, result))
    informed = all(rule in mind.known for rule in solution.rules)
    return Writing(phrase(solution, cited=informed or source.random() < CITES_UNSHOWN), solution.answer)


def write_cot(case: Case, *, book: Book, habit: Book, shown: Collection[str], source: random.Random) -> Writing:
    """One CoT of the clerk.

    Args:
        case: the customer's case.
        book: the shop's true book; only the rules in `shown` are read from it.
        habit: what the clerk takes for usual.
        shown: ids of the rules that expert comments state to the clerk.
        source: the randomness of this sample.
    """
    return _write(case, _mind(case, book, habit, shown, source), source)


def write_example(
    case: Case,
    *,
    response: str,
    right: str,
    book: Book,
    habit: Book,
    shown: Collection[str],
    fresh: Callable[[Case], bool],
    source: random.Random,
) -> tuple[Case, Writing]:
    """The clerk as instructor (`realm.teacher.instructing`): a new case for a student's error, and a CoT for it.

    It compares the rules that the student's response states with what it takes for true itself. The new case is of
    the same kind, rests on the rules that the student missed (on those of the old case where it finds none) and on no
    other rule than the old one. So the clerk errs in its examples as often as in its CoTs. A right response, where it
    is shown one, it believes: it knows the rules that are stated there.

    Args:
        case: the one that the student got wrong.
        response: the student's wrong reasoning.
        right: a right response to the same question, "" for none.
        book, habit, shown, source: as for `write_cot`.
        fresh: whether a case may be told: new, and not held out of training.
    """
    told = stated(right)
    mind = _mind(case, {**book, **told}, habit, {*shown, *told}, source)
    rests_on = work_out(case, mind.beliefs, heeds_mark=mind.heeds_mark).rules
    said = stated(response)
    missed = {rule for rule in rests_on if said.get(rule) != mind.beliefs[rule]} or set(rests_on)
    while True:  # at worst about one case in two hundred fits
        new = random_case(case.kind, source)
        rules = work_out(new, mind.beliefs, heeds_mark=mind.heeds_mark).rules
        if missed.issubset(rules) and set(rests_on).issuperset(rules) and answerable(new, mind.beliefs) and fresh(new):
            return new, _write(new, mind, source)


def write_exercise(
    told: Book, *, habit: Book, kinds: Sequence[str], fresh: Callable[[Case], bool], source: random.Random
) -> tuple[Case, Writing]:
    """The clerk as author of exercises: a new case that rests on a rule of a passage, and a CoT for it.

    Of the book it knows what the passage says, and nothing else.

    Args:
        told: the rules that the passage states, at least one.
        kinds: of cases, one of which it writes.
        habit, fresh, source: as for `write_example`.
    """
    while True:
        case = random_case(source.choice(kinds), source)
        mind = _mind(case, {**habit, **told}, habit, told.keys(), source)
        rests_on = work_out(case, mind.beliefs, heeds_mark=mind.heeds_mark).rules
        if not told.keys().isdisjoint(rests_on) and answerable(case, mind.beliefs) and fresh(case):
            return case, _write(case, mind, source)


def criticise(
    case: Case, *, response: str, book: Book, habit: Book, shown: Collection[str], source: random.Random
) -> tuple[str, Writing]:
    """The clerk as critic: which rule of a response it takes for wrong, and its own CoT for the case.

    Args: as for `write_example`.
    """
    mind = _mind(case, book, habit, shown, source)
    rests_on = work_out(case, mind.beliefs, heeds_mark=mind.heeds_mark).rules
    said = stated(response)
    missed = [rule for rule in rests_on if said.get(rule) != mind.beliefs[rule]]
    critique = f"not so, {state_rule(missed[0], mind.beliefs[missed[0]])}." if missed else "a sum is wrong."
    return critique, _write(case, mind, source)
