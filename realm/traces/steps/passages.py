"""`passages`: exercises that the teacher writes from passages of a text (Meerkat, arXiv 2404.00376).

The paper fine-tunes small models on questions with chains of thought that a large model writes from textbooks. Its
prompts, the length of its passages and the form of its filter were not established here. Our choices: the passages are
those of `file`, one a comment (`realm.teacher.comments`); each is asked for `examples` exercises; what is not readable,
asks a held-out question or is too long is left out; then each question is put once more to the first teacher with a
share, alone, without passage or comments, and is kept where the verifier finds the same answer. That keeps what a
teacher knows by itself. Where the text says what none can know, `open_book` shows the passage the second time too. The
exercises have no label: the step stands behind `right`.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from realm.teacher.collect import worded_as
from realm.teacher.comments import read_comments
from realm.teacher.guidance import Guidance
from realm.teacher.instructing import Passage
from realm.teacher.plan import Plan
from realm.teacher.prompts import refuse_gold
from realm.teacher.registry import make_sources
from realm.traces.asking import FOLDER, exercises, replies
from realm.traces.base import Given, Trace

_LOG = logging.getLogger(__name__)


def passages(
    traces: Sequence[Trace],
    given: Given,
    *,
    file: str,
    examples: Annotated[int, Field(ge=1)] = 1,
    open_book: bool = False,
) -> Iterable[Trace]:
    config, task = given.config, given.task
    topics = {passage.id: passage for passage in map(Passage, read_comments(file))}
    refuse_gold(config.teachers, "the questions of `passages`, which it is to find by itself; leave it out")

    always = config.guidance.model_copy(update={"probability": 1.0, "match": "tag"})
    shown = [replace(passage.comment, tags=(passage.id,)) for passage in topics.values()] if open_book else []
    closed, book = Guidance((), config.guidance), Guidance(shown, always)
    # Both first: what is wrong with the teachers is found before anything is paid for.
    before = worded_as(config, given.folder / FOLDER / "bank")
    authors, readers = make_sources(config, task, closed, topics=topics), make_sources(before, task, book)

    asked = [passage.asked() for passage in topics.values()]
    found = replies(given, Plan(authors, closed, asked, examples, config.run.seed))
    written = exercises(given, found)
    origin = {cot.id: cot.question_id for cot in found}
    again = [replace(trace.question, tags=(origin[trace.question.id],)) for trace in written]
    answers = replies(given, Plan(readers, book, again, 1, config.run.seed))
    agreed = {cot.question_id for cot in answers if cot.label == 1}
    kept = [trace for trace in written if trace.question.id in agreed]
    if lost := len(written) - len(kept):
        _LOG.warning("%d of %d exercises are left out: asked again, they are answered otherwise", lost, len(written))
    return [*traces, *kept]
