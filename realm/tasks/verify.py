"""Verifiers: V(answer, gold) decides whether an answer is right, for the training reward and for evaluation alike.

Each reads the answer as a whole and as one value: an answer that holds several candidates is unreadable, an empty one
never verifies, and nothing is searched for inside longer text. Model text is hostile: sizes are limited before any
number is built, nothing is evaluated, and the verifiers that rest on a parser (`math`, `python`) are meant to run in
the killable processes of `workers.VerifierPool`.
"""

import ast
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from realm.display import printable
from realm.errors import ConfigError
from realm.plugins import take
from realm.tasks.choices import Choice
from realm.tasks.formulas import Math
from realm.tasks.numbers import Number
from realm.tasks.reading import UnreadableError as UnreadableError
from realm.tasks.reading import UnreadableGoldError as UnreadableGoldError
from realm.tasks.reading import reading_gold as reading_gold
from realm.tasks.reading import words

#: Verifiers that take linear time on any text, so that no process needs to guard them.
INLINE = ("exact", "number", "choice", "desk")


#: Reasons of a `Verdict` where nothing was compared, because answer or gold is no value of the verifier's kind.
UNREADABLE, UNREADABLE_GOLD = "unreadable", "unreadable gold"
#: Of `task.verifier` by kinds of questions: the one for all others.
DEFAULT = "default"


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


@dataclass(frozen=True)
class ByKind:
    """A verifier for each kind of question; its name says which. Where the kind is not told it is the default one."""

    name: str
    verifiers: Mapping[str, Verifier]
    choices: tuple[str, ...]

    def __call__(self, answer: str, gold: str, question: str = "") -> bool:
        return self.verifiers[DEFAULT](answer, gold, question)

    def key(self, answer: str) -> str:
        return self.verifiers[DEFAULT].key(answer)


def of_kind(verifier: Verifier, kind: str) -> Verifier:
    """The verifier of the questions of a kind."""
    if not isinstance(verifier, ByKind):
        return verifier
    return verifier.verifiers.get(kind, verifier.verifiers[DEFAULT])


def judge(verifier: Verifier, answer: str | None, gold: str, question: str = "", kind: str = "") -> Verdict:
    """Apply a verifier in this process; whatever it raises becomes the reason of a negative verdict."""
    if answer is None or not answer.strip():
        return Verdict(False, UNREADABLE)
    try:
        return Verdict(bool(of_kind(verifier, kind)(answer, gold, question)))
    except UnreadableGoldError:
        return Verdict(False, UNREADABLE_GOLD)
    except UnreadableError:
        return Verdict(False, UNREADABLE)
    except Exception as error:
        return Verdict(False, f"error: {type(error).__name__}: {error}"[:200])


_QUOTES = (('"', '"'), ("'", "'"), ("`", "`"), ("“", "”"), ("‘", "’"), ("«", "»"), ("**", "**"))
#: Behind a word, or what closes one; `).` may be an answer of brackets and a point.
_CLOSING = re.compile(r"""(?<=[\w"'`”’»*%])[.,;!]$""")
_INVISIBLE = re.compile("[\u200b-\u200d\u2060\ufeff\u00ad]")


@dataclass(frozen=True)
class Exact:
    """Equal text; white space, case, quotes around it and one closing point, comma or exclamation mark aside."""

    name: str = "exact"

    def __call__(self, answer: str, gold: str, question: str = "") -> bool:
        return self.key(answer) == reading_gold(self.key, gold)

    def key(self, answer: str) -> str:
        text = words(_INVISIBLE.sub("", unicodedata.normalize("NFC", answer))).lower()
        text = _CLOSING.sub("", text)
        for opening, closing in _QUOTES:
            inner = text[len(opening) : len(text) - len(closing)]
            if text == f"{opening}{inner}{closing}" and inner.strip() and opening not in inner:
                text = _CLOSING.sub("", inner)
        return text.strip()


