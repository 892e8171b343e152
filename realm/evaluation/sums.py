"""True sums: of the equations that completions state, how many are true; in all, and by operator.

`realm.analysis.arithmetic` says what an equation is, and when it is true.
"""

from collections.abc import Iterable, Mapping

from realm.analysis.arithmetic import Equation
from realm.analysis.steps import stated_sums

#: (true ones, all) of equations, by operator: `ALL` of them, which is always there, each sign alone, `MIXED` signs.
Tally = Mapping[str, tuple[int, int]]
ALL, MIXED = "all", "mixed"


def tally(texts: Iterable[str]) -> Tally:
    """The equations that texts state."""
    stated = (one for text in texts for one in stated_sums(text))
    return together({name: (int(one.true), 1) for name in (ALL, *_operator(one))} for one in stated)


def _operator(one: Equation) -> list[str]:
    """The sign on its left side; none where a letter alone stands there."""
    signs = set(one.signs.replace("**", "^"))
    return [MIXED] if len(signs) > 1 else [*signs]


def together(each: Iterable[Tally]) -> dict[str, tuple[int, int]]:
    """Several of them as one."""
    found = {ALL: (0, 0)}
    for name, (true, stated) in (item for one in each for item in one.items()):
        before = found.get(name, (0, 0))
        found[name] = before[0] + true, before[1] + stated
    return found
