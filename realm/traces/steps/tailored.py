"""`tailored`: what the teacher writes for the student's errors (LLMs-as-Instructors, arXiv 2407.00497).

What the paper states and what is our choice: `realm.traces.instructors`. `contrast`: the teacher sees a right response
of the bank beside each error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from realm.traces.base import Given, Trace
from realm.traces.instructors import lessons


def tailored(traces: Sequence[Trace], given: Given, *, contrast: bool = False) -> Iterable[Trace]:
    return [*traces, *lessons(given, contrast=contrast)]
