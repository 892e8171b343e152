"""`length`: traces whose completion has `least` to `most` tokens (filter of SERT, see `pattern`).

Those of the tags, the answer and the end count too; `most` 0 is no bound.
"""

from collections.abc import Iterable, Sequence

from pydantic import NonNegativeInt

from realm.traces.base import Given, Trace
from realm.traces.examples import lengths


def length(
    traces: Sequence[Trace], given: Given, *, least: NonNegativeInt = 0, most: NonNegativeInt = 0
) -> Iterable[Trace]:
    for trace, tokens in zip(traces, lengths(traces, given), strict=True):
        if least <= tokens <= (most or tokens):
            yield trace
