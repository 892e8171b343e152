"""Rule books of the returns desk: what a shop decides about windows, fees, refunds and bins.

A book maps a rule id such as `window:lamp` to its value. Some rules have few alternatives, so that exploration can find
them; the bin codes have 480, so that it cannot. Every book is a function of a seed, and so is the one shop whose
questions are the embedded task.
"""

import functools
import random
import re
from collections.abc import Mapping

from realm.method.seeds import rng
from realm.tasks.base import Comment

ITEMS = ("lamp", "kettle", "coat", "drill", "tent", "watch", "radio", "chair")
CONDITIONS = ("sealed", "opened", "worn", "scratched")
PAYMENTS = ("card", "cash", "cheque", "voucher")
#: Rare remarks on a case. Each overrides another rule, which a clerk who does not know the book overlooks.
MARKS = ("gift", "loan", "recall", "sample")
COLOURS = ("amber", "black", "coral", "cream", "green", "ivory", "khaki", "lemon", "olive", "pearl", "ruby", "white")
CODE_NUMBERS = tuple(range(10, 50))

#: Values a rule can take, by the part of its id before the colon. `bin` and `markbin` are codes (see `random_code`).
ALTERNATIVES: dict[str, tuple[str, ...]] = {
    "window": ("7", "14", "21", "30"),
    "bonus": ("3", "5", "10"),
    "fee": ("2", "4", "6", "9"),
    "receipt": ("1", "3", "5"),
    "method": ("card", "cash", "credit", "transfer"),
    "markaccept": ("always", "never"),
}

RULES: tuple[str, ...] = (
    *(f"window:{item}" for item in ITEMS),
    "bonus:member",
    *(f"fee:{condition}" for condition in CONDITIONS if condition != "sealed"),
    "receipt:none",
    *(f"method:{payment}" for payment in PAYMENTS),
    *(f"bin:{item}" for item in ITEMS),
    *(f"markbin:{mark}" for mark in MARKS),
    *(f"markaccept:{mark}" for mark in MARKS),
)

#: Rules of the shop that no expert comment states: guided CoTs cannot teach them, exploration can.
UNCOMMENTED: frozenset[str] = frozenset({"window:radio", "window:chair", "fee:scratched", "method:cheque"})

Book = Mapping[str, str]


def random_code(source: random.Random) -> str:
    """One of the 480 bin codes, e.g. `amber 27`."""
    return f"{source.choice(COLOURS)} {source.choice(CODE_NUMBERS)}"


def random_value(rule: str, source: random.Random) -> str:
    """A value that the rule could have in some shop."""
    alternatives = ALTERNATIVES.get(rule.partition(":")[0])
    return source.choice(alternatives) if alternatives else random_code(source)


def random_book(source: random.Random) -> dict[str, str]:
    """A whole rule book, every rule drawn independently."""
    return {rule: random_value(rule, source) for rule in RULES}


def shop_book(seed: int) -> dict[str, str]:
    """The fixed book of the shop with this seed.

    Within a family of rules (the windows, say) every alternative is used as often as any other: where most items had
    30 days, a student could settle for "30 days" everywhere, and its accuracy would not tell which rules it knows.
    """
    source = rng(seed, "desk", "book")
    book = random_book(source)
    for name, alternatives in ALTERNATIVES.items():
        family = [rule for rule in RULES if rule.partition(":")[0] == name]
        values = list(alternatives) * -(-len(family) // len(alternatives))
        if len(family) < len(values):
            source.shuffle(values)
            values = values[: len(family)]
        source.shuffle(values)
        book.update(zip(family, values, strict=True))
    return book


def habit_book(seed: int) -> dict[str, str]:
    """What the unguided teacher takes for usual: a book of its own.

    Rules with few alternatives agree with the shop by chance alone; codes, and the rules that no comment states, never
    do, so that only exploration can find the latter.
    """
    shop = shop_book(seed)
    source = rng(seed, "desk", "habit")
    habit = random_book(source)
    for rule in RULES:
        never = rule in UNCOMMENTED or rule.startswith(("bin", "markbin"))
        while never and habit[rule] == shop[rule]:
            habit[rule] = random_value(rule, source)
    return habit


def state_rule(rule: str, value: str) -> str:
    """The sentence that states a rule, as experts write it in comments and clerks in their reasoning."""
    name, _, of = rule.partition(":")
    sentences = {
        "window": f"a {of} has {value} days",
        "bonus": f"a member gets {value} more days",
        "fee": f"{of} costs {value}",
        "receipt": f"no receipt costs {value}",
        "method": f"{of} is paid back by {value}",
        "bin": f"a {of} goes to bin {value}",
        "markbin": f"a {of} goes to bin {value}",
        "markaccept": f"a {of} {value} comes back",
    }
    return sentences[name]


@functools.cache
def _statements() -> dict[str, re.Pattern[str]]:
    """What finds the statement of each rule in a text; group 1 is the value."""
    codes = rf"(?:{'|'.join(COLOURS)}) \d\d"
    found = {}
    for rule in RULES:
        alternatives = ALTERNATIVES.get(rule.partition(":")[0])
        before, after = state_rule(rule, "\n").split("\n")
        value = "|".join(alternatives) if alternatives else codes
        found[rule] = re.compile(rf"\b{re.escape(before)}({value}){re.escape(after)}\b", re.IGNORECASE)
    return found


def stated(text: str) -> dict[str, str]:
    """The rules that a text states in the words of `state_rule`, with the value it states first."""
    found = {rule: pattern.search(text) for rule, pattern in _statements().items()}
    return {rule: match[1].casefold() for rule, match in found.items() if match}


def comments(book: Book) -> tuple[Comment, ...]:
    """The expert comments on a book, one for each rule that is commented on, tagged with the rule's id."""
    return tuple(
        Comment(id=rule, tags=(rule,), text=state_rule(rule, book[rule]).capitalize() + ".")
        for rule in RULES
        if rule not in UNCOMMENTED
    )
