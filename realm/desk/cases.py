"""Customers' cases at the desk: how one is drawn, told, and worked out step by step.

The same `work_out` writes the gold answer (with the shop's book), the teacher's CoTs (with what the teacher believes)
and the pre-training targets (with random books), so that they cannot drift apart.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from realm.desk.book import CONDITIONS, ITEMS, MARKS, PAYMENTS, Book, state_rule

#: What is asked, and the words it is asked in.
ASKS = {
    "method": "How is it paid back?",
    "bin": "Which bin?",
    "accept": "May it come back?",
    "left": "How many days are left?",
    "refund": "How much is paid back?",
}
#: Kinds of question: the five asks, and `rare` for cases whose mark overrides the common rule.
KINDS = (*ASKS, "rare")
PRICES = tuple(range(15, 95, 5))
DAYS = tuple(range(1, 41))

# Held out of training: combinations of conditions, and a range of values. The rules themselves are all trained on.
OOD_PRICE = 75  # prices from here on
OOD_MEMBER_ITEMS = frozenset({"coat", "tent"})  # never returned by a member in training
OOD_NO_RECEIPT = frozenset({"worn"})  # never returned without receipt in training
OOD_MARKED = frozenset({("gift", "lamp"), ("loan", "drill"), ("recall", "watch"), ("sample", "kettle")})


@dataclass(frozen=True)
class Case:
    """One customer's case and what is asked about it."""

    ask: str
    item: str
    member: bool
    days: int
    price: int
    condition: str
    receipt: bool
    payment: str
    mark: str | None

    @property
    def kind(self) -> str:
        return "rare" if self.mark else self.ask


@dataclass(frozen=True)
class Solution:
    """The steps of a reasoning and its answer; `rules` are the ids of the rules it rests on."""

    steps: tuple[str, ...]
    answer: str
    rules: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(step[0].upper() + step[1:] + "." for step in self.steps)


def random_case(kind: str, source: random.Random) -> Case:
    """A case of the given kind, every field drawn independently; `left` cases may still be past their window."""
    mark = source.choice(MARKS) if kind == "rare" else None
    return Case(
        ask=source.choice(("accept", "bin")) if kind == "rare" else kind,
        item=source.choice(ITEMS),
        member=source.random() < 0.5,
        days=source.choice(DAYS),
        price=source.choice(PRICES),
        condition=source.choice(CONDITIONS),
        receipt=source.random() < 0.6,
        payment=source.choice(PAYMENTS),
        mark=mark,
    )


def tell(case: Case) -> str:
    """The case and the question in plain short English."""
    who = "A member" if case.member else "A customer"
    receipt = "with" if case.receipt else "without"
    article = "an" if case.condition == "opened" else "a"
    mark = f" It is a {case.mark}." if case.mark else ""
    return (
        f"{who} returns {article} {case.condition} {case.item}, bought {case.days} days ago for {case.price} "
        f"by {case.payment}, {receipt} receipt.{mark} {ASKS[case.ask]}"
    )


_TOLD = re.compile(
    rf"A (member|customer) returns an? ({'|'.join(CONDITIONS)}) ({'|'.join(ITEMS)}), bought (\d+) days ago for (\d+) "
    rf"by ({'|'.join(PAYMENTS)}), (with|without) receipt\.(?: It is a ({'|'.join(MARKS)})\.)? "
    rf"({'|'.join(map(re.escape, ASKS.values()))})"
)


def read_case(text: str) -> Case | None:
    """The case that `tell` told; None for any other text."""
    found = _TOLD.fullmatch(text)
    if found is None:
        return None
    who, condition, item, days, price, payment, receipt, mark, words = found.groups()
    ask = next(name for name, told in ASKS.items() if told == words)
    return Case(ask, item, who == "member", int(days), int(price), condition, receipt == "with", payment, mark)


def out_of_distribution(case: Case) -> bool:
    """Whether any combination or value of the case is kept out of training, important to the question or not."""
    return (
        case.price >= OOD_PRICE
        or (case.member and case.item in OOD_MEMBER_ITEMS)
        or (not case.receipt and case.condition in OOD_NO_RECEIPT)
        or (case.mark, case.item) in OOD_MARKED
    )


def held_out(case: Case) -> bool:
    """Whether what training never shows matters to the question (an unseen price says nothing about a bin)."""
    if case.mark:
        return (case.mark, case.item) in OOD_MARKED
    if case.ask in ("accept", "left"):
        return case.member and case.item in OOD_MEMBER_ITEMS
    if case.ask == "refund":
        return case.price >= OOD_PRICE or (not case.receipt and case.condition in OOD_NO_RECEIPT)
    return False


Compute = Callable[[int], int]


def work_out(case: Case, book: Book, *, heeds_mark: bool = True, slip: Compute = lambda result: result) -> Solution:
    """Apply a book to a case.

    Args:
        case: the case.
        book: anything that maps a rule id to a value: a shop's book, or what somebody believes.
        heeds_mark: False for a clerk who overlooks the mark of the case.
        slip: applied to every computed number; the identity for a clerk who never errs.
    """
    rules: list[str] = []
    steps: list[str] = []

    def look_up(rule: str) -> str:
        rules.append(rule)
        steps.append(state_rule(rule, book[rule]))
        return book[rule]

    def compute(left: int, sign: str, right: int) -> int:
        result = slip(left + right if sign == "+" else left - right)
        steps.append(f"{left} {sign} {right} = {result}")
        return result

    def window() -> int:
        days = int(look_up(f"window:{case.item}"))
        return compute(days, "+", int(look_up("bonus:member"))) if case.member else days

    if case.mark and heeds_mark:
        if case.ask == "bin":
            answer = look_up(f"markbin:{case.mark}")
        else:
            answer = "yes" if look_up(f"markaccept:{case.mark}") == "always" else "no"
    elif case.ask == "method":
        answer = look_up(f"method:{case.payment}")
    elif case.ask == "bin":
        answer = look_up(f"bin:{case.item}")
    elif case.ask == "accept":
        days = window()
        within = case.days <= days
        steps.append(f"{case.days} is {'within' if within else 'over'} {days}")
        answer = "yes" if within else "no"
    elif case.ask == "left":
        answer = str(compute(window(), "-", case.days))
    else:
        fee = 0 if case.condition == "sealed" else int(look_up(f"fee:{case.condition}"))
        if not case.receipt:
            extra = int(look_up("receipt:none"))
            fee = compute(fee, "+", extra) if fee else extra
        answer = str(compute(case.price, "-", fee))
    steps.append(f"so {answer}")
    return Solution(tuple(steps), answer, tuple(rules))


def answerable(case: Case, book: Book) -> bool:
    """Whether the question makes sense: days left are asked only where the window is still open."""
    return case.ask != "left" or int(work_out(case, book).answer) >= 0
