"""Hours on the face of a clock: a verifier, a teacher, a selection of routes and a recipe for realm."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any, Literal

from realm.method.routes import Route, Selection
from realm.recipes import realm_r1
from realm.recipes.stage import Recipe
from realm.tasks.base import Comment, Question
from realm.tasks.verify import UnreadableError
from realm.teacher.base import Ask, Reply, Wanted


class Clock:
    """Equal hours: 15, 3 and 03 are the same place of the hand."""

    name = "clock"  # as `task.verifier` has it: the processes that judge find it by this name

    def __call__(self, answer: str, gold: str, question: str = "") -> bool:
        return self.key(answer) == self.key(gold)

    def key(self, answer: str) -> str:
        if not answer.strip().isdecimal():
            raise UnreadableError("no hour")
        return str(int(answer) % 12)


def clock(choices: Sequence[str]) -> Clock:
    return Clock()


class Clockmaker:
    """A teacher that needs no model: it adds, and every third time is an hour late."""

    batch, concurrent = 16, False
    costs: Literal["nothing"] = "nothing"
    parameters: Any = None

    def __init__(self, wanted: Wanted) -> None:
        self.name = wanted.name

    def messages(self, question: Question, comments: Sequence[Comment]) -> list[str]:
        return [question.question]

    async def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        return [self._answer(ask) for ask in asks]

    def _answer(self, ask: Ask) -> Reply:
        later, now = map(int, re.findall(r"\d+", ask.question.question))
        # `ask.source` is the only source of chance: the same sample is the same on every try and every machine.
        hour = (now + later - 1) % 12 + 1
        answer = str(hour if ask.source.random() < 2 / 3 else hour % 12 + 1)
        return Reply(f"{now} + {later} = {now + later}, so the hand is at {answer}.", answer)

    async def close(self) -> None:
        pass


def shortest(routes: Sequence[Route], k: int, rng: random.Random, selection: Selection) -> list[Route]:
    """The k shortest routes, in an order by lot: a length that came first would tell something."""
    return rng.sample(sorted(routes, key=lambda route: len(route.text))[:k], k)


BRIEF = Recipe("brief", realm_r1.stages, {"fade.fade_end": 0.5})
