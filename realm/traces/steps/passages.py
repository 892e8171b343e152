"""`passages`: exercises that the teacher writes from passages of a text (Meerkat, arXiv 2404.00376).

The paper fine-tunes small models on questions with chains of thought that a large model writes from textbooks. Its
prompts, the length of its passages and the form of its filter were not established here. Our choices: the passages are
those of `file`, one a comment (`realm.teacher.comments`); each is asked for `examples` exercises; what is not readable,
asks a held-out question or is too long is left out; then each question is put once more, alone, without its passage and
without comments, to the first teacher with a share, and is kept where the verifier finds the same answer. So
what is taught can be solved without the text, and what no teacher knows by itself is lost. The exercises have no label:
the step stands behind `right`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import Field

from realm.teacher.comments import read_comments
from realm.teacher.guidance import Guidance
from realm.teacher.instructing import Passage
from realm.teacher.plan import Plan
from realm.teacher.prompts import refuse_gold
from realm.teacher.registry import make_sources
from realm.traces.asking import exercises, replies
from realm.traces.base import Given, Trace

_LOG = logging.getLogger(__name__)


def passages(
    traces: Sequence[Trace], given: Given, *, file: str, examples: Annotated[int, Field(ge=1)] = 1
) -> Iterable[Trace]:
    config, task = given.config, given.task
    topics = {passage.id: passage for passage in map(Passage, read_comments(file))}
    refuse_gold(config.teachers, "the questions of `passages`, which it is to find by itself; leave it out")
    nothing = Guidance((), config.guidance)
    asked = [passage.asked() for passage in topics.values()]
    sources = make_sources(config, task, nothing, topics=topics)
    written = exercises(given, replies(given, Plan(sources, nothing, asked, examples, config.run.seed))[0])
    again = [trace.question for trace in written]
    second, _ = replies(given, Plan(make_sources(config, task, nothing), nothing, again, 1, config.run.seed))
    agreed = {cot.question_id for cot in second if cot.label == 1}
    kept = [trace for trace in written if trace.question.id in agreed]
    if lost := len(written) - len(kept):
        _LOG.warning("%d of %d exercises are left out: asked again, they are answered otherwise", lost, len(written))
    return [*traces, *kept]
