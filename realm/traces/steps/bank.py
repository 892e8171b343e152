"""`bank`: every CoT of the bank for the training questions; none that is cut, empty, refused or unjudged."""

from collections.abc import Iterable, Sequence

from realm.traces.base import Given, Trace


def bank(traces: Sequence[Trace], given: Given) -> Iterable[Trace]:
    yield from traces
    for question in given.renderer.questions.values():
        yield from (Trace(question, cot) for cot in given.cots(question.id))
