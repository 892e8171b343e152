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
    examples-<round>.jsonl   what is taught; written last, and read from then on
    cost.json                completion tokens of the replies that the run rests on, over all rounds, and all requests
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.bank.store import Bank
from realm.config import Config
from realm.errors import DataError
from realm.files import read_jsonl, to_line, write_atomic, writing
from realm.method.seeds import derive, question_order, rng
from realm.processes import main_process
from realm.student.prompts import evaluation_prompts
from realm.student.renderer import Renderer
from realm.tasks.base import Question, Task, normal
from realm.tasks.verify import UNREADABLE
from realm.tasks.workers import VerifierPool
from realm.teacher.collect import bank_info, collect
from realm.teacher.instructing import Mistake, read_example
from realm.teacher.plan import Plan
from realm.teacher.registry import make_guidance, make_sources
from realm.traces.base import Spent, Voice
from realm.traces.sampling import answers
from realm.training.group import wait_for_all
from realm.training.sft import Example, without_routes

_LOG = logging.getLogger(__name__)

Row = dict[str, Any]
#: What sampled-<round>.json counts of `Spent`.
_COUNTED = ("completions", "tokens", "seconds")


def tailored(
    config: Config,
    *,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    bank: Bank,
    pool: VerifierPool,
    renderer: Renderer,
    folder: Path,
    seed: int,
    round_: int,
    count: int,
    contrast: bool,
) -> list[Example]:
    """`count` examples without routes, tailored to the errors that the student makes now, in the order of training.

    In a distributed run the main process samples and asks, the others wait for it.

    Args:
        model: the student as it is before the round.
        bank: right responses, for the contrast and where there is nothing to tailor.
        folder: of this recipe in the run, the same one for every round; see the module.
        count: of one round; the examples come again in a new order each time all of them have come.
        contrast: show the instructor a right response too, where the bank has one.

    Raises:
        ConfigError, TeacherError, ResourceError, KeyboardInterrupt: as of `realm.teacher.collect.collect`.
        DataError: there is nothing to teach, tailored or not.
    """
    path = folder / f"examples-{round_}.jsonl"
    if main_process() and not path.is_file():
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        errors = folder / f"errors-{round_}.jsonl"
        if not errors.is_file():
            source = derive(seed, "instructors", round_)
            found, spent = _errors(config, model, tokenizer, task, pool, renderer, source)
            write_atomic(folder / f"sampled-{round_}.json", json.dumps(spent) + "\n")
            right = _right_responses(config, bank, [row["id"] for row in found], source) if contrast else {}
            write_atomic(errors, "".join(to_line({**row, "right": right.get(row["id"], "")}) for row in found))
        written = _ask(config, task, pool, tokenizer, folder, _mistakes(task, errors), seed)
        lessons = _teachable(renderer, task, written) or _fallback(renderer, task, bank, round_)
        write_atomic(path, "".join(map(to_line, lessons)))
    while not path.is_file():  # the teacher may take longer than any process waits at a barrier (half an hour)
        time.sleep(1)
    wait_for_all()
    examples = {row["id"]: example for row in read_jsonl(path) if (example := _example(renderer, row)) is not None}
    if not examples:
        raise DataError(
            f"{path}: no example to teach; the teacher wrote none, and the bank holds no right CoT of at most "
            f"training.rl.max_completion_length = {config.training.rl.max_completion_length} tokens. Raise that "
            "length, or collect other CoTs; then remove that file."
        )
    order = question_order(list(examples), count, derive(seed, "instructors", round_, "order"))
    return [examples[name] for name in order]


def _errors(
    config: Config,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    pool: VerifierPool,
    renderer: Renderer,
    seed: int,
) -> tuple[list[Row], dict[str, float]]:
    """What the student gets wrong of a draw of training questions, and what asking it took.

    What the verifier could not finish with is no error.
    """
    questions = task.rows("train")
    asked = rng(seed, "questions").sample(questions, min(config.training.instructors.questions, len(questions)))
    prompts = evaluation_prompts(asked, None, task, config, tokenizer, renderer.limit, seed)
    device = model.device
    model.to("cuda" if torch.cuda.is_available() else device)  # type: ignore[arg-type]
    spent = Spent()
    voice = Voice(model, tokenizer, batch_size=config.evaluation.batch_size, spent=spent)
    temperature = config.training.rl.temperature
    found = answers(voice, prompts, config, pool, temperature=temperature, seed=derive(seed, "completions"))
    model.to(device)  # type: ignore[arg-type]
    wrong = [
        {"id": one.prompt.question.id, "response": one.read.think, "answer": one.read.answer or ""}
        for one in found
        if not one.verdict.correct and one.verdict.reason in ("", UNREADABLE)
    ]
    return wrong, {name: round(getattr(spent, name), 3) for name in _COUNTED}


