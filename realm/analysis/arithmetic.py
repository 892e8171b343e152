"""Arithmetic that a step states: is `60 / 3 = 20` true? Read by a parser of our own; nothing is ever evaluated as code.

Only chains of sums are read (numbers, + - * / ^, brackets, percent, letters that stand for a number stated before);
whatever is not understood is left alone, so that a step is called false only where it states a sum that is.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MAX_TEXT, _MAX_DEPTH, _MAX_POWER = 5_000, 40, 64

_TOKEN = re.compile(
    r"(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<sign>\*\*|[-+*/^()%])|(?P<equals>=+)|(?P<letter>(?<![\w'])[A-Z](?![\w']))"
    r"|(?P<space>\s+)|(?P<other>.)",
    re.DOTALL,
)
_PLAIN = str.maketrans(
    {"×": "*", "·": "*", "⋅": "*", "÷": "/", "−": "-", "–": "-", "[": "(", "]": ")", "$": " ", "€": " ", "£": " "}
)
_LATEX = (
    (re.compile(r"\\(?:text|textbf|mathrm|mathbf|boxed)\s?\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\\[dtc]?frac\s?\{([^{}]*)\}\s?\{([^{}]*)\}"), r"((\1)/(\2))"),
    (re.compile(r"\^\s?\{([^{}]*)\}"), r"^(\1)"),
    (re.compile(r"\\(?:times|cdot|ast)(?![A-Za-z])"), "*"),
    (re.compile(r"\\div(?![A-Za-z])"), "/"),
    (re.compile(r"\\(?:left|right|quad|qquad)(?![A-Za-z])|\\[,;:! $()\[\]]|&"), " "),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\{,\}"), ","),
)
# The mark of a list's entry, which is no minus and no sign: `- 5 * 3 = 15`.
_ENTRY = re.compile(r"^\s*(?:[-–*•+]|\(?\d{1,2}[.)])\s+")
_BOLD = re.compile(r"(?<![\w)*])\*\*(?=[^\s*])([^*\n]{1,200})\*\*(?![\w*])")
# A unit behind a number and before a sign: `60 meters * 3` or `60 meters/sprint * 3`. At most two words, no verb.
_NO_UNIT = r"(?!(?:is|are|was|were|be|equals?|and|or|so|of|to|by|from|in|at|than|times|plus|minus|mod)\b)"
_UNIT = re.compile(
    rf"(?<=\d)\s*+{_NO_UNIT}[a-z]{{2,15}}(?:/[a-z]{{2,15}})?(?:\s{_NO_UNIT}[a-z]{{2,15}})?(?=\s*+(?:[-+*=]|/\s))"
)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_TIMES = re.compile(r"(?<=[\d)%])\s*+[xX]\s*+(?=[\d(.$])|(?<=[a-z])\s[xX]\s{1,3}(?=\d)")
_PERCENT = re.compile(r"(?<=\d)\s*+per ?cent\b")
_SHARE_OF = re.compile(r"(?:(?<=%)|(?<=/\d)|(?<=\d/\d\d))\s+of\s+(?=[\d(.$A-Z])")
# What makes another number of the one that it stands at, so that this is not the number of a sum: a scale, a unit of
# several, a word before it. A letter written to a number says so.
_FOREIGN = (
    re.compile(r"(?<=\d)[,:](?=\d)"),
    re.compile(r"(?<=\d)\s*+(?:dozen|hundred|thousand|million|billion|trillion)s?\b"),
    re.compile(
        r"(?<=\d)\s?(?P<unit>hour|hr|day|week|year|feet|foot|ft|yard|pound|lb|dollar|minute)s?"
        r"(?:\s(?:and\s)?|,\s|\s?[-+]\s?)(?=\d{1,9}(?:\.\d{1,9})?\s?(?!(?P=unit))"
        r"(?:minute|min|second|hour|day|month|inch|inche|feet|ounce|oz|cent)s?\b)"
    ),
    re.compile(
        r"\b(?:half|thirds?|quarters?|fourths?|fifths?|sixths?|eighths?|tenths?|twice|thrice|double|triple|times|plus"
        r"|minus|mod|modulo|choose|log|ln|sqrt|sin|cos|tan|per|every|\d{1,9}\s[a-z]{2,15}\sof)\s(?:of\s)?(?:the\s)?\s?"
        r"(?=[\d(.])"
    ),
)
_CENTS = re.compile(r"(?<=\d)[\s-]?cents?\b")
_CALCULATOR = re.compile(r"<<[^<>]*>>")

Tokens = list[tuple[str, str]]


@dataclass(frozen=True)
class Equation:
    """Two neighbouring sides of a chain: `left = right`, both of them numbers; `signs` are the operators on the left,
    `operands` its numbers, `value` what it comes to, `result` the value that is stated. Both sides are plain text."""

    true: bool
    signs: str
    operands: tuple[float, ...]
    result: float
    value: float
    left: str
    right: str


class _NotASumError(Exception):
    """The tokens are no sum that is understood."""


class _Reader:
    """Recursive descent over one side of an equation."""

    def __init__(self, tokens: Tokens, known: dict[str, float]) -> None:
        self._tokens, self._known = tokens, known
        self._at = self._depth = 0

    def value(self) -> float:
        found = self._sum()
        if self._at < len(self._tokens):
            raise _NotASumError
        return found

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _sum(self) -> float:
        found = self._product()
        while (sign := self._peek()) in ("+", "-"):
            self._at += 1
            other = self._product()
            found = found + other if sign == "+" else found - other
        return found

    def _product(self) -> float:
        found = self._power()
        while (sign := self._peek()) in ("*", "/"):
            self._at += 1
            other = self._power()
            if sign == "/" and other == 0:
                raise _NotASumError
            found = found * other if sign == "*" else found / other
        return found

    def _power(self) -> float:
        if self._peek() in ("+", "-"):
            sign = self._peek()
            self._at += 1
            self._deeper()
            return -self._power() if sign == "-" else self._power()
        found = self._atom()
        if self._peek() in ("^", "**"):
            self._at += 1
            self._deeper()
            exponent = self._power()
            if abs(exponent) > _MAX_POWER or found <= 0:
                raise _NotASumError
            found **= exponent
        if abs(found) > 1e15:
            raise _NotASumError
        return found

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _NotASumError

    def _atom(self) -> float:
        kind, text = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        self._at += 1
        if kind == "number" and len(text) <= 16:
            found = float(text)
        elif kind == "letter" and text in self._known:
            found = self._known[text]
        elif text == "(":
            self._deeper()
            found = self._sum()
            if self._peek() != ")":
                raise _NotASumError
            self._at += 1
        else:
            raise _NotASumError
        if self._peek() == "%":
            self._at += 1
            found /= 100
        return found


def _readable(text: str) -> str:
    """The text with its sums in plain signs, and a letter at numbers that are none of a sum."""
    text = _ENTRY.sub("", _CALCULATOR.sub("", text[:_MAX_TEXT]))
    # Beside dollars, cents are hundredths.
    text = _CENTS.sub("w", text) if "$" in text or "dollar" in text else text
    if "\\" in text or "{" in text:
        for _ in range(3):
            for pattern, plain in _LATEX:
                text = pattern.sub(plain, text)
    text = _PERCENT.sub("%", _THOUSANDS.sub("", _BOLD.sub(r" \1 ", text).translate(_PLAIN)))
    for pattern in _FOREIGN:
        text = pattern.sub("w", text)
    return _SHARE_OF.sub("*", _UNIT.sub(" ", _TIMES.sub("*", text)))


def _runs(text: str) -> Iterator[list[Tokens]]:
    """The chains of a text: stretches without a foreign word, as the token lists of their sides."""
    sides: list[Tokens] = [[]]
    before, touched, torn = "space", False, False
    for match in _TOKEN.finditer(_readable(text)):
        kind = match.lastgroup or "other"
        if kind == "other":
            # `3y` is no 3: what touches a word is not the number that it seems to be.
            if match[0].isalpha() and before != "space":
                sides[-1].append(("other", match[0]))
            if len(sides) > 1:
                yield sides
            # `Tom's 5 + Ann's 3 = 8`: the sum goes on behind the word, which 3 does not begin.
            torn = (torn or _goes_on(sides[-1])) and match[0] not in ".,;:?!"
            # An operator behind a word has lost its left operand: `y + 3 = 13`, `4! + 3 = 27`.
            touched = match[0].isalnum()
            sides = [[("lost", "")] if touched or match[0] in "}!|'\"°²³" else []]
        elif kind == "equals":
            sides.append([])
            torn = False
        elif kind != "space":
            # `of 5 = 5` begins anew with its number; `y + 3`, `y3` and `f(3)` do not.
            begins = kind in ("number", "letter") or match[0] == "("
            if sides[-1] == [("lost", "")] and begins and not torn and not (touched and before == "other"):
                sides[-1] = []
            sides[-1].append((kind, match[0]))
        before = kind
    if len(sides) > 1:
        yield sides


def _goes_on(side: Tokens) -> bool:
    """Whether a side of a sum ends in a sign, so that what follows is its operand."""
    return len(side) > 1 and side[-1][1] in ("+", "*") and (side[-2][0] in ("number", "letter") or side[-2][1] in ")%")


def _plain(side: Tokens) -> str:
    return re.sub(r"(?<=\() | (?=[)%])", "", " ".join(token for _, token in side))


def _value(side: Tokens, known: dict[str, float]) -> float | None:
    try:
        return _Reader(side, known).value()
    except (_NotASumError, OverflowError, RecursionError):
        return None


def _equal(left: float, right: float, side: Tokens, tokens: set[str]) -> bool:
    """Equal, or equal once rounded as the right side is written; percentages may be written either way.

    `tokens`: of both sides.
    """
    percent, quotient = "%" in tokens, not tokens.isdisjoint("/%")
    decimals = len(side[-1][1].partition(".")[2]) if len(side) == 1 and side[-1][0] == "number" else 0
    slack = max(1e-6 * abs(left), 0.51 * 10.0**-decimals if decimals else 1e-9)
    if quotient or any("." in token for token in tokens):
        # A quotient may be cut or filled up to a whole number, and what was rounded before may be carried on.
        slack = max(slack, 0.01 * abs(left), 0.0 if decimals else 0.999 if quotient else 0.51)
    return any(abs(scale * left - right) <= scale * slack for scale in ((1.0, 100.0, 0.01) if percent else (1.0,)))


def _takes_a_share(side: Tokens) -> bool:
    """Whether a percentage is added to what is none, `100 - 30%`: of what, is not said."""
    tokens = ["(", *(token for _, token in side), ")"]
    alone = any(
        tokens[at] == "%" and tokens[at + 1] in "+-()" and tokens[at - 2] in "+-()" for at in range(2, len(side) + 1)
    )
    return alone and len(side) > 2 and tokens.count("%") < sum(kind in ("number", "letter") for kind, _ in side)


def equations(text: str, known: dict[str, float] | None = None) -> list[Equation]:
    """The sums that a text states, in order. `known` holds the letters stated so far and is added to (`A = 2 * 3 = 6`).

    Rounding is forgiven where a quotient, a fraction or a percentage is at hand, and so is the running on of a chain
    (`2 * 3 = 6 * 2 = 12`). Linear in the text, of which the first 5 000 characters are read.
    """
    known = {} if known is None else known
    found = []
    for sides in _runs(text):
        values = [_value(side, known) for side in sides]
        for at in range(1, len(sides)):
            left, right = values[at - 1], values[at]
            if left is None or right is None or (len(sides[at - 1]) == 1 == len(sides[at]) and at > 1):
                continue
            signs = "".join(
                token
                for place, (kind, token) in enumerate(sides[at - 1])
                if kind == "sign"
                and token not in "()%"
                and place
                and sides[at - 1][place - 1][1] not in ("(", *"+-*/^")
            )
            if not signs and sides[at - 1][0][0] != "letter":
                continue
            both = sides[at - 1] + sides[at]
            true = _equal(left, right, sides[at], {token for _, token in both})
            if not true and sides[at][0][0] == "number":
                true = len(sides[at]) > 1 and float(sides[at][0][1]) == left
            if not true and any(map(_takes_a_share, (sides[at - 1], sides[at]))):
                continue
            operands = tuple(float(token) for kind, token in sides[at - 1] if kind == "number")
            texts = _plain(sides[at - 1]), _plain(sides[at])
            found.append(Equation(true, signs, operands, right, left, *texts))
        last = next((value for value in reversed(values) if value is not None), None)
        if sides[0] and len(sides[0]) == 1 and sides[0][0][0] == "letter" and last is not None:
            known[sides[0][0][1]] = last
    return found


_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w]|\.\d)")


def numbers(text: str) -> list[float]:
    """The plain numbers of a text, thousands commas and currency signs aside."""
    found = _NUMBER.findall(_THOUSANDS.sub("", text[:_MAX_TEXT]))
    return [float(number) for number in found if len(number) <= 16]
