"""`explain`: each question twice, for its answer alone and for the thinking with it (arXiv 2210.06726).

The paper (explanations make small reasoners better): two tasks, told apart by what is asked, one loss with a weight
for each. Our choices: the answer alone is what `instruction` behind the question asks for, as a completion whose
thinking is empty; asked as ever the student thinks, as it was taught by the trace. The tasks take turns. `answer` and
`explanation` weigh a token of each: an answer alone has few of them. Put it behind `right`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pydantic import NonNegativeFloat

from realm.traces.base import Given, Trace


def explain(
    traces: Sequence[Trace],
    given: Given,
    *,
    answer: NonNegativeFloat = 1.0,
    explanation: NonNegativeFloat = 1.0,
    instruction: str = "Give the answer alone, without any thinking.",
) -> Iterable[Trace]:
    for trace in traces:
        turn, brief = trace.turn or trace.question.id, replace(trace.cot, text="")
        yield replace(trace, weight=trace.weight * explanation, turn=f"{turn}/explanation")
        yield replace(
            trace, cot=brief, instruction=instruction, weight=trace.weight * answer, turn=f"{turn}/answer", spans=()
        )