_MAX_LITERAL_TEXT = 10_000
_FENCE = re.compile(r"```(?:python|py|json)?\s*\n(.*)\n\s*```", re.DOTALL | re.IGNORECASE)
_LITERAL_FRAMES = ((r"\boxed{", "}"), ("$$", "$$"), ("$", "$"), ("**", "**"), ("`", "`"))
#: JSON's names of three values, outside of quotes.
_JSON_NAMES = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|\b(true|false|null)\b""", re.DOTALL)
_QUOTED = re.compile(r"""\"([^\"'\\]+)\"|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|\s+""", re.DOTALL)
_JSON_VALUES = {"true": "True", "false": "False", "null": "None"}
#: `1,000` is one thousand to who wrote it, and the tuple (1, 0) to Python.
_GROUPED = re.compile(r"(?<![\w.])0\d")


def _literal(text: str) -> str:
    """The one literal that a text consists of, without a code block, mark-up or the full stop around it."""
    text = text.strip()
    fenced = _FENCE.fullmatch(text)
    if fenced:
        return fenced[1].strip()
    for opening, closing in _LITERAL_FRAMES:
        inner = text[len(opening) : len(text) - len(closing)]
        if text == f"{opening}{inner}{closing}" and opening not in inner:
            text = inner.strip()
    if text[-2:-1] in ("]", ")", "}", "'", '"'):
        text = text.removesuffix(".")
    for opening, closing in ("‘’", "“”"):
        if text[:1] == opening and text[-1:] == closing and "'" not in text:
            text = f"'{text[1:-1]}'"
    return text


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

    `1` equals `1.0`, but `True` is not `1` and a tuple is no list; JSON's `true`, `false` and `null` are read too.
    Deeply nested text can exhaust the parser, which is why this one runs in a process.
    """

    name: str = "python"

    def __call__(self, answer: str, gold: str, question: str = "") -> bool:
        return bool(self._read(answer) == reading_gold(self._read, gold))

    def key(self, answer: str) -> str:
        # White space outside of quotes, and which quotes, say nothing.
        return _QUOTED.sub(lambda found: f"'{found[1]}'" if found[1] else found[2] or "", _literal(words(answer)))

    @staticmethod
    def _read(text: str) -> Any:
        if len(text) > _MAX_LITERAL_TEXT:
            raise UnreadableError("too long")
        text = _JSON_NAMES.sub(lambda found: found[1] or _JSON_VALUES[found[2]], _literal(text))
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise UnreadableError("not a literal") from error
        if not isinstance(value, str | bytes) and _GROUPED.search(_JSON_NAMES.sub("", text)):
            raise UnreadableError("a number in groups of digits, or several")
        return _canonical(value)


#: The verifiers of this package, made of `task.choices`, which one of them needs.
VERIFIERS: dict[str, Callable[[Sequence[str]], Verifier]] = {
    "exact": lambda choices: Exact(),
    "number": lambda choices: Number(),
    "choice": lambda choices: Choice(tuple(choices)),
    "math": lambda choices: Math(),
    "python": lambda choices: Python(),
    "desk": lambda choices: Exact("desk"),
}


def names(name: str) -> dict[str, str]:
    """What the name of a verifier names: one for each kind of question where it is a mapping as JSON, else itself.

    Raises `ConfigError` for what begins like a mapping and is none, or has no default.
    """
    if not name.startswith("{"):
        return {DEFAULT: name}
    try:
        found = json.loads(name)
    except (ValueError, RecursionError):
        found = {}
    if not (DEFAULT in found and all(isinstance(one, str) for one in found.values())):
        raise ConfigError(f"task.verifier: expected a name by kind of question, {DEFAULT} among them, found {name!r}.")
    return {str(kind): one for kind, one in found.items()}


def choices_of(name: str, choices: Sequence[str]) -> list[str]:
    """The choices, where the verifier of that name, or of a kind, is `choice`; else none."""
    return list(choices) if "choice" in names(name).values() else []


def verifier(name: str, choices: Sequence[str] = ()) -> Verifier:
    """The verifier of that name (see `realm.plugins`, `names`), made of the choices.

    One of another package is asked for by its own `name` in the processes of `workers.VerifierPool`.

    Raises `ConfigError` for a name that is none, or for choices that cannot be told apart.
    """
    if name.startswith("{"):
        found = {
            kind: take("verifiers", one, f"task.verifier.{printable(kind)}")(choices)
            for kind, one in names(name).items()
        }
        return ByKind(name, found, tuple(choices))
    make: Callable[[Sequence[str]], Verifier] = take("verifiers", name)
    return make(choices)
