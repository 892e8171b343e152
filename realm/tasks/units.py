"""Units, currencies and counted things that may stand beside a number, and words that change it, from `units.toml`.

A unit is a product of base dimensions and a factor, so that 5 km equals 5000 m and no hour equals a minute.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Container
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from realm.formula import units as formula

_DATA = tomllib.loads((Path(__file__).parent / "units.toml").read_text(encoding="utf-8"))
#: Words by which a number is multiplied: those of formulas, and what prose and other languages have besides.
SCALES: dict[str, int] = formula.SCALES | _DATA["scales"]
LETTER_SCALES: dict[str, int] = _DATA["letter_scales"]
#: Words that negate a number, leave it open, or make another one of it.
CHANGES = frozenset(_DATA["changes"].split()).union(SCALES)
#: Things that word problems count.
COUNTED = frozenset(_DATA["counted"].split())

_SI = {"k": 3, "c": -2, "m": -3, "d": -1, "µ": -6, "μ": -6, "n": -9, "M": 6, "G": 9}
_WRITTEN_OUT = {"": 0, "kilo": 3, "centi": -2, "milli": -3, "deci": -1, "micro": -6}


def _table() -> dict[str, tuple[str, Fraction]]:
    """Unit as it is written -> its base dimension and its factor. Symbols keep their case, names have none."""
    found: dict[str, tuple[str, Fraction]] = {}
    for symbol, dimension, factor, prefixes in _DATA["prefixed"]:
        found[symbol] = dimension, Fraction(factor)
        for prefix in prefixes:
            found[prefix + symbol] = dimension, Fraction(factor) * Fraction(10) ** _SI[prefix]
    for stem, dimension in _DATA["stems"]:
        for prefix, power in _WRITTEN_OUT.items():
            found |= dict.fromkeys((f"{prefix}{stem}", f"{prefix}{stem}s"), (dimension, Fraction(10) ** power))
    for dimension, factor, names in _DATA["units"]:
        found |= dict.fromkeys(names.split(), (dimension, Fraction(factor)))
    return found


UNITS = _table()
CURRENCIES = frozenset("$€£¥₹")
_FOLDED = {name.casefold(): name for name in UNITS if len(name) > 2}
_ANY_CASE = frozenset(name.casefold() for name in UNITS)
_QUOTIENTS: dict[str, str] = _DATA["quotients"]
_STATED = frozenset(_DATA["stated"].split())


@dataclass(frozen=True)
class Unit:
    """A unit: `dimension` as sorted (base, power) pairs, the factor to its bases, and whether it may be left out."""

    dimension: tuple[tuple[str, int], ...]
    factor: Fraction
    optional: bool = True

    def __mul__(self, other: Unit) -> Unit:
        return _combined(self, other, 1)

    def __truediv__(self, other: Unit) -> Unit:
        return _combined(self, other, -1)

    def __pow__(self, power: int) -> Unit:
        dimension = tuple((base, power * exponent) for base, exponent in self.dimension)
        return Unit(dimension, self.factor**power, self.optional)


def _combined(one: Unit, other: Unit, sign: int) -> Unit:
    powers = dict(one.dimension)
    for base, exponent in other.dimension:
        powers[base] = powers.get(base, 0) + sign * exponent
    dimension = tuple(sorted((base, exponent) for base, exponent in powers.items() if exponent))
    return Unit(dimension, one.factor * other.factor**sign, one.optional and other.optional)


def singular(noun: str) -> str:
    """A noun without its plural ending, roughly; the same form for `apple` and `apples`."""
    if noun.endswith("ies") and len(noun) > 4:
        return noun[:-3] + "y"
    if noun.endswith(("ches", "shes", "sses", "xes", "zes")):
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") and not noun.endswith(("ss", "us", "is")) else noun


def known_unit(word: str) -> Unit | None:
    """The unit that a word or sign names: symbols in their own case, names in any."""
    above, _, below = _QUOTIENTS.get(word.casefold(), "").partition("/")
    if below:
        return Unit(((UNITS[above][0], 1),), UNITS[above][1]) / Unit(((UNITS[below][0], 1),), UNITS[below][1])
    name = word if word in UNITS else _FOLDED.get(word.casefold())
    if name is None:
        return None
    base, factor = UNITS[name]
    return Unit(((base, 1),), factor, name not in _STATED)


def counted(word: str, others: Container[str] = ()) -> bool:
    """Whether a word may be what a number counts. `others`: words of the question and the gold, in lower case."""
    word = word.casefold()
    if len(word) == 1 and word.isascii():
        return False
    if word in CHANGES:
        return word in others
    # A unit in another case is another unit, and no noun.
    return word not in _ANY_CASE and any(form in COUNTED or form in others for form in (word, singular(word)))


_HOW_MANY = re.compile(r"\bhow (?:many|much) (more|fewer|less|times)\b")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


_ASKED = re.compile(r"\b(?:how many|how much|in|nearest|number of) (?:\w+ ){0,2}?(" + "|".join(SCALES) + r")\b")


@lru_cache(maxsize=4096)
def asked_scales(question: str) -> frozenset[int]:
    """The scales in which a question wants its answer: 12 of "How many dozen eggs …?"."""
    return frozenset(SCALES[name] for name in _ASKED.findall(question[:20_000].casefold()))


@lru_cache(maxsize=4096)
def vocabulary(text: str) -> frozenset[str]:
    """The words of a question or a gold that may stand beside a number: in lower case, singular too, none that changes
    it. A question for how many more (or fewer, less, times) lets an answer say so."""
    text = text[:20_000].casefold()
    words = {word.replace("’", "'") for word in _WORD.findall(text)}
    words = {word for word in words if word not in CHANGES and not word.endswith("n't")}
    words.update(_HOW_MANY.findall(text))
    return frozenset(words | {singular(word) for word in words})
