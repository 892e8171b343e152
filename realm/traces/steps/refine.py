"""`refine`: a wrong answer of the student's own, a critique of it and a right answer (SCORE, arXiv 2404.17140).

The paper: wrong answers of the student are criticised with a correct solution as a hint, the critiques are filtered,
and the student is fine-tuned on them to refine its answers; when to refine, a verifier decides, which has to be strong.
There the student itself writes the critiques; here the teacher does, for students that are too small to. Our choices:
`questions` training questions, drawn by lot and answered as in RL without routes; the hint is the gold; the teacher
writes critique and solution at once, and what the verifier finds right is kept; the prompt is the question with the
wrong answer, the completion the critique with the solution. The paper's rules of filtering were not established. These
are the traces alone: nothing here asks a trained student a second time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from realm.teacher.instructing import Flaw, read_example
from realm.teacher.plan import Plan
from realm.teacher.registry import make_guidance, make_sources
from realm.traces.asking import FOLDER, replies
from realm.traces.base import Given, Trace
from realm.traces.errors import own_errors

AGAIN = "This is wrong: {response}\nIts answer: {answer}\nSay what is wrong with it, then answer."


def refine(traces: Sequence[Trace], given: Given, *, questions: Annotated[int, Field(ge=1)] = 200) -> Iterable[Trace]:
    yield from traces
    config, task = given.config, given.task
    found = own_errors(given, given.folder / FOLDER, questions).values()
    flaws = [Flaw(one.question, one.response, one.answer, f"Final answer: {one.question.answer}") for one in found]
    topics = {flaw.id: flaw for flaw in flaws}
    if not topics:
        return
    guidance = make_guidance(config, task)
    sources = make_sources(config, task, guidance, topics=topics)
    plan = Plan(sources, guidance, [flaw.asked() for flaw in topics.values()], 1, config.run.seed)
    for cot in replies(given, plan):
        flaw = topics[cot.question_id]
        if cot.usable and cot.label == 1 and (written := read_example(cot.text, "critique")):
            text, shown = f"{written.question}\n{written.text}", {"response": flaw.response, "answer": flaw.answer}
            taught = replace(cot, question_id=flaw.question.id, text=text, answer=written.answer)
            yield Trace(flaw.question, taught, instruction=AGAIN.format(**shown))
