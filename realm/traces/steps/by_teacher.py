"""`by_teacher`: a teacher's CoTs count as it is right on the training questions (TinyLLM, arXiv 2402.04616).

The paper distils the rationales of several teachers into one student, with a weight for each teacher's loss; how it
sets them was not established. Our choice: a teacher's share of right CoTs among all of the bank's that are judged, and
among the traces, relative to the best teacher's, whose CoTs count 1. So one teacher alone is taught as ever. The
in-context examples of the paper are a matter of `teachers.*.prompt`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import mean

from realm.traces.base import Given, Trace


def by_teacher(traces: Sequence[Trace], given: Given) -> Iterable[Trace]:
    bank = [cot for name in given.renderer.questions for cot in (given.bank.cots(name) if given.bank else ())]
    labels: dict[str, list[int]] = {}
    for cot in {cot.id: cot for cot in [*bank, *(trace.cot for trace in traces)]}.values():
        if cot.label is not None:
            labels.setdefault(cot.teacher, []).append(cot.label)
    right = {teacher: mean(found) for teacher, found in labels.items()}
    best = max(right.values(), default=0) or 1
    return [replace(trace, weight=trace.weight * right.get(trace.cot.teacher, 0) / best) for trace in traces]
