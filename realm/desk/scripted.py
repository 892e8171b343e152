"""The desk's scripted teacher: a stand-in for a large model, free and exactly repeatable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from realm.desk.book import habit_book
from realm.desk.cases import tell
from realm.desk.clerk import write_cot, write_example
from realm.desk.task import DeskTask
from realm.errors import ConfigError
from realm.tasks.base import Comment, Question
from realm.teacher.base import Ask, Reply, Wanted
from realm.teacher.instructing import Mistake, Written


class ScriptedTeacher:
    """The clerk of `realm.desk.clerk` behind the teacher protocol; knows of the shop's book what comments state.

    Args:
        task: the desk whose questions it is asked.
        seed: of the run, part of what names a sample; the randomness itself comes with each `Ask`.
        name: of the teacher in the bank.
    """

    batch = 64
    concurrent = False
    costs: Literal["nothing"] = "nothing"

    def __init__(self, task: DeskTask, seed: int = 0, name: str = "scripted-clerk") -> None:
        self.name = name
        self.task = task
        self.habit = habit_book(task.seed)
        self.parameters = seed

    def messages(self, question: Question, comments: Sequence[Comment]) -> list[str]:
        """The ids of the comments: the clerk reads the case itself."""
        return [comment.id for comment in comments]

    async def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        return [self._answer(ask) for ask in asks]

    def _answer(self, ask: Ask) -> Reply:
        written = write_cot(
            self.task.case(ask.question.id), book=self.task.book, habit=self.habit, shown=_rules(ask), source=ask.source
        )
        return Reply(written.text, written.answer)

    async def close(self) -> None:
        pass


class ScriptedInstructor(ScriptedTeacher):
    """The same clerk as instructor: it is asked about a student's errors and writes examples.

    Args:
        mistakes: those that it is asked about, by their ids; the clerk reads the cases behind their questions.
        task, seed, name: as for `ScriptedTeacher`.
    """

    def __init__(
        self, mistakes: Mapping[str, Mistake], task: DeskTask, seed: int = 0, name: str = "scripted-clerk"
    ) -> None:
        super().__init__(task, seed, name)
        self.mistakes = mistakes

    def _answer(self, ask: Ask) -> Reply:
        mistake = self.mistakes[ask.question.id]
        case, written = write_example(
            self.task.case(mistake.question.id),
            response=mistake.response,
            right=mistake.right,
            book=self.task.book,
            habit=self.habit,
            shown=_rules(ask),
            fresh=self.task.fresh,
            source=ask.source,
        )
        return Reply(Written(tell(case), written.text, written.answer).reply(), written.answer)


def make_scripted(wanted: Wanted) -> ScriptedTeacher:
    """The kind `scripted`, or where there are mistakes the instructor; raises `ConfigError` off the desk."""
    name, task, seed, mistakes = wanted.name, wanted.task, wanted.config.run.seed, wanted.mistakes
    if not isinstance(task, DeskTask):
        raise ConfigError(
            f"teachers.{name}.kind: the scripted teacher only knows the task desk, found task.name {task.name}; "
            "fill in the section `teachers` with one of your own (kind: openai, model, base_url), or give bank.path a "
            "file or folder of CoTs instead."
        )
    return ScriptedTeacher(task, seed, name) if mistakes is None else ScriptedInstructor(mistakes, task, seed, name)


def _rules(ask: Ask) -> frozenset[str]:
    """The ids of the rules that the comments of an ask state."""
    return frozenset(tag for comment in ask.comments for tag in comment.tags)