def sampled(folder: Path) -> Spent:
    """What sampling the student took in all rounds of a folder."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("sampled-*.json"))]
    return Spent(**{name: sum(row[name] for row in rows) for name in _COUNTED})


def _right_responses(config: Config, bank: Bank, questions: Sequence[str], seed: int) -> dict[str, str]:
    """A right response to each question that the bank has one for, guided ones first as in the cold start."""
    found = {}
    for question_id in questions:
        positive = _positive(bank, question_id)
        guided = [cot for cot in positive if cot.guided]
        choice = guided if guided and config.training.sft.guided_first else positive
        if choice:
            cot = rng(seed, "right", question_id).choice(choice)
            found[question_id] = f"{cot.text.strip()}\nFinal answer: {cot.answer.strip()}"
    return found


def _positive(bank: Bank, question_id: str) -> list[CoT]:
    return [cot for cot in bank.cots(question_id) if cot.usable and cot.label == 1]


def _mistakes(task: Task, errors: Path) -> dict[str, Mistake]:
    """The student's errors of a round by the ids under which the instructor is asked about them."""
    questions = {question.id: question for question in task.rows("train")}
    found = [Mistake(questions[row["id"]], row["response"], row["answer"], row["right"]) for row in read_jsonl(errors)]
    return {mistake.id: mistake for mistake in found}


def _ask(
    config: Config,
    task: Task,
    pool: VerifierPool,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    mistakes: Mapping[str, Mistake],
    seed: int,
) -> list[CoT]:
    """The instructors' replies to the errors, those of an earlier start among them, in an order of their own."""
    if not mistakes:
        if not (folder / "cost.json").is_file():
            write_atomic(folder / "cost.json", json.dumps({"requests": 0, "teacher_tokens": 0}) + "\n")
        return []
    guidance = make_guidance(config, task)
    every = {id_: mistake for file in folder.glob("errors-*.jsonl") for id_, mistake in _mistakes(task, file).items()}
    sources = make_sources(config, task, guidance, mistakes=every)

    def planned(mistakes: Mapping[str, Mistake]) -> Plan:
        asked = [mistake.asked() for mistake in mistakes.values()]
        return Plan(sources, guidance, asked, config.training.instructors.examples, seed)

    plan, whole = planned(mistakes), planned(every)
    # What an overwritten run was given for other errors, or by another teacher, is no part of this one.
    ours = {job.key for source in whole.sources for job in whole.jobs(source)}
    path = folder / "bank"
    there = (path / "bank.json").is_file()
    replies = BankFolder.open(path) if there else BankFolder.create(path, bank_info(config, task, guidance))
    tally = collect(config, task, replies, pool, plan=plan)
    if tally.left:
        _LOG.warning("%s: %d of %d examples were not written (see ledger.jsonl)", path, tally.left, plan.size)
    tokens, found = 0, []
    for cot in replies.scan():
        if cot.id not in ours:
            continue
        known = cot.completion_tokens
        tokens += len(tokenizer(cot.text, add_special_tokens=False)["input_ids"]) if known is None else known
        if cot.question_id in mistakes:
            found.append(cot)
    write_atomic(folder / "cost.json", json.dumps({"requests": tally.spent.requests, "teacher_tokens": tokens}) + "\n")
    # They came in any order; what is taught is a function of what they are.
    return sorted(found, key=lambda cot: cot.id)


def _teachable(renderer: Renderer, task: Task, replies: Sequence[CoT]) -> list[Row]:
    """The examples in the replies that can be read, are not a question of a held-out split, and are not too long."""
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
        elif _example(renderer, row) is None:
            left_out["too long"] += 1
        else:
            lessons.append(row)
    if left_out:
        said = ", ".join(f"{reason}: {number}" for reason, number in left_out.items())
        _LOG.warning("%d of %d tailored examples are left out (%s)", left_out.total(), len(replies), said)
    return lessons


def _fallback(renderer: Renderer, task: Task, bank: Bank, round_: int) -> list[Row]:
    """Positive CoTs of the bank, where there is nothing tailored."""
    _LOG.warning("round %d of instructors: no tailored example, so positive CoTs of the bank are taught", round_)
    rows = [
        {"id": cot.id, "teacher": cot.teacher, "question": question.question, "text": cot.text, "answer": cot.answer}
        for question in task.rows("train")
        for cot in _positive(bank, question.id)
    ]
    return [row for row in rows if _example(renderer, row) is not None]


def _example(renderer: Renderer, row: Row) -> Example | None:
    """The example of a row of examples-<round>.jsonl, None where it is too long."""
    cot = CoT(row["id"], row["text"], row["answer"], None, row["teacher"], id=row["id"])
    return without_routes(renderer, Question(row["id"], row["question"], row["answer"]), cot)
