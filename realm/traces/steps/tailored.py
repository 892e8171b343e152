"""`tailored`: what the teacher writes for the student's own errors (LLMs-as-Instructors, arXiv 2407.00497).

The paper states the cycle (the student answers chosen questions, the instructor analyses its errors and writes tailored
training data, the student is trained on them, and again) and its two strategies, learning from error and learning from
error by contrast, with a right response (`contrast`). Our choices, each for the comparison with the other recipes: the
questions are drawn by lot from the training questions, and the student is sampled as in RL, without routes; the right
response of the contrast is a positive CoT of the bank, where it has one; comments guide the instructor as often as they
guide the teacher that fills the bank; and nothing verifies the answers of the examples, which are the teacher's own:
the labels of its replies mean nothing. Where the student makes no error, or the teacher's replies hold no example,
positive CoTs of the bank are taught instead.
"""

import logging
from collections.abc import Iterable, Sequence

from realm.bank.cot import CoT
from realm.teacher.plan import Plan
from realm.teacher.registry import make_guidance, make_sources
from realm.traces.asking import exercise, exercises, replies
from realm.traces.base import Given, Trace
from realm.traces.errors import own_errors, positive

_LOG = logging.getLogger(__name__)


def tailored(traces: Sequence[Trace], given: Given, *, contrast: bool = False) -> Iterable[Trace]:
    config, task, settings = given.config, given.task, given.config.training.instructors
    folder = given.folder / "instructors"
    mistakes = own_errors(given, folder, settings.questions, contrast=contrast)
    found: list[CoT] = []
    if mistakes:
        guidance = make_guidance(config, task)
        sources = make_sources(config, task, guidance, topics=mistakes)
        asked = [mistake.asked() for mistake in mistakes.values()]
        found = replies(given, Plan(sources, guidance, asked, settings.examples, config.run.seed), folder)
    lessons = exercises(given, found)
    if not lessons:
        _LOG.warning("round %d: no tailored example, so positive CoTs of the bank are taught", given.round)
        lessons = [
            exercise(cot.id, cot.teacher, question.question, cot.text, cot.answer)
            for question in task.rows("train")
            for cot in positive(given, question.id)
        ]
    return [*traces, *lessons]
