"""What a task is: questions in named splits, one verifier, a prompt wording, and optionally rules and class labels."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Protocol

from realm.method.prompt import Wording
from realm.tasks.verify import Verifier


@dataclass(frozen=True)
class Question:
    """A question x with its gold answer y*. `kind` and `difficulty` group the figures of an evaluation."""

    id: str
    question: str
    answer: str
    split: str = "train"
    kind: str = ""
    difficulty: int = 0
    tags: tuple[str, ...] = ()

    def claim(self, answer: str | None, gold: str | None = None) -> tuple[str | None, str, str, str]:
        """What a verifier is asked of an answer (`realm.tasks.workers.Claim`); `gold` in the place of the own one."""
        return answer, self.answer if gold is None else gold, self.question, self.kind


@dataclass(frozen=True)
class Comment:
    """An expert comment: one rule of the domain, shown to the teacher for questions that share one of its tags."""

    id: str
    tags: tuple[str, ...]
    text: str


def normal(question: str) -> str:
    """A question's text in the form by which questions are compared."""
    return " ".join(question.split())


def text_id(question: str) -> str:
    """The id of a question that has none: the same for the same text, white space aside, wherever it stands."""
    return hashlib.sha256(normal(question).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def encodable(text: str) -> bool:
    """Whether UTF-8 can hold the text: it has no lone surrogate."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def as_utf8(text: str) -> str:
    """The text as UTF-8 can hold it: a lone surrogate becomes `?`."""
    return text.encode("utf-8", "replace").decode()


def questions_hash(task: Task) -> str:
    """Hash of all that a task asks, split by split: what a run that is gone on with must find again."""
    asked = [[row.id, row.question, row.answer, split] for split in task.splits() for row in task.rows(split)]
    return hashlib.sha256(json.dumps(asked).encode("ascii")).hexdigest()[:16]


class Task(Protocol):
    """A family of questions. Loading a task validates every row, so that nothing is paid for before the data is fit."""

    @property
    def name(self) -> str: ...

    @property
    def wording(self) -> Wording: ...

    @property
    def verifier(self) -> Verifier:
        """Decides training reward and evaluation alike. Judge model text through `workers.VerifierPool`."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes for macro-F1; empty where answers are no classes."""
        ...

    @property
    def comments(self) -> tuple[Comment, ...]:
        """The expert's rules for guided distillation; empty where there are none."""
        ...

    def splits(self) -> tuple[str, ...]:
        """Names of the splits; `train`, `validation` and `test` are always among them. No question is in two."""
        ...

    def rows(self, split: str) -> list[Question]:
        """The questions of a split in their own fixed order. Raises `KeyError` for a name that `splits` lacks."""
        ...
