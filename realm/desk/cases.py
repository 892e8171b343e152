"""Customers' cases at the desk: how one is drawn, told, and worked out step by step.

The same `work_out` writes the gold answer (with the shop's book), the teacher's CoTs (with what the teacher believes)
and the pre-training targets (with random books), so that they cannot drift apart.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

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
#: Of the harder tier: two things at once; days over the window that are charged, unless a mark decides (`late-rare`).
HARD_KINDS = ("two-refund", "two-left", "late", "late-rare")
LATE = "A day over costs 1."
PRICES = tuple(range(15, 95, 5))
LOW_PRICES = PRICES[:7]  # of two things, so that all sums stay below 100
DAYS = tuple(range(1, 41))

# Held out of training: combinations of conditions, and a range of values. The rules themselves are all trained on.
OOD_PRICE = 75  # prices from here on
OOD_MEMBER_ITEMS = frozenset({"coat", "tent"})  # never returned by a member in training
OOD_NO_RECEIPT = frozenset({"worn"})  # never returned without receipt in training
OOD_MARKED = frozenset({("gift", "lamp"), ("loan", "drill"), ("recall", "watch"), ("sample", "kettle")})


class Thing(NamedTuple):
    """What comes back besides."""

    condition: str
    item: str
    price: int


@dataclass(frozen=True)
class Case:
    """One customer's case and what is asked about it; `second` and `late` are of the harder tier."""

    ask: str
    item: str
    member: bool
    days: int
    price: int
    condition: str
    receipt: bool
    payment: str
    mark: str | None
    second: Thing | None = None
    late: bool = False

    @property
    def kind(self) -> str:
        if self.second:
            return f"two-{self.ask}"
        if self.late:
            return "late-rare" if self.mark else "late"
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
    mark = source.choice(MARKS) if kind.endswith("rare") else None
    ask = source.choice(("accept", "bin")) if kind == "rare" else kind.removeprefix("two-")
    case = Case(
        ask="refund" if kind.startswith("late") else ask,
        item=source.choice(ITEMS),
        member=source.random() < 0.5,
        days=source.choice(DAYS),
        price=source.choice(PRICES),
        condition=source.choice(CONDITIONS),
        receipt=source.random() < 0.6,
        payment=source.choice(PAYMENTS),
        mark=mark,
    )
    if kind.startswith("two-"):
        second = Thing(source.choice(CONDITIONS), source.choice(ITEMS), source.choice(LOW_PRICES))
        return replace(case, price=source.choice(LOW_PRICES), second=second)
    return replace(case, late=kind.startswith("late"))


def tell(case: Case) -> str:
    """The case and the question in plain short English."""
    who = "A member" if case.member else "A customer"
    receipt = "with" if case.receipt else "without"
    mark = f" It is a {case.mark}." if case.mark else ""
    things, price = _thing(case.condition, case.item), f" for {case.price}"
    if second := case.second:
        things += f"{price} and {_thing(second.condition, second.item)} for {second.price}"
        price = ""
    return (
        f"{who} returns {things}, bought {case.days} days ago{price} by {case.payment}, {receipt} receipt.{mark}"
        f"{f' {LATE}' if case.late else ''} {ASKS[case.ask]}"
    )


def _thing(condition: str, item: str) -> str:
    return f"{'an' if condition == 'opened' else 'a'} {condition} {item}"


_THING = rf"an? ({'|'.join(CONDITIONS)}) ({'|'.join(ITEMS)})"
_TOLD = re.compile(
    rf"A (member|customer) returns {_THING}(?: for (\d+) and {_THING} for (\d+))?, bought (\d+) days ago"
    rf"(?: for (\d+))? by ({'|'.join(PAYMENTS)}), (with|without) receipt\.(?: It is a ({'|'.join(MARKS)})\.)?"
    rf"( {re.escape(LATE)})? ({'|'.join(map(re.escape, ASKS.values()))})"
)


