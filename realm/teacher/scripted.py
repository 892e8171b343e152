"""The desk's scripted teacher: a stand-in for a large model, free and exactly repeatable."""

from __future__ import annotations

import random
from collections.abc import Sequence

from realm.desk.book import habit_book
from realm.desk.clerk import write_cot
from realm.desk.task import DeskTask
from realm.tasks.base import Comment, Question
from realm.teacher.base import Sample


class ScriptedTeacher:
    """The clerk of `realm.desk.clerk` behind the teacher protocol; knows of the shop's book what comments state."""

    name = "scripted-clerk"

    def __init__(self, task: DeskTask) -> None:
        self.task = task
        self.habit = habit_book(task.seed)

    def ask(self, question: Question, comments: Sequence[Comment], source: random.Random) -> Sample:
        shown = frozenset(tag for comment in comments for tag in comment.tags)
        written = write_cot(
            self.task.case(question.id), book=self.task.book, habit=self.habit, shown=shown, source=source
        )
        return Sample(written.text, written.answer)
