"""Words that the grammar of formulas knows, from `words.toml`; units are in `units.py`."""

import tomllib
from pathlib import Path


class NoValueError(ValueError):
    """The text is not one value."""


def words(text: str) -> list[str]:
    """The words of a text: a list of words reads better as one."""
    return text.split()


_DATA = tomllib.loads((Path(__file__).parent / "words.toml").read_text(encoding="utf-8"))
NO_NOUNS = frozenset(words(_DATA["no_nouns"]))
SMALL_WORDS = NO_NOUNS.union(words(_DATA["small"]))
BEHIND_UNITS = frozenset(words(_DATA["behind_units"]))
BASES = {name: base for base, name in enumerate(words(_DATA["bases"]), 2)}
MONTHS = words(_DATA["months"])
