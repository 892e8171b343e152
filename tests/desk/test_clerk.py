"""The scripted teacher: right on the rules it is shown, systematically wrong on the others."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

import pytest

from realm.desk.book import UNCOMMENTED
from realm.desk.scripted import ScriptedTeacher
from realm.desk.task import DeskTask
from realm.method.seeds import rng
from realm.sections import GuidanceConfig
from realm.tasks.base import Comment, Question
from realm.teacher.base import Ask, Reply
from realm.teacher.guidance import Guidance


@pytest.fixture(scope="module")
def task() -> DeskTask:
    return DeskTask()


def ask(teacher: ScriptedTeacher, row: Question, comments: Sequence[Comment], source: random.Random) -> Reply:
    (reply,) = asyncio.run(teacher.ask([Ask("key", row, tuple(comments), None, source)]))
    return reply


def guidance(task: DeskTask, probability: float = 1.0) -> Guidance:
    return Guidance(task.comments, GuidanceConfig(probability=probability))


def accuracy(task: DeskTask, questions: list[Question], guided: bool, samples: int = 6) -> float:
    teacher = ScriptedTeacher(task)
    right = [
        task.verifier(
            ask(teacher, row, guidance(task).matching(row) if guided else (), rng(0, "clerk", row.id, number)).answer,
            row.answer,
        )
        for row in questions
        for number in range(samples)
    ]
    return sum(right) / len(right)


def test_guided_clerk_errs_by_slips_alone(task: DeskTask) -> None:
    assert 0.9 < accuracy(task, task.rows("test"), guided=True) < 1


def test_unguided_clerk_does_not_know_the_shop(task: DeskTask) -> None:
    assert accuracy(task, task.rows("test"), guided=False) < 0.45
    codes = [row for row in task.rows("test") if row.kind == "bin"]
    assert accuracy(task, codes, guided=False) < 0.02


def test_comments_do_not_help_where_none_states_the_rule(task: DeskTask) -> None:
    alone = [row for row in task.rows("uncommented") if set(row.tags) <= UNCOMMENTED]
    assert not any(guidance(task).matching(row) for row in alone)
    rows = task.rows("uncommented")
    assert accuracy(task, rows, guided=True) < 0.6


def test_unguided_errors_are_systematic(task: DeskTask) -> None:
    """Two wrong answers to one question about a code agree far more often than 480 codes would by chance."""
    teacher = ScriptedTeacher(task)
    agreeing = pairs = 0
    for row in task.rows("test"):
        if row.kind == "bin":
            answers = [ask(teacher, row, (), rng(1, row.id, number)).answer for number in range(6)]
            wrong = Counter(answer for answer in answers if answer != row.answer)
            total = wrong.total()
            agreeing += sum(n * (n - 1) for n in wrong.values())
            pairs += total * (total - 1)
    assert agreeing / pairs > 0.3


def test_right_answers_by_wrong_steps_occur(task: DeskTask) -> None:
    """A yes or no can be right although the rule cited is not the shop's."""
    teacher = ScriptedTeacher(task)
    found = 0
    for row in task.rows("test"):
        if row.kind == "accept":
            sample = ask(teacher, row, (), rng(2, row.id))
            days = task.book[f"window:{task.case(row.id).item}"]
            found += sample.answer == row.answer and f"has {days} days" not in sample.text
    assert found > 5


def test_guidance_probability_and_its_stream(task: DeskTask) -> None:
    row = next(row for row in task.rows("train") if row.kind == "bin")
    never, some, always = (guidance(task, probability) for probability in (0.0, 0.3, 1.0))
    shown = [bool(some.shown(row, rng(0, "guide", number))) for number in range(2000)]
    assert 0.26 < sum(shown) / len(shown) < 0.34
    assert not never.shown(row, rng(0))
    assert [comment.id for comment in always.shown(row, rng(0))] == list(row.tags)
    # ρ must not change what the sample goes on to draw.
    one, other = rng(7), rng(7)
    never.shown(row, one)
    always.shown(row, other)
    assert one.random() == other.random()
