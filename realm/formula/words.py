"""Words that the grammar of formulas knows; units are in `units.py`."""

from __future__ import annotations


class NoValueError(ValueError):
    """The text is not one value."""


def words(text: str) -> list[str]:
    """The words of a text: a list of words reads better as one."""
    return text.split()


# Words that hedge, negate, compare or count: none is a noun that may stand behind a number, or a name before a sign.
NO_NOUNS = frozenset(
    words("""
    not no never isn't cannot can't nor neither none without except unless
    about around approximately approx roughly nearly almost circa maybe perhaps possibly probably likely say
    less more least most fewer under over above below between beyond up down than at or and to from until
    plus minus times divided by squared cubed cube square half halves third thirds quarter quarters double twice triple
    factorial percent per sqrt root mod modulo base power
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion trillion
    dozen score pair pairs k x e i mn bn mio mrd
    if when where then but because since for all any some each every only also either both instead
    """)
)
SMALL_WORDS = NO_NOUNS | frozenset(
    words("so the is was are of on off in out an as be it its his her we you he she yes ok odd even")
)
BEHIND_UNITS = frozenset(words("old long tall wide high deep apart away total altogether"))
BASES = {
    name: base
    for base, name in enumerate(
        words("two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"),
        2,
    )
}
MONTHS = words("january february march april may june july august september october november december")
