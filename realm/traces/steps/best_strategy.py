"""`best_strategy`: of each question the traces of the best of several teachers alone (Orca 2, arXiv 2311.11045).

A strategy is an entry of `teachers` with a `prompt` of its own, all of one model or not. The paper maps strategies to
tasks and replaces the teacher's prompt by a general one before the student sees it (prompt erasing); here the student
never reads a teacher's prompt. Our choices: the best is the strategy that is right most often (an answer that was cut,
refused or cannot be read is not right, though it is no trace), of equal ones that whose traces are shortest on average,
by the student's tokens. `by`: it is chosen for each question, or for each kind of questions, which needs fewer samples
and leaves out what that strategy never gets right. Put it before `right`: wrong traces count.
"""

from collections.abc import Iterable, Sequence
from statistics import mean
from typing import Literal

from realm.tasks.verify import UNREADABLE
from realm.traces.base import Given, Trace
from realm.traces.examples import ids_of


def best_strategy(
    traces: Sequence[Trace], given: Given, *, by: Literal["question", "kind"] = "question"
) -> Iterable[Trace]:
    lengths = map(len, ids_of(given.renderer.tokenizer, [trace.cot.text for trace in traces]))
    found: dict[str, dict[str, list[tuple[bool, int | None]]]] = {}
    for trace, length in zip(traces, lengths, strict=True):
        strategies = found.setdefault(_group(trace, by), {})
        strategies.setdefault(trace.cot.teacher, []).append((trace.cot.label == 1, length))
    for trace in {trace.question.id: trace for trace in traces}.values():
        strategies = found[_group(trace, by)]
        for cot in given.bank.cots(trace.question.id) if given.bank else ():
            if cot.teacher in strategies and (cot.problem or cot.reason == UNREADABLE):
                strategies[cot.teacher].append((False, None))
    best = {group: min(strategies, key=lambda name: _rank(strategies[name])) for group, strategies in found.items()}
    return [trace for trace in traces if trace.cot.teacher == best[_group(trace, by)]]


def _group(trace: Trace, by: str) -> str:
    return trace.question.kind if by == "kind" else trace.question.id


def _rank(of: Sequence[tuple[bool, int | None]]) -> tuple[float, float]:
    """Lower is better: how often it is right, then how short its traces are."""
    return -mean(right for right, _ in of), mean(length for _, length in of if length is not None)
