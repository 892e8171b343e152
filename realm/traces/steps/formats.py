"""`formats`: each CoT as a text, as equations and as a program, as far as it is any of them (mixed thoughts of
equation-of-thought distillation, arXiv 2401.11864).

The paper trains one student on CoTs, equation systems and programs of a teacher, told apart by what the prompt ends
with; a solver and an interpreter check the latter two. Here equations are those of `equations` (all of them true; no
system is solved), programs those of `programs`, or of `to_program` where the CoT is prose, that run to the gold. The
format is named behind the question, but for the one that is meant where nothing is named (`plain`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from realm.traces.base import Given, Trace
from realm.traces.steps.equations import equations
from realm.traces.steps.programs import program_of, programs
from realm.traces.steps.to_program import to_program

Format = Literal["text", "equations", "program"]
#: What stands behind the question.
ASKS: dict[Format, str] = {
    "text": "Answer step by step.",
    "equations": "Answer by equations.",
    "program": "Answer by a program.",
}


def formats(
    traces: Sequence[Trace],
    given: Given,
    *,
    of: tuple[Format, ...] = ("text", "equations", "program"),
    plain: Format = "text",
) -> Iterable[Trace]:
    prose = [trace for trace in traces if program_of(trace.cot) is None]
    coded = [trace for trace in traces if program_of(trace.cot) is not None]
    made: dict[Format, Iterable[Trace]] = {"text": prose, "equations": equations(prose, given)}
    if "program" in of:
        made["program"] = programs([*coded, *to_program(prose, given)], given)
    for name in of:
        asks = "" if name == plain else ASKS[name]
        for trace in made[name]:
            yield replace(trace, instruction=asks, tags={**trace.tags, "format": name})
