"""The baseline LLMs-as-Instructors: examples that the teacher writes for the student's own errors.

Source: arXiv 2407.00497. The paper states the cycle (the student answers chosen questions, the instructor analyses its
errors and writes tailored training data, the student is trained on them, and again) and its two strategies, learning
from error and learning from error by contrast. Our choices, each for the comparison with the other recipes: the
questions are drawn by lot from the training questions, and the student is sampled as in RL, without routes; the right
response of the contrast is a positive CoT of the bank; comments guide the instructor as often as they guide the teacher
that fills the bank; and nothing verifies the answers of the examples, which are the teacher's own. Where the student
makes no error, or the teacher's replies hold no example, positive CoTs of the bank are taught instead.

What is left in a folder, so that no sample is paid for twice and a resumed run learns the same:

    sampled-<round>.json     what the student's answers took: completions, tokens through it, seconds
    errors-<round>.jsonl     the student's errors, with the right responses
    bank/                    the teacher's replies, as a bank (its labels mean nothing: nobody knows the golds); it
                             outlives a run that is overwritten, and gives the next one what that asks word for word
    examples-<round>.jsonl   what is taught; written last
    cost.json                completion tokens of the replies that the run rests on, over all rounds, and all requests
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.files import read_jsonl, to_line, write_atomic, writing
from realm.method.seeds import derive, rng
from realm.student.prompts import evaluation_prompts
from realm.tasks.base import Question, Task, normal
from realm.tasks.verify import UNREADABLE
from realm.teacher.collect import bank_info, collect
from realm.teacher.instructing import Mistake, read_example
from realm.teacher.plan import Plan
from realm.teacher.registry import make_guidance, make_sources
from realm.traces.base import Given, Trace, Voice
from realm.traces.examples import fitting
from realm.traces.sampling import answers

_LOG = logging.getLogger(__name__)

Row = dict[str, Any]


def lessons(given: Given, *, contrast: bool) -> list[Trace]:
    """What is taught for the errors that the student makes now, each taking a turn of its own.

    Args:
        contrast: show the instructor a right response too, where the bank has one.

    Raises:
        ConfigError, TeacherError, ResourceError, KeyboardInterrupt: as of `realm.teacher.collect.collect`.
    """
    round_, folder, student = given.round, given.folder / "instructors", given.student("now")
    errors, took = folder / f"errors-{round_}.jsonl", folder / f"sampled-{round_}.json"
    source = derive(given.config.run.seed, "instructors", round_)
    if not errors.is_file():
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        found = _errors(given, student, source)
        write_atomic(took, json.dumps(asdict(student.spent)) + "\n")
        right = _right_responses(given, [row["id"] for row in found], source) if contrast else {}
        write_atomic(errors, "".join(to_line({**row, "right": right.get(row["id"], "")}) for row in found))
    vars(given.spent).update(json.loads(took.read_text(encoding="utf-8")))
    rows = _teachable(given, _ask(given, folder, _mistakes(given.task, errors))) or _fallback(given)
    write_atomic(folder / f"examples-{round_}.jsonl", "".join(map(to_line, rows)))
    return [_trace(row) for row in rows]


def _errors(given: Given, student: Voice, seed: int) -> list[Row]:
    """What the student gets wrong of a draw of training questions. What the verifier could not finish with is no
    error."""
    config = given.config
    questions = given.task.rows("train")
    asked = rng(seed, "questions").sample(questions, min(config.training.instructors.questions, len(questions)))
    prompts = evaluation_prompts(asked, None, given.task, config, given.tokenizer, given.renderer.limit, seed)
    temperature = config.training.rl.temperature
    return [
        {"id": one.prompt.question.id, "response": one.read.think, "answer": one.read.answer or ""}
        for one in answers(student, prompts, given, temperature=temperature, seed=derive(seed, "completions"))
        if not one.verdict.correct and one.verdict.reason in ("", UNREADABLE)
    ]


def _right_responses(given: Given, questions: Sequence[str], seed: int) -> dict[str, str]:
    """A right response to each question that the bank has one for, guided ones first as in the cold start."""
    found = {}
    for question_id in questions:
        positive = _positive(given, question_id)
        choice = [cot for cot in positive if cot.guided] or positive
        if choice:
            cot = rng(seed, "right", question_id).choice(choice)
            found[question_id] = f"{cot.text.strip()}\nFinal answer: {cot.answer.strip()}"
    return found


def _positive(given: Given, question_id: str) -> list[CoT]:
    cots = given.bank.cots(question_id) if given.bank else []
    return [cot for cot in cots if cot.usable and cot.label == 1]


def _mistakes(task: Task, errors: Path) -> dict[str, Mistake]:
    """The student's errors of a round by the ids under which the instructor is asked about them."""
    questions = {question.id: question for question in task.rows("train")}
    found = [Mistake(questions[row["id"]], row["response"], row["answer"], row["right"]) for row in read_jsonl(errors)]
    return {mistake.id: mistake for mistake in found}


