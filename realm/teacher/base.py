"""The protocol of a teacher: something that answers a question with one chain of thought."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from realm.tasks.base import Comment, Question


@dataclass(frozen=True)
class Sample:
    """One sampled CoT: its text and its own final answer, not yet judged."""

    text: str
    answer: str


class Teacher(Protocol):
    """A source of CoTs."""

    name: str

    def ask(self, question: Question, comments: Sequence[Comment], source: random.Random) -> Sample:
        """Answer `question` once, the expert `comments` (perhaps none) in the prompt, `source` as only randomness."""
        ...
