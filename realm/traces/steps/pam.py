"""`pam`: a wrong thinking, which is not learned, a check, and the right one (partial answer masking, arXiv 2401.07301).

The paper: one sequence holds an answer, a check of it, and where it was wrong a corrected one; the loss leaves out the
wrong first answer, and a right one is learned with the check that says so. Which tokens exactly, and how many sequences
begin wrongly, was not established. Our choices: each right trace makes one sequence; `share` of them begin with a wrong
thinking of the same question, by lot, as far as there are any; not learned is all up to and with the wrong answer. Of a
question's wrong thinkings the student's own are taken where a step `student` has made some: those of a teacher are not
what it will have to correct. `states`, `wrong` and `right` are what is said; `{answer}` is filled in.

It costs tokens at inference, and what is learned easily is to correct nothing, or to correct what was right: look at
how many answers turn from right to wrong.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from realm.method.prompt import without_answer
from realm.sections import Probability
from realm.traces.base import Given, Span, Trace
from realm.traces.examples import by_question, fitting
from realm.traces.sampling import TEACHER

_LOG = logging.getLogger(__name__)


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
    errors = by_question([trace for trace in traces if trace.cot.label == 0])
    good = [trace for trace in traces if trace.cot.label == 1]

    def first(trace: Trace) -> str:
        said = states.replace("{answer}", trace.cot.answer)
        return f"{without_answer(trace.cot.text, trace.cot.answer)}\n{said}\n"

    def checked(trace: Trace, text: str, spans: tuple[Span, ...]) -> Trace:
        return replace(trace, cot=replace(trace.cot, text=text), spans=spans)

    turned: dict[int, Trace] = {}
    for number, trace in enumerate(good):
        if found := errors.get(trace.question.id):
            masked = first(source.choice([one for one in found if one.cot.teacher == TEACHER] or found))
            spans = (Span(0, len(masked), 0.0),)
            turned[number] = checked(trace, f"{masked}{wrong}\n{trace.cot.text}", spans)
    fit = set(map(id, fitting([*turned.values()], given)))
    either, wanted = [number for number, one in turned.items() if id(one) in fit], round(share * len(good))
    begins_wrongly = {*source.sample(either, min(wanted, len(either)))}
    if len(begins_wrongly) < wanted:
        _LOG.warning(
            "pam: %d of %d sequences begin with a wrong thinking, not %d: of %d that have one, %d are short enough "
            "(training.rl.max_completion_length = %d)",
            *(len(begins_wrongly), len(good), wanted, len(turned), len(either), given.room),
        )
    for number, trace in enumerate(good):
        yield turned[number] if number in begins_wrongly else checked(trace, first(trace) + right, trace.spans)