def _ask(given: Given, folder: Path, mistakes: Mapping[str, Mistake]) -> list[CoT]:
    """The instructors' replies to the errors, those of an earlier start among them, in an order of their own."""
    config, task = given.config, given.task
    if not mistakes:
        if not (folder / "cost.json").is_file():
            write_atomic(folder / "cost.json", json.dumps({"requests": 0, "teacher_tokens": 0}) + "\n")
        return []
    guidance = make_guidance(config, task)
    every = {id_: mistake for file in folder.glob("errors-*.jsonl") for id_, mistake in _mistakes(task, file).items()}
    sources = make_sources(config, task, guidance, mistakes=every)

    def planned(mistakes: Mapping[str, Mistake]) -> Plan:
        asked = [mistake.asked() for mistake in mistakes.values()]
        return Plan(sources, guidance, asked, config.training.instructors.examples, config.run.seed)

    plan, whole = planned(mistakes), planned(every)
    # What an overwritten run was given for other errors, or by another teacher, is no part of this one.
    ours = {job.key for source in whole.sources for job in whole.jobs(source)}
    path = folder / "bank"
    there = (path / "bank.json").is_file()
    replies = BankFolder.open(path) if there else BankFolder.create(path, bank_info(config, task, guidance))
    tally = collect(config, task, replies, given.verifier, plan=plan)
    if tally.left:
        _LOG.warning("%s: %d of %d examples were not written (see ledger.jsonl)", path, tally.left, plan.size)
    tokens, found = 0, []
    for cot in replies.scan():
        if cot.id not in ours:
            continue
        known = cot.completion_tokens
        wrote = len(given.tokenizer(cot.text, add_special_tokens=False)["input_ids"]) if known is None else known
        tokens += wrote
        if cot.question_id in mistakes:
            found.append(cot)
            given.spent.teacher_tokens += wrote
    write_atomic(folder / "cost.json", json.dumps({"requests": tally.spent.requests, "teacher_tokens": tokens}) + "\n")
    # They came in any order; what is taught is a function of what they are.
    return sorted(found, key=lambda cot: cot.id)


def _teachable(given: Given, replies: Sequence[CoT]) -> list[Row]:
    """The examples in the replies that can be read, are not a question of a held-out split, and are not too long."""
    task = given.task
    held_out = {normal(row.question) for split in task.splits() if split != "train" for row in task.rows(split)}
    lessons: list[Row] = []
    left_out: Counter[str] = Counter()
    for cot in replies:
        written = None if cot.problem else read_example(cot.text)
        row = {"id": cot.id, "teacher": cot.teacher, **(asdict(written) if written else {})}
        if written is None:
            left_out["unreadable"] += 1
        elif normal(written.question) in held_out:
            left_out["held out"] += 1
        elif not fitting([_trace(row)], given):
            left_out["too long"] += 1
        else:
            lessons.append(row)
    if left_out:
        said = ", ".join(f"{reason}: {number}" for reason, number in left_out.items())
        _LOG.warning("%d of %d tailored examples are left out (%s)", left_out.total(), len(replies), said)
    return lessons


def _fallback(given: Given) -> list[Row]:
    """Positive CoTs of the bank, where there is nothing tailored."""
    _LOG.warning("round %d of instructors: no tailored example, so positive CoTs of the bank are taught", given.round)
    rows = [
        {"id": cot.id, "teacher": cot.teacher, "question": question.question, "text": cot.text, "answer": cot.answer}
        for question in given.task.rows("train")
        for cot in _positive(given, question.id)
    ]
    return [row for row in rows if fitting([_trace(row)], given)]


def _trace(row: Row) -> Trace:
    """The trace of a row of examples-<round>.jsonl: nobody has judged it."""
    cot = CoT(row["id"], row["text"], row["answer"], None, row["teacher"], id=row["id"])
    return Trace(Question(row["id"], row["question"], row["answer"]), cot)
