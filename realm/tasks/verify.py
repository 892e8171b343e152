"""Verifiers: V(answer, gold) decides whether an answer is right, for the training reward and for evaluation alike.

Each reads the answer as a whole and as one value: an answer that holds several candidates is unreadable, an empty one
never verifies, and nothing is searched for inside longer text. Model text is hostile: sizes are limited before any
number is built, nothing is evaluated, and the verifiers that rest on a parser (`math`, `python`) are meant to run in
the killable processes of `workers.VerifierPool`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, TypeVar

from realm.errors import ConfigError

#: Verifiers that take linear time on any text, so that no process needs to guard them.
INLINE = ("exact", "number", "choice", "desk")


#: Reasons of a `Verdict` where nothing was compared, because answer or gold is no value of the verifier's kind.
UNREADABLE, UNREADABLE_GOLD = "unreadable", "unreadable gold"


class UnreadableError(ValueError):
    """The answer is not one value of the kind that the verifier compares."""


class UnreadableGoldError(UnreadableError):
    """The gold is not one value of the kind that the verifier compares: no answer can be right or wrong."""


class Verifier(Protocol):
    """V(answer, gold): True exactly where the answer is right."""

    @property
    def name(self) -> str: ...

    def __call__(self, answer: str, gold: str, question: str = "") -> bool:
        """`question`: its text, whose nouns an answer may use.

        May raise: `UnreadableError` for an answer that is no value, `UnreadableGoldError` for such a gold, anything
        else from the library underneath.
        """
        ...

    def key(self, answer: str) -> str:
        """A text that is the same for answers that read alike, by which answers are counted; cheap, never a parser's.

        Raises `UnreadableError` for what is no value, as far as that is known cheaply.
        """
        ...


@dataclass(frozen=True)
class Verdict:
    """A verifier's answer about one pair. `reason` tells why there was no comparison; it is empty where there was one:
    `UNREADABLE`, `UNREADABLE_GOLD`, `timeout`, or `error: …`."""

    correct: bool
    reason: str = ""

    @property
    def failed(self) -> bool:
        """Whether the verifier itself gave up (`timeout`, `error: …`), which says nothing about the answer."""
        return self.reason not in ("", UNREADABLE, UNREADABLE_GOLD)


def judge(verifier: Verifier, answer: str | None, gold: str, question: str = "") -> Verdict:
    """Apply a verifier in this process; whatever it raises becomes the reason of a negative verdict."""
    if answer is None or not answer.strip():
        return Verdict(False, UNREADABLE)
    try:
        return Verdict(bool(verifier(answer, gold, question)))
    except UnreadableGoldError:
        return Verdict(False, UNREADABLE_GOLD)
    except UnreadableError:
        return Verdict(False, UNREADABLE)
    except Exception as error:
        return Verdict(False, f"error: {type(error).__name__}: {error}"[:200])


_Value = TypeVar("_Value")


def reading_gold(read: Callable[[str], _Value], gold: str) -> _Value:
    """`read(gold)`; what it cannot read raises `UnreadableGoldError`."""
    try:
        return read(gold)
    except UnreadableError as error:
        raise UnreadableGoldError(str(error)) from error


def _words(text: str) -> str:
    """The text with its white space collapsed; raises where nothing is left."""
    found = " ".join(text.split())
    if not found:
        raise UnreadableError("no text")
    return found


@dataclass(frozen=True)
class Exact:
    """Equal text, white space aside."""

    name: str = "exact"

    def __call__(self, answer: str, gold: str, question: str = "") -> bool:
        return self.key(answer) == reading_gold(self.key, gold)

    def key(self, answer: str) -> str:
        return _words(answer)


@dataclass(frozen=True)
class Desk:
    """Equal text, white space, case and one final full stop aside."""

    name: str = "desk"

    def __call__(self, answer: str, gold: str, question: str = "") -> bool:
        return self.key(answer) == reading_gold(self.key, gold)

    def key(self, answer: str) -> str:
        return _words(_words(answer).casefold().removesuffix("."))


#: What may stand around a choice: brackets, quotes, emphasis and final punctuation, as in `(B)`, `**B**` or `B.`
_AROUND_CHOICE = " \t\r\n.,;:()[]{}*_`'\"$"


def _choice_key(text: str) -> str:
    return " ".join(text.split()).casefold().strip(_AROUND_CHOICE)


@dataclass(frozen=True)
class Choice:
    """The same one of the allowed answers, in any case and with brackets, quotes or punctuation around it."""

    choices: tuple[str, ...]
    name: str = "choice"

    def __post_init__(self) -> None:
        keys = [_choice_key(choice) for choice in self.choices]
        if len(keys) < 2 or "" in keys or len(set(keys)) < len(keys):
            raise ConfigError(
                "task.choices: expected two or more answers that differ by more than case, brackets and punctuation, "
                f"found {list(self.choices)}."
            )

    def __call__(self, answer: str, gold: str, question: str = "") -> bool:
        return self.key(answer) == reading_gold(self.key, gold)

    def key(self, answer: str) -> str:
        """The choice that the answer names, as it is spelled in `choices`; raises `UnreadableError` for none."""
        key = _choice_key(answer)
        for choice in self.choices:
            if key == _choice_key(choice):
                return choice
        raise UnreadableError("none of the choices")


_MAX_NUMBER_TEXT = 200
_SIGNS = str.maketrans(dict.fromkeys("−–‒﹣－", "-") | {"＋": "+"})
_NUMBER = re.compile(
    r"(?P<sign>(?<!\w)[+-]\s?)?(?:(?P<currency>[$€£¥₹])\s?(?P<inner>[+-])?)?"
    r"(?P<whole>\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?P<part>\.\d+)?"
    r"(?:[eE](?P<exponent>[+-]?\d{1,3})(?!\d)|/(?P<below>\d+))?",
    re.ASCII,
)
#: Words that make another number of the one that stands beside them, that negate it, or that leave it open.
_CHANGES_NUMBER = frozenset(
    """
    minus negative plus times squared cubed sqrt frac root log ln exp sin cos tan
    double twice triple thrice half halve
    less more least most than below above under over fewer about around approximately roughly between
    pi π e k bn mn not never
    hundred hundreds thousand thousands million millions billion billions trillion trillions dozen dozens
    zero two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety
    """.split()  # noqa: SIM905 (a list of words reads better as words)
)
_PLAIN_PUNCTUATION = frozenset(" .,;:'’\"?()[]{}\\$€£¥₹%°/=_`")


def read_number(text: str) -> Fraction:
    """The one number in a short text, exactly: `18`, `$1,234.50`, `-3/4`, `1e3`, `18 dollars`, `x = 18`, `18%` (= 18).

    Around the number only words and plain punctuation may stand, none of which may be a number, an operator, a scale
    (`million`), a comparison (`less than`, `about`) or a negation itself; so an answer cannot hedge, and a calculation
    that was not carried out (`36/2`, `9 * 2`) is no number. A percent sign and a currency are units and do not change
    the value.

    Raises `UnreadableError` for anything else, for more than 200 characters and for exponents above 999: exact
    arithmetic on longer numbers could be made to take for ever.
    """
    text = _words(text) if len(text) <= _MAX_NUMBER_TEXT else ""
    text = text.translate(_SIGNS).strip("*_ ")
    first = next((match for match in _NUMBER.finditer(text) if match["whole"] or match["part"]), None)
    if first is None:
        raise UnreadableError("no number")
    before, after = text[: first.start()], text[first.end() :]
    _check_rest(before, after)
    if before.endswith((".", ",")) or (before[-1:].isalpha() and not first["currency"]) or re.match(r"[.,]\S", after):
        raise UnreadableError("a part of something longer")
    if first["sign"] and first["inner"]:
        raise UnreadableError("two signs")
    value = Fraction((first["whole"] or "0").replace(",", "") + (first["part"] or ""))
    if first["below"]:
        if int(first["below"]) == 0 or (value / int(first["below"])).denominator == 1:
            raise UnreadableError("a division that was not carried out")
        value /= int(first["below"])
    value *= Fraction(10) ** int(first["exponent"] or 0)
    return -value if "-" in (first["sign"] or "") + (first["inner"] or "") else value


def _check_rest(before: str, after: str) -> None:
    """Raise unless what stands before and behind a number leaves its value alone."""
    for rest in (before.casefold(), after.casefold()):
        for at, sign in enumerate(rest):
            hyphen = sign == "-" and rest[at - 1 : at].isalpha() and rest[at + 1 : at + 2].isalpha()
            letter = sign.isalpha() and not sign.isnumeric()
            if not (letter or hyphen or sign in _PLAIN_PUNCTUATION):
                raise UnreadableError("more than a number")
        if not _CHANGES_NUMBER.isdisjoint(re.split(r"[\W_]+", rest)) or "n't" in rest or "n’t" in rest:
            raise UnreadableError("a word that changes the number")


@dataclass(frozen=True)
class Number:
    """Equal numbers, compared exactly (no rounding); see `read_number` for what is one."""

    name: str = "number"

    def __call__(self, answer: str, gold: str, question: str = "") -> bool:
        return read_number(answer) == reading_gold(read_number, gold)

    def key(self, answer: str) -> str:
        return str(read_number(answer))


_MAX_LITERAL_TEXT = 10_000


def _canonical(value: Any) -> Any:
    """A hashable form that is equal for equal values of the same type, where int, float and complex are one type."""
    if isinstance(value, bool | str | bytes) or value is None or value is ...:
        return (type(value).__name__, value)
    if isinstance(value, int | float | complex):
        return ("number", value)
    if isinstance(value, dict):
        return ("dict", frozenset((_canonical(key), _canonical(item)) for key, item in value.items()))
    if isinstance(value, set):
        return ("set", frozenset(_canonical(item) for item in value))
    return (type(value).__name__, tuple(_canonical(item) for item in value))


@dataclass(frozen=True)
class Python:
    """Equal Python literals by value, read with `ast.literal_eval`: nothing is called or evaluated.

    `1` equals `1.0`, but `True` is not `1` and a tuple is no list. Deeply nested text can exhaust the parser, which
    is why this one runs in a process.
    """

    name: str = "python"

    def __call__(self, answer: str, gold: str, question: str = "") -> bool:
        return bool(self._read(answer) == reading_gold(self._read, gold))

    def key(self, answer: str) -> str:
        return _words(answer)

    @staticmethod
    def _read(text: str) -> Any:
        if len(text) > _MAX_LITERAL_TEXT:
            raise UnreadableError("too long")
        try:
            return _canonical(ast.literal_eval(text.strip()))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise UnreadableError("not a literal") from error


def verifier(name: str, choices: Sequence[str] = ()) -> Verifier:
    """The verifier of that name: exact, number, choice (needs `choices`), math, python, desk.

    Raises `ConfigError` for another name, or for choices that cannot be told apart.
    """
    if name == "choice":
        return Choice(tuple(choices))
    if name == "math":
        # Here, because it rests on this module.
        from realm.tasks.formulas import Math

        return Math()
    plain: dict[str, type[Exact | Number | Python | Desk]] = {
        "exact": Exact, "number": Number, "python": Python, "desk": Desk,
    }  # fmt: skip
    if name not in plain:
        raise ConfigError(f"unknown verifier {name!r}; expected one of choice, {', '.join(plain)}, math.")
    return plain[name]()
