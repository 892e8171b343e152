"""Collecting CoTs into a bank: N samples of every question, guided with probability ρ, judged, kept with provenance."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from realm.bank.store import Bank, CoT
from realm.config import Config
from realm.desk.task import DeskTask
from realm.errors import ConfigError
from realm.method.seeds import rng
from realm.tasks.base import Question, Task
from realm.tasks.workers import VerifierPool
from realm.teacher.base import Teacher
from realm.teacher.guidance import guide
from realm.teacher.scripted import ScriptedTeacher

#: Questions whose samples are judged and written together.
CHUNK = 64


def make_teacher(config: Config, task: Task) -> Teacher:
    """The configured teacher.

    Raises:
        ConfigError: the scripted teacher is asked about a task other than the desk.
    """
    if not isinstance(task, DeskTask):
        raise ConfigError(
            f"teacher.kind: the scripted teacher only knows the task desk, found task.name {task.name}; "
            "give bank.path a file or folder of CoTs instead."
        )
    return ScriptedTeacher(task)


def bank_info(config: Config, task: Task) -> dict[str, object]:
    """What the CoTs of a bank were collected with, for its `bank.json`."""
    return {
        "task": task.name,
        "teacher": config.teacher.model_dump(),
        "guidance": config.guidance.model_dump(),
        "samples": config.bank.samples,
        "seed": config.run.seed,
    }


def sample_id(question: Question, teacher: Teacher, seed: int, comments: Sequence[str], sample: int) -> str:
    """The key of a sample: everything that decides its text."""
    key = json.dumps([question.id, question.question, teacher.name, seed, list(comments), sample])
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def collect(
    config: Config,
    task: Task,
    bank: Bank,
    pool: VerifierPool,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Ask the teacher for what the bank still owes: `bank.samples` CoTs of every question of every split.

    What is already in the bank is not asked for again, so a stopped collection goes on where it was.

    Returns:
        The number of CoTs added.
    """
    teacher = make_teacher(config, task)
    questions = [question for split in task.splits() for question in task.rows(split)]
    present = {cot.id for cot in bank.all()}
    added = 0
    for start in range(0, len(questions), CHUNK):
        drafts: list[tuple[Question, CoT]] = []
        for question in questions[start : start + CHUNK]:
            for number in range(config.bank.samples):
                source = rng(config.run.seed, "teacher", teacher.name, question.id, number)
                shown = guide(question, task.comments, config.guidance.probability, source)
                key = sample_id(question, teacher, config.run.seed, [comment.id for comment in shown], number)
                if key in present:
                    continue
                sample = teacher.ask(question, shown, source)
                draft = CoT(
                    question_id=question.id,
                    text=sample.text,
                    answer=sample.answer,
                    label=None,
                    teacher=teacher.name,
                    guided=bool(shown),
                    comments=tuple(comment.id for comment in shown),
                    sample=number,
                    id=key,
                    meta={},
                )
                drafts.append((question, draft))
        verdicts = pool.verify([(draft.answer, question.answer) for question, draft in drafts])
        bank.append(
            # Where the verifier timed out or gave up, nobody knows: no label, and it is never shown as a route.
            replace(draft, label=int(verdict.correct) if verdict.reason in ("", "unreadable") else None)
            for (_, draft), verdict in zip(drafts, verdicts, strict=True)
        )
        added += len(drafts)
        if progress is not None:
            progress(min(start + CHUNK, len(questions)), len(questions))
    return added
