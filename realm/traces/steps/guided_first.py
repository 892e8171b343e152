"""`guided_first`: of a question that has guided traces these alone (guided CoT distillation, arXiv 2508.12387)."""

from collections.abc import Iterable, Sequence

from realm.traces.base import Given, Trace
from realm.traces.examples import by_question


def guided_first(traces: Sequence[Trace], given: Given) -> Iterable[Trace]:
    for found in by_question(traces).values():
        yield from [trace for trace in found if trace.cot.guided] or found
