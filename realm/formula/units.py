"""Units, currencies and scales that may stand behind (or before) a number in an answer, from `units.toml`."""

import tomllib
from pathlib import Path

#: A unit as sorted (name, exponent) pairs: m/s² is (("m", 1), ("s", -2)).
Unit = tuple[tuple[str, int], ...]

_DATA = tomllib.loads((Path(__file__).parent / "units.toml").read_text(encoding="utf-8"))
SCALES: dict[str, int] = _DATA["scales"]
CURRENCIES: dict[str, str] = _DATA["currencies"]
STICKY = frozenset(_DATA["sticky"].split())
_PREFIXES: dict[str, str] = _DATA["prefixes"]
_PREFIXED: frozenset[str] = frozenset(_DATA["prefixed"].split())


def _lexicon() -> dict[str, str]:
    known: dict[str, str] = {}
    for line in _DATA["named"].split("\n"):
        first, *others = line.split() or [""]
        for name in filter(None, (first, *others)):
            for spelling in (name, name + "s") if len(name) > 2 and name.isalpha() else (name,):
                known[spelling] = first
                if first in _PREFIXED and len(name) > 3:
                    known |= {long + spelling.lower(): long + first for long in _PREFIXES.values()}
    for symbol in _DATA["symbols"].split():
        rest = known.get(symbol[1:])
        known[symbol] = _PREFIXES[symbol[0]] + rest if rest in _PREFIXED and symbol[0] in _PREFIXES else symbol
    return known


_KNOWN = _lexicon()
_WORDS = {name.casefold(): unit for name, unit in _KNOWN.items() if len(name) > 3}


def unit_named(word: str) -> str | None:
    """The unit that a word or symbol names (`cm`, `Hours`), None for none. Symbols of up to three letters mind case."""
    return _KNOWN.get(word) or (_WORDS.get(word.casefold()) if len(word) > 3 else None)
