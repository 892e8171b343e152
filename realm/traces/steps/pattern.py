"""`pattern`: traces whose thinking has what `must` says and not what `never` says (filter of SERT, arXiv 2502.12744).

Both are regular expressions; an empty one asks for nothing.

SERT filters what a small model writes unasked, before it learns from it, by pattern, length, repetition and perplexity.
Its patterns and thresholds are not established: those of the four steps are ours to set. With a `prompt.system` that
asks for a scaffold this one keeps what keeps to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from realm.errors import ConfigError
from realm.traces.base import Given, Trace


def pattern(traces: Sequence[Trace], given: Given, *, must: str = "", never: str = "") -> Iterable[Trace]:
    wanted, unwanted = _compiled("must", must), _compiled("never", never)
    for trace in traces:
        if wanted.search(trace.cot.text) and not (never and unwanted.search(trace.cot.text)):
            yield trace


def _compiled(name: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigError(f"pattern: {name}: expected a regular expression, found {text!r} ({error}).") from error
