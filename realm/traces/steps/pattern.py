"""`pattern`: traces whose thinking has what `must` says and not what `never` says (filter of SERT, arXiv 2502.12744).

Both are regular expressions; an empty one asks for nothing.

SERT filters what a small model writes unasked, before it learns from it, by pattern, length, repetition and perplexity.
Its patterns and thresholds are not established: those of the four steps are ours to set. With a `prompt.system` that
asks for a scaffold this one keeps what keeps to it.
"""

import re
from collections.abc import Iterable, Sequence

from realm.traces.base import Given, Trace

NOTHING = re.compile("")


def pattern(
    traces: Sequence[Trace], given: Given, *, must: re.Pattern[str] = NOTHING, never: re.Pattern[str] = NOTHING
) -> Iterable[Trace]:
    for trace in traces:
        if must.search(trace.cot.text) and not (never.pattern and never.search(trace.cot.text)):
            yield trace