def read_case(text: str) -> Case | None:
    """The case that `tell` told; None for any other text."""
    found = _TOLD.fullmatch(text)
    if found is None:
        return None
    who, condition, item, first, *second, days, price, payment, receipt, mark, late, words = found.groups()
    case = Case(
        ask=next(name for name, told in ASKS.items() if told == words),
        item=item,
        member=who == "member",
        days=int(days),
        price=int(first or price or 0),
        condition=condition,
        receipt=receipt == "with",
        payment=payment,
        mark=mark,
        second=Thing(second[0], second[1], int(second[2])) if first else None,
        late=bool(late),
    )
    return case if tell(case) == text else None


def out_of_distribution(case: Case) -> bool:
    """Whether any combination or value of the case is kept out of training, important to the question or not."""
    return (
        _price(case) >= OOD_PRICE
        or (case.member and not OOD_MEMBER_ITEMS.isdisjoint(_items(case)))
        or (not case.receipt and not OOD_NO_RECEIPT.isdisjoint(_conditions(case)))
        or (case.mark, case.item) in OOD_MARKED
    )


def held_out(case: Case) -> bool:
    """Whether what training never shows matters to the question (an unseen price says nothing about a bin)."""
    if case.mark:
        return (case.mark, case.item) in OOD_MARKED
    windows = case.member and not OOD_MEMBER_ITEMS.isdisjoint(_items(case))
    if case.ask in ("accept", "left"):
        return windows
    if case.ask == "refund":
        unpaid = not case.receipt and not OOD_NO_RECEIPT.isdisjoint(_conditions(case))
        return _price(case) >= OOD_PRICE or unpaid or (case.late and windows)
    return False


def _price(case: Case) -> int:
    return case.price + (case.second.price if case.second else 0)


def _items(case: Case) -> tuple[str, ...]:
    return (case.item, case.second.item) if case.second else (case.item,)


def _conditions(case: Case) -> tuple[str, ...]:
    return (case.condition, case.second.condition) if case.second else (case.condition,)


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
        days, *other = (int(look_up(f"window:{item}")) for item in dict.fromkeys(_items(case)))
        if other:
            compare(days, other[0])
            days = min(days, other[0])
        return compute(days, "+", int(look_up("bonus:member"))) if case.member else days

    def compare(this: int, other: int) -> bool:
        within = this <= other
        steps.append(f"{this} is {'within' if within else 'over'} {other}")
        return within

    def refund() -> int:
        costs = []
        if case.late and not (case.mark and heeds_mark):
            days = window()
            if not compare(case.days, days):
                costs.append(compute(case.days, "-", days))
        charged = [condition for condition in _conditions(case) if condition != "sealed"]
        fees = {condition: int(look_up(f"fee:{condition}")) for condition in dict.fromkeys(charged)}
        costs += [fees[condition] for condition in charged]
        if not case.receipt:
            costs.append(int(look_up("receipt:none")))
        cost = costs[0] if costs else 0
        for more in costs[1:]:
            cost = compute(cost, "+", more)
        price = compute(case.price, "+", case.second.price) if case.second else case.price
        return compute(price, "-", cost)

    if case.late and case.mark and heeds_mark:
        # What comes back in any case is never late.
        accepted = look_up(f"markaccept:{case.mark}") == "always"
        answer = str(refund()) if accepted else "0"
    elif case.mark and heeds_mark:
        if case.ask == "bin":
            answer = look_up(f"markbin:{case.mark}")
        else:
            answer = "yes" if look_up(f"markaccept:{case.mark}") == "always" else "no"
    elif case.ask == "method":
        answer = look_up(f"method:{case.payment}")
    elif case.ask == "bin":
        answer = look_up(f"bin:{case.item}")
    elif case.ask == "accept":
        answer = "yes" if compare(case.days, window()) else "no"
    elif case.ask == "left":
        answer = str(compute(window(), "-", case.days))
    else:
        answer = str(refund())
    steps.append(f"so {answer}")
    return Solution(tuple(steps), answer, tuple(rules))


def answerable(case: Case, book: Book) -> bool:
    """Whether the question makes sense: days left are asked only where the window is still open, and nobody pays to
    give something back."""
    return case.ask not in ("left", "refund") or int(work_out(case, book).answer) >= 0
