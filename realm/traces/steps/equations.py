"""`equations`: of each CoT its equations alone, where all of them are true (equation reasoners, arXiv 2409.12393).

The paper trains small models on CoTs that are rewritten as equations. Here nothing is rewritten by a model: what
`realm.analysis.arithmetic` reads of the CoT's steps is kept, each equation as a sentence, and the answer as it is. A
CoT without any, or with a false one, is dropped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from realm.analysis.arithmetic import equations as read
from realm.analysis.steps import split_steps
from realm.traces.base import Given, Trace


def equations(traces: Sequence[Trace], given: Given) -> Iterable[Trace]:
    for trace in traces:
        if text := as_equations(trace.cot.text):
            yield replace(trace, cot=replace(trace.cot, text=text))


def as_equations(text: str) -> str:
    """The equations of a CoT; empty where there is none, or one of them is false."""
    known: dict[str, float] = {}
    found = [one for step in split_steps(text) for one in read(step, known)]
    return " ".join(f"{one.left} = {one.right}." for one in found) if all(one.true for one in found) else ""
