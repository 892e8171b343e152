"""`right`: the traces whose answer is right."""

from collections.abc import Iterable, Sequence

from realm.traces.base import Given, Trace


def right(traces: Sequence[Trace], given: Given) -> Iterable[Trace]:
    return [trace for trace in traces if trace.cot.label == 1]
