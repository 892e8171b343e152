"""A voice that says what it is told to, and what a step is given, with the desk's tokenizer, which reads any text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.config import Config
from realm.student.generate import Generation
from realm.student.load import load_tokenizer
from realm.student.renderer import Renderer
from realm.tasks.base import Question
from realm.traces.base import Given, Trace
from tests.tiny import TinyTask, pool, tiny_config

#: (prompt as text, number of the sample) -> what it says.
Says = Callable[[str, int], str]


class Asking(TinyTask):
    """A task of these training questions."""

    def __init__(self, questions: Sequence[Question]) -> None:
        super().__init__()
        self._rows["train"] = list(questions)


class Scripted:
    """In the place of a `Voice`; `calls` has the prompts of each call, and `options` its other arguments."""

    def __init__(self, says: Says) -> None:
        self.says, self.calls, self.options = says, list[list[str]](), list[dict[str, Any]]()

    def write(self, prompts: Sequence[Sequence[int]], *, samples: int = 1, **options: Any) -> list[list[Generation]]:
        texts = [tokenizer().decode(ids) for ids in prompts]
        self.calls.append(texts)
        self.options.append(options)
        written = [[self.says(text, number) for number in range(samples)] for text in texts]
        return [[Generation(one, len(one), False) for one in row] for row in written]


@functools.cache
def tokenizer() -> Any:
    return load_tokenizer("desk-base")


def given(
    questions: Sequence[Question], says: Says = lambda prompt, sample: "", bank: Bank | None = None, **changes: Any
) -> tuple[Given, Scripted]:
    """What a step is given for these questions, and the voice that is its student, whichever it asks for.

    `changes`: `seed`, and `room`, the tokens that a completion may have.
    """
    config: Config = tiny_config(Path(), Path("desk-base"), rl={"max_completion_length": changes.pop("room", 200)})
    task = Asking(questions)
    renderer = Renderer(config, task, bank, tokenizer(), 512, seed=changes.pop("seed", 0))
    voice = Scripted(says)
    students: Any = lambda which, spent: voice  # noqa: E731
    made = Given(config, task, bank, renderer, pool(), students=students)
    return replace(made, **changes), voice


def trace(question: Question, text: str, answer: str | None = None, *, sample: int = 0, teacher: str = "big") -> Trace:
    """A CoT of a question; it is right where it has the gold or no answer of its own."""
    answer = question.answer if answer is None else answer
    return Trace(question, CoT(question.id, text, answer, int(answer == question.answer), teacher, sample=sample))


def questions(count: int) -> list[Question]:
    return [Question(f"q{number}", f"question number {number}", str(number * 7 % 10)) for number in range(count)]
