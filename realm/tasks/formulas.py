"""The verifier `math`: whether an answer has the gold's mathematical value.

`realm.formula` reads a text as one value and compares scalars, exactly or at 320 digits; what stands here is which
kinds of value can be equal. Sums, integrals, limits and determinants are math-verify's to compare, whose True counts
only where the values agree at 50 digits.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from realm.formula import reals
from realm.formula.expressions import Value
from realm.formula.grammar import readings
from realm.formula.library import same_by_library
from realm.formula.text import without_frames
from realm.formula.units import STICKY
from realm.formula.values import NoScalarError, equal, proportional, same_when_solved
from realm.formula.words import NoValueError, words
from realm.tasks.choices import Choice
from realm.tasks.reading import UnreadableError, reading_gold
from realm.tasks.units import counted, singular, vocabulary

_LONGEST = 1000
_PLAIN = re.compile(
    r"\$?\s*(?P<sign>[-+]?)\s*(?:(?P<number>\d{1,100}(?:\.\d{1,100})?)(?:/(?P<below>\d{1,100}))?"
    r"|\\[dt]?frac\{(?P<top>\d{1,100})\}\{(?P<bottom>\d{1,100})\})\s*\$?",
    re.ASCII,
)
#: What multiple choice has, with its text behind it: `(C) 5`, `\\textbf{(C)}\\ 5`, `C. 5`; `(C)` alone is a symbol.
_LETTERS = Choice(tuple("ABCDEFGH"))
_LABELLED = re.compile(
    r"(?:(?P<open>\\(?:text(?:bf|it|rm)?|math(?:bf|rm))\s?\{)\s*)?(?:\([A-H]\)|[A-H][).:](?=[\s~}\\]))\s*(?(open)\})"
    r"(?:\s|~|\\(?:[ ,;:!]|q?quad\b))*(?![A-Z]\b)(?:[\w$]|-\d|\\(?:[dt]?frac|sqrt|text|math|pi\b|\$))"
)
#: Words that are the name of a value.
_WORDS: dict[tuple[str, ...], Value] = {
    (name,): ("num", Fraction(number))
    for number, name in enumerate(
        words("""zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen 
        seventeen eighteen nineteen twenty""")
    )
} | {
    ("no", "solution"): ("set", ()), ("no", "solutions"): ("set", ()), ("empty", "set"): ("set", ()),
    ("dne",): ("words", ("does", "not", "exist")),
    ("all", "real", "numbers"): ("named", "R"), ("all", "reals"): ("named", "R"), ("real", "numbers"): ("named", "R"),
}  # fmt: skip
_SCALARS = frozenset(words("num sym const add mul div neg pow fn deg pm opaque"))
_SET_KINDS = frozenset(words("rel relations union meet minus named builder"))


def _plain(text: str) -> Fraction | None:
    """The value of a plain number or fraction, as most golds and answers are; None for all else."""
    match = _PLAIN.fullmatch(text)
    if match is None or (text.count("$") == 1):
        return None
    below = match["below"] or match["bottom"]
    if below is not None and not int(below):
        return None
    found = Fraction(match["number"] or match["top"]) / int(below or 1)
    return -found if match["sign"] == "-" else found


@lru_cache(maxsize=1024)
def _read(text: str) -> tuple[Value, ...]:
    if len(text) > _LONGEST:
        raise UnreadableError("too long")
    try:
        found = tuple(_settled(value) for value in readings(text))
    except (NoValueError, NoScalarError, RecursionError) as error:
        raise UnreadableError(str(error) or "too deep") from error
    return found


@dataclass(frozen=True)
class Math:
    """Equal mathematical values, the whole answer being one value in LaTeX or plain text; see `realm.formula.grammar`.

    Equality is by value and exact: an expression that was not worked out (`37*48` for `1776`) is right, so ask for what
    the question does not state, and a rounded value (1.41421356 for √2) is wrong. A unit may be absent on either side;
    two different ones are never equal. The order counts in `(1, 2)` and matrices, not in `1, 2`, which may be
    written as a set. For the killable processes of `workers.VerifierPool` alone: a comparison
    can take long.
    """

    name: str = "math"

    def __call__(self, answer: str, gold: str, question: str = "") -> bool:
        plain_gold, plain_answer = _plain(gold), _plain(answer)
        if plain_gold is not None and plain_answer is not None:
            return plain_gold == plain_answer
        if len(answer) <= _LONGEST and without_frames(answer) == without_frames(gold) != "":
            return True
        labelled = [len(text) <= _LONGEST and bool(_LABELLED.match(without_frames(text))) for text in (answer, gold)]
        if labelled[0] != labelled[1]:
            return self._same_choice(answer, gold)
        golds = reading_gold(_read, gold)
        answers = _read(answer)
        comparison = _Comparison(question)
        try:
            return any(comparison.same(one, two) for one in golds for two in answers)
        except (NoScalarError, RecursionError) as error:
            raise UnreadableError(str(error) or "too deep") from error

    @staticmethod
    def _same_choice(answer: str, gold: str) -> bool:
        """Whether a choice with its text is the letter that the other one is."""
        texts = without_frames(answer), without_frames(gold)
        if not any(text.strip("()") in _LETTERS.choices for text in texts):
            raise UnreadableError("a choice with its text, where the other is no choice")
        return _LETTERS(*texts)

    def key(self, answer: str) -> str:
        plain = _plain(answer)
        if plain is not None:
            return str(plain)
        text = without_frames(answer) if len(answer) <= _LONGEST else ""
        if not text:
            raise UnreadableError("no formula")
        plain = _plain(text)
        return str(plain) if plain is not None else text.replace(" ", "")


# ---------------------------------------------------------------------------------------------------------------------
# One form of each value


def _is_scalar(value: Value) -> bool:
    return value[0] in _SCALARS


def _settled(value: Value) -> Value:
    """The value with what can be settled by itself: chains of equal sides are their last, `±` is two values."""
    kind = value[0]
    if kind == "equal":
        sides = tuple(map(_settled, value[1]))
        if len(sides) == 2 and any(map(_has_variable, sides)) and not _agree(sides):
            return ("rel", sides[0], (("=", sides[1]),))
        return _last(sides)
    if kind == "assign":
        name, side = value[1], _last(tuple(map(_settled, value[2])))
        if name[0] == "tuple" and side[0] == "tuple" and len(name[3]) == len(side[3]):
            return ("system", tuple(zip(name[3], side[3], strict=True)))
        return ("assign", name, side)
    if kind == "system":
        pairs = [_settled(one) for one in value[1]]
        if any(pair[0] != "assign" for pair in pairs):
            return ("list", tuple(pairs))
        return ("system", tuple((pair[1], pair[2]) for pair in pairs))
    if _is_scalar(value):
        if _has(value, "pm"):
            return ("list", (_signed(value, 1), _signed(value, -1)))
        return value
    if kind == "list":
        items: list[Value] = []
        for item in map(_settled, value[1]):
            items.extend(item[1] if item[0] == "list" else (item,))
        return ("list", tuple(items))
    if kind == "quantity":
        inner = _settled(value[1])
        if inner[0] == "list":
            return ("list", tuple(("quantity", item, value[2]) for item in inner[1]))
        return ("quantity", inner, value[2])
    if kind == "relations":
        return ("relations", value[1], tuple(map(_settled, value[2])))
    if kind == "words":
        return _WORDS.get(value[1], value)
    if kind == "set":
        return ("set", tuple(map(_settled, value[1])))
    if kind == "tuple":
        return (*value[:3], tuple(map(_settled, value[3])))
    if kind == "matrix":
        return (*value[:2], tuple(tuple(map(_settled, row)) for row in value[2]))
    return value


def _last(sides: tuple[Value, ...]) -> Value:
    """The last of sides that are equal, as they say, but for formulas in front of a number (`A = \\pi r^2 = 4`)."""
    constant = not _has_variable(sides[-1])
    if not _agree([side for side in sides if not (constant and _has_variable(side))]):
        raise NoValueError("sides that are not equal")
    return sides[-1]


def _agree(sides: Sequence[Value]) -> bool:
    return all(_Comparison("").same(sides[-1], side) for side in sides[:-1])


def _has(value: Value, kind: str) -> bool:
    return value[0] == kind or any(isinstance(part, tuple) and part and _has(part, kind) for part in value[1:])


def _has_variable(value: Value) -> bool:
    return _has(value, "sym")


def _signed(value: Value, sign: int) -> Value:
    if value[0] == "pm":
        inner = _signed(value[2], sign)
        return inner if value[1] * sign > 0 else ("neg", inner)
    return (value[0], *(_signed(part, sign) if isinstance(part, tuple) and part else part for part in value[1:]))


# ---------------------------------------------------------------------------------------------------------------------
# Which values are the same


class _Comparison:
    def __init__(self, question: str) -> None:
        self._question = question

    def same(self, gold: Value, answer: Value) -> bool:
        """Raises `UnreadableError` for a noun that gold and question lack, `NoScalarError` for what has no value."""
        gold, gold_unit = _split(gold)
        answer, answer_unit = _split(answer)
        if not self._same_unit(gold_unit, answer_unit):
            return False
        named = self._same_named(gold, answer)
        if named is not None:
            return named
        if answer[0] == "words" and _is_scalar(gold):
            raise UnreadableError("words where the gold is a value")
        if _is_scalar(gold) and _is_scalar(answer):
            return _same_scalar(gold, answer)
        if gold[0] in _SET_KINDS or answer[0] in _SET_KINDS:
            found = reals.same(gold, answer)
            if found is not None:
                return found
        if gold[0] == answer[0]:
            return self._same_kind(gold, answer)
        return self._across(gold, answer)

    def _same_unit(self, gold: Any, answer: Any) -> bool:
        if gold == answer:
            return True
        for unit, other in ((gold, answer), (answer, gold)):
            if other is None and unit[0] != "noun":
                return not any(name in STICKY for name, _ in unit)
        if gold is None:
            said = vocabulary(self._question)
            if not all(counted(noun, said) for noun in answer[1:]):
                raise UnreadableError(
                    f"behind the number: {' '.join(answer[1:])[:40]!r}, which the question does not say"
                )
            return True
        if answer is None:
            return True
        return bool(gold[0] == answer[0] == "noun" and [*map(singular, gold[1:])] == [*map(singular, answer[1:])])

    def _same_named(self, gold: Value, answer: Value) -> bool | None:
        """Where one side names its value (`x = 5`); None where neither does."""
        if gold[0] == "system" or answer[0] == "system":
            return self._same_system(gold, answer)
        if gold[0] == answer[0] == "assign":
            if gold[1] == answer[1]:
                return self.same(gold[2], answer[2])
            return _is_scalar(gold[2]) and _is_scalar(answer[2]) and _same_equation(_equation(gold), _equation(answer))
        for one, other in ((gold, answer), (answer, gold)):
            if one[0] == "assign":
                if _is_equation(other):
                    return _is_scalar(one[2]) and _same_equation(_equation(gold), _equation(answer))
                if other[0] not in ("rel", "relations") or one[2][0] in _SET_KINDS | {"tuple"}:
                    return self.same(gold[2], answer) if one is gold else self.same(gold, answer[2])
                return False
        return None

    def _same_system(self, gold: Value, answer: Value) -> bool:
        if gold[0] == answer[0]:
            one, two = dict(gold[1]), dict(answer[1])
            return one.keys() == two.keys() and all(self.same(one[name], two[name]) for name in one)
        system, other = (gold, answer) if gold[0] == "system" else (answer, gold)
        # Without names the order of the names says which value is whose; in a bare list also that of the gold.
        named = sorted(system[1], key=lambda pair: (str(pair[0][1]).casefold(), str(pair[0])))
        orders = [named, list(system[1])] if system is gold and other[0] == "list" else [named]
        items = _in_order(other)
        if items is None:
            return False
        return any(
            self._each(*((values, items) if system is gold else (items, values)))
            for values in ([value for _, value in order] for order in orders)
        )

    def _same_kind(self, gold: Value, answer: Value) -> bool:
        kind = gold[0]
        if kind == "list":
            if ("dots",) in gold[1] or ("dots",) in answer[1]:
                return self._each(gold[1], answer[1])
            return self._matched(gold[1], answer[1])
        if kind == "set":
            return self._matched(self._distinct(gold[1]), self._distinct(answer[1]))
        if kind == "tuple":
            return gold[1:3] == answer[1:3] and self._each(gold[3], answer[3])
        if kind == "matrix":
            return gold[1] == answer[1] and self._each_row(gold[2], answer[2])
        if kind in ("terms", "compound"):
            return self._each(gold[1], answer[1])
        if kind in ("union", "meet"):
            return self._matched(_operands(gold, kind), _operands(answer, kind))
        if kind == "minus":
            return self.same(gold[1], answer[1]) and self.same(gold[2], answer[2])
        if kind == "rel":
            return self._same_relation(gold, answer)
        if kind == "relations":
            return gold[1] == answer[1] and self._matched(gold[2], answer[2])
        return bool(gold == answer)

    def _each(self, gold: Sequence[Value], answer: Sequence[Value]) -> bool:
        return len(gold) == len(answer) and all(self.same(one, two) for one, two in zip(gold, answer, strict=True))

    def _each_row(self, gold: Sequence[Sequence[Value]], answer: Sequence[Sequence[Value]]) -> bool:
        return len(gold) == len(answer) and all(self._each(one, two) for one, two in zip(gold, answer, strict=True))

    def _matched(self, gold: Sequence[Value], answer: Sequence[Value]) -> bool:
        """Whether the items are the same, each as often, in any order."""
        if len(gold) != len(answer):
            return False
        left = list(answer)
        for one in gold:
            found = next((at for at, two in enumerate(left) if self.same(one, two)), None)
            if found is None:
                return False
            del left[found]
        return True

    def _distinct(self, items: Iterable[Value]) -> list[Value]:
        found: list[Value] = []
        for item in items:
            if not any(self.same(item, one) for one in found):
                found.append(item)
        return found

    def _same_relation(self, gold: Value, answer: Value) -> bool:
        if _is_equation(gold) and _is_equation(answer):
            return _same_equation(_equation(gold), _equation(answer))
        if len(gold[2]) == len(answer[2]) == 1 and gold[2][0][0] in _ORDERS and answer[2][0][0] in _ORDERS:
            (one, strict_one), (two, strict_two) = _above_zero(gold), _above_zero(answer)
            return strict_one == strict_two and _scalars(one, two) and proportional(one, two) > 0
        operators = [operator for operator, _ in gold[2]] == [operator for operator, _ in answer[2]]
        sides = [gold[1], *(side for _, side in gold[2])], [answer[1], *(side for _, side in answer[2])]
        return operators and self._each(*sides)

    def _across(self, gold: Value, answer: Value) -> bool:
        """Values of two kinds that may say the same."""
        kinds = {gold[0], answer[0]}
        if kinds == {"tuple", "matrix"}:
            one, two = (value[2] if value[0] == "matrix" else _rows(value) for value in (gold, answer))
            if one is not None and two is not None:
                return self._each_row(one, two)
            one, two = (value[3] if value[0] == "tuple" else _in_order(value) for value in (gold, answer))
            return one is not None and two is not None and self._each(one, two)
        if kinds <= {"list", "set"} or (kinds & {"set"} and (kinds & _SCALARS or kinds & {"words", "tuple"})):
            # The solutions as a set or one by one; a set has none twice, a list may.
            one, two = (
                self._distinct(value[1]) if value[0] == "set" else list(value[1]) if value[0] == "list" else [value]
                for value in (gold, answer)
            )
            return self._matched(one, two)
        if "words" in kinds:
            return _spelling(gold) == _spelling(answer) is not None
        return False


def _split(value: Value) -> tuple[Value, Any]:
    return (value[1], value[2]) if value[0] == "quantity" else (value, None)


def _spelling(value: Value) -> str | None:
    """The letters of a word or of a product of variables (`AC`), which may be meant as one."""
    if value[0] == "words":
        return str(value[1][0]).casefold() if len(value[1]) == 1 else None
    if value[0] == "sym":
        return str(value[1]).casefold() if len(value[1]) > 1 else str(value[1])
    if value[0] == "mul":
        parts = [_spelling(part) for part in value[1:]]
        return None if None in parts else "".join(map(str, parts)).casefold()
    return str(value[1]) if value[0] == "const" else None


def _in_order(value: Value) -> Sequence[Value] | None:
    """The items of a tuple, of a list or of a vector."""
    if value[0] == "tuple":
        return value[3] if value[1:3] == ("(", ")") else None
    if value[0] == "list":
        return value[1]
    if value[0] == "matrix" and value[1] == "matrix":
        rows = value[2]
        return rows[0] if len(rows) == 1 else [row[0] for row in rows] if len(rows[0]) == 1 else None
    return None


def _rows(value: Value) -> Sequence[Sequence[Value]] | None:
    """The rows of a matrix that is written as `[[1, 2], [3, 4]]`."""
    if all(item[0] == "tuple" for item in value[3]):
        return [item[3] for item in value[3]]
    return None


def _operands(value: Value, kind: str) -> list[Value]:
    if value[0] != kind:
        return [value]
    return [*_operands(value[1], kind), *_operands(value[2], kind)]


_ORDERS = frozenset(("<", ">", "<=", ">="))


def _is_equation(value: Value) -> bool:
    return bool(value[0] == "rel" and len(value[2]) == 1 and value[2][0][0] == "=")


def _scalars(*values: Value) -> bool:
    return all(map(_is_scalar, values))


def _equation(value: Value) -> Value:
    """What an equation says is zero."""
    left, right = (value[1], value[2]) if value[0] == "assign" else (value[1], value[2][0][1])
    if not _scalars(left, right):
        raise NoScalarError("an equation of what are no numbers")
    return ("add", left, ("neg", right))


def _same_equation(one: Value, two: Value) -> bool:
    return proportional(one, two) != 0 or same_when_solved(one, two)


def _above_zero(value: Value) -> tuple[Value, bool]:
    """What an inequality says is above zero, and whether strictly."""
    left, operator, right = value[1], value[2][0][0], value[2][0][1]
    if not _scalars(left, right):
        raise NoScalarError("an inequality of what are no numbers")
    if operator.startswith("<"):
        left, right = right, left
    return ("add", left, ("neg", right)), not operator.endswith("=")


def _same_scalar(gold: Value, answer: Value) -> bool:
    infinite = [_infinity(value) for value in (gold, answer)]
    if any(infinite):
        return infinite[0] == infinite[1]
    if _has(gold, "opaque") or _has(answer, "opaque"):
        return gold == answer or same_by_library(gold, answer)
    return equal(gold, answer)


def _infinity(value: Value) -> int:
    if value == ("const", "oo"):
        return 1
    return -_infinity(value[1]) if value[0] == "neg" else 0
