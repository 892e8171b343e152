"""The baseline LLMs-as-Instructors: examples that the teacher writes for the student's own errors.

Source: arXiv 2407.00497. The paper states the cycle (the student answers chosen questions, the instructor analyses its
errors and writes tailored training data, the student is trained on them, and again) and its two strategies, learning
from error and learning from error by contrast. Our choices, each for the comparison with the other recipes: the
questions are drawn by lot from the training questions, and the student is sampled as in RL, without routes; the right
response of the contrast is a positive CoT of the bank; comments guide the instructor as often as they guide the teacher
that fills the bank; and nothing verifies the answers of the examples, which are the teacher's own. Where the student
makes no error, or the teacher's replies hold no example, positive CoTs of the bank are taught instead.

What is left in a folder, so that no sample is paid for twice and a resumed run learns the same:

    sampled-, errors-<round> see `realm.traces.errors`
    bank/                    the teacher's replies (`realm.traces.asking`); labels mean nothing: nobody knows the golds
    examples-<round>.jsonl   what is taught; written last
    cost.json                completion tokens of the replies that the run rests on, over all rounds, and all requests
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.files import to_line, write_atomic
from realm.teacher.instructing import Mistake
from realm.teacher.plan import Plan
from realm.teacher.registry import make_guidance, make_sources
from realm.traces.asking import exercise, exercises, planned, replies, tokens
from realm.traces.base import Given, Trace
from realm.traces.errors import own_errors, positive, read_errors
from realm.traces.examples import fitting

_LOG = logging.getLogger(__name__)


def lessons(given: Given, *, contrast: bool) -> list[Trace]:
    """What is taught for the errors that the student makes now, each taking a turn of its own.

    Args:
        contrast: show the instructor a right response too, where the bank has one.

    Raises:
        ConfigError, TeacherError, ResourceError, KeyboardInterrupt: as of `realm.teacher.collect.collect`.
    """
    folder = given.folder / "instructors"
    mistakes = own_errors(given, folder, given.config.training.instructors.questions, contrast=contrast)
    traces = exercises(given, _ask(given, folder, mistakes)) or _fallback(given)
    rows = [
        {"id": cot.id, "teacher": cot.teacher, "question": question.question, "text": cot.text, "answer": cot.answer}
        for question, cot in ((trace.question, trace.cot) for trace in traces)
    ]
    write_atomic(folder / f"examples-{given.round}.jsonl", "".join(map(to_line, rows)))
    return traces


def _ask(given: Given, folder: Path, mistakes: Mapping[str, Mistake]) -> list[CoT]:
    """The instructors' replies to the errors."""
    config, task = given.config, given.task

    def costs(requests: int, written: int) -> None:
        write_atomic(folder / "cost.json", json.dumps({"requests": requests, "teacher_tokens": written}) + "\n")

    if not mistakes:
        if not (folder / "cost.json").is_file():
            costs(0, 0)
        return []
    guidance = make_guidance(config, task)
    every = {id_: one for file in folder.glob("errors-*.jsonl") for id_, one in read_errors(task, file).items()}
    sources = make_sources(config, task, guidance, topics=every)

    def plan(mistakes: Mapping[str, Mistake]) -> Plan:
        asked = [mistake.asked() for mistake in mistakes.values()]
        return Plan(sources, guidance, asked, config.training.instructors.examples, config.run.seed)

    found, requests = replies(given, plan(mistakes), folder)
    costs(requests, tokens(given, planned(BankFolder.open(folder / "bank"), plan(every))))
    return found


def _fallback(given: Given) -> list[Trace]:
    """Positive CoTs of the bank, where there is nothing tailored."""
    _LOG.warning("round %d of instructors: no tailored example, so positive CoTs of the bank are taught", given.round)
    traces = [
        exercise(cot.id, cot.teacher, question.question, cot.text, cot.answer)
        for question in given.task.rows("train")
        for cot in positive(given, question.id)
    ]
    return fitting(traces, given)
