"""The student's own errors on training questions, as a stage finds it: sampled once, and left in a folder.

    errors-<round>.json      the student's errors, with right responses where they are wanted, and what its answers took

The questions are drawn by lot, and the student is sampled as in RL, without routes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from realm.bank.cot import CoT
from realm.method.seeds import derive, rng
from realm.student.prompts import evaluation_prompts
from realm.tasks.verify import UNREADABLE
from realm.teacher.instructing import Mistake
from realm.traces.base import Given, Spent, Voice
from realm.traces.pipeline import add_spent, once
from realm.traces.sampling import answers


def own_errors(given: Given, folder: Path, questions: int, *, contrast: bool = False) -> dict[str, Mistake]:
    """The student's errors on that many questions, by the ids under which a teacher is asked about them.

    Args:
        folder: where they are left; its name is part of what the draw is a function of.
        contrast: with a right response, where the bank has one.
    """
    seed = derive(given.config.run.seed, folder.name, given.round)

    def make(given: Given) -> list[dict[str, Any]]:
        found = sampled(given, given.student("now"), questions, seed)
        right = _right_responses(given, [row["id"] for row in found], seed) if contrast else {}
        return [{**row, "right": right.get(row["id"], "")} for row in found]

    kept = folder / f"errors-{given.round}.json"
    rows = once(make, replace(given, spent=Spent()), kept, "errors", lambda row: row, lambda row: row)
    add_spent(given.spent, kept)
    asked = {question.id: question for question in given.task.rows("train")}
    found = [Mistake(asked[row["id"]], row["response"], row["answer"], row["right"]) for row in rows]
    return {mistake.id: mistake for mistake in found}


def sampled(given: Given, student: Voice, count: int, seed: int) -> list[dict[str, Any]]:
    """What the student gets wrong of a draw of training questions. What the verifier could not finish with is no
    error."""
    config = given.config
    questions = given.task.rows("train")
    asked = rng(seed, "questions").sample(questions, min(count, len(questions)))
    prompts = evaluation_prompts(asked, None, given.task, config, given.tokenizer, given.renderer.limit, seed)
    temperature = config.training.rl.temperature
    return [
        {"id": one.prompt.question.id, "response": one.read.think, "answer": one.read.answer or ""}
        for one in answers(student, prompts, given, temperature=temperature, seed=derive(seed, "completions"))
        if not one.verdict.correct and one.verdict.reason in ("", UNREADABLE)
    ]


def _right_responses(given: Given, questions: Sequence[str], seed: int) -> Mapping[str, str]:
    """A right response to each question that the bank has one for, guided ones first as in the cold start."""
    found = {}
    for question_id in questions:
        right = positive(given, question_id)
        choice = [cot for cot in right if cot.guided] or right
        if choice:
            cot = rng(seed, "right", question_id).choice(choice)
            found[question_id] = f"{cot.text.strip()}\nFinal answer: {cot.answer.strip()}"
    return found


def positive(given: Given, question_id: str) -> list[CoT]:
    """The right CoTs of the bank for a question."""
    return [cot for cot in given.cots(question_id) if cot.label == 1]
