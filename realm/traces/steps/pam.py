"""`pam`: a wrong thinking, which is not learned, a check, and the right one (partial answer masking, arXiv 2401.07301).

The paper: one sequence holds an answer, a check of it, and where it was wrong a corrected one; the
loss leaves the wrong first answer out, and a right one is learned with the check that says so. Which tokens exactly,
and how many sequences begin wrongly, was not established. Our choices: `share` of the sequences begins with a wrong
thinking of the same question, by lot, as far as there are any; not learned is all up to and with the wrong answer; each
right trace makes one sequence. Wrong thinkings should be the student's own (a step `student` before this one): those of
a teacher are not what it will have to correct. `states`, `wrong` and `right` are what is said; `{answer}` is filled in.

It costs tokens at inference, and what is learned easily is to correct nothing, or to correct what was right: look at
how many answers turn from right to wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from realm.method.prompt import without_answer
from realm.sections import Probability
from realm.traces.base import Given, Span, Trace


def pam(
    traces: Sequence[Trace],
    given: Given,
    *,
    share: Probability = 0.5,
    states: str = "So the answer would be {answer}.",
    wrong: str = "Let me check that. It is wrong. Once more:",
    right: str = "Let me check that. It is right.",
) -> Iterable[Trace]:
    source = given.rng("pam")
    errors: dict[str, list[Trace]] = {}
    for trace in traces:
        if trace.cot.label == 0:
            errors.setdefault(trace.question.id, []).append(trace)
    good = [trace for trace in traces if trace.cot.label == 1]
    either = [number for number, trace in enumerate(good) if trace.question.id in errors]
    begins_wrongly = {*source.sample(either, min(round(share * len(good)), len(either)))}

    def first(trace: Trace) -> str:
        said = states.replace("{answer}", trace.cot.answer)
        return f"{without_answer(trace.cot.text, trace.cot.answer)}\n{said}\n"

    for number, trace in enumerate(good):
        text, spans = first(trace) + right, trace.spans
        if number in begins_wrongly:
            masked = first(source.choice(errors[trace.question.id]))
            text, spans = f"{masked}{wrong}\n{trace.cot.text}", (Span(0, len(masked), 0.0),)
        yield replace(trace, cot=replace(trace.cot, id=f"{trace.cot.id}/pam", text=text), spans=spans)
