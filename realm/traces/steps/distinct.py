"""`distinct`: of traces that read alike one, and each takes a turn of its own (RFT, arXiv 2308.01825).

The paper drops reasonings that are alike; here those whose question and text are equal. So a question with many
distinct ones is taught more often.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from realm.traces.base import Given, Trace
from realm.traces.examples import by_question


def distinct(traces: Sequence[Trace], given: Given) -> Iterable[Trace]:
    for found in by_question(traces).values():
        for place, trace in enumerate({trace.cot.text: trace for trace in reversed(found)}.values()):
            yield replace(trace, turn=f"{trace.cot.id}/{place}")  # a step may have made several of one CoT
