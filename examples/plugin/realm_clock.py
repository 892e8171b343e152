"""Hours on the face of a clock for realm: verifier, teacher, selection, schedule, step, weigh and recipe."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any, Literal

from realm.method.routes import Route, Selection
from realm.method.schedule import Schedule
from realm.recipes import realm_r1
from realm.recipes.stage import Recipe
from realm.tasks.base import Comment, Question
from realm.tasks.verify import UnreadableError
from realm.teacher.base import Ask, Reply, Wanted
from realm.traces.base import Given, Tokenized, Trace


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


def dusk(tau: float, schedule: Schedule) -> float:
    """p falls fast at first, and is `fade.p_end` from `fade.fade_end` on."""
    left = max(0.0, 1 - tau / schedule.fade_end) ** 2
    return left * schedule.p_start + (1 - left) * schedule.p_end


def short(traces: Sequence[Trace], given: Given, *, most: int = 80) -> list[Trace]:
    """The traces of at most so many characters."""
    return [trace for trace in traces if len(trace.cot.text) <= most]


def hours(rows: Sequence[Tokenized], given: Given, *, weight: float = 2.0) -> list[list[float]]:
    """Tokens that hold a digit count so much, all others 1."""
    read = given.tokenizer.convert_ids_to_tokens
    return [[weight if re.search(r"\d", token) else 1.0 for token in read(row.completion)] for row in rows]


BRIEF = Recipe("brief", realm_r1.RECIPE.stages, {"fade.fade_end": 0.5})
