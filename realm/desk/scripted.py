"""The desk's scripted teacher: a stand-in for a large model, free and exactly repeatable."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from realm.desk.book import habit_book, stated
from realm.desk.cases import read_case, tell
from realm.desk.clerk import criticise, write_cot, write_example, write_exercise
from realm.desk.task import DeskTask
from realm.errors import ConfigError
from realm.tasks.base import Comment, Question
from realm.teacher.base import Ask, Reply, Wanted
from realm.teacher.instructing import Flaw, Mistake, Passage, Topic, Written


class ScriptedTeacher:
    """The clerk of `realm.desk.clerk` behind the teacher protocol; knows of the shop's book what comments state.

    Args:
        task: the desk whose questions it is asked.
        seed: of the run, part of what names a sample; the randomness itself comes with each `Ask`.
        name: of the teacher in the bank.
        topics: what it is asked about instead (`realm.teacher.instructing`), by id; the clerk reads the cases behind a
            student's errors, and the rules that a passage states.
    """

    batch = 64
    concurrent = False
    costs: Literal["nothing"] = "nothing"

    def __init__(
        self,
        task: DeskTask,
        seed: int = 0,
        name: str = "scripted-clerk",
        topics: Mapping[str, Topic] | None = None,
    ) -> None:
        self.name, self.topics = name, topics
        self.task = task
        self.habit = habit_book(task.seed)
        self.parameters = seed

    def messages(self, question: Question, comments: Sequence[Comment]) -> list[str]:
        """The ids of the comments: the clerk reads the case itself."""
        return [comment.id for comment in comments]

    async def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        return [self._answer(ask) if self.topics is None else self._write(ask, self.topics) for ask in asks]

    def _answer(self, ask: Ask) -> Reply:
        case = read_case(ask.question.question)
        if case is None:  # what others have written
            return Reply("I cannot read this case.", "", "no_answer")
        written = write_cot(case, book=self.task.book, habit=self.habit, shown=_rules(ask), source=ask.source)
        return Reply(written.text, written.answer)

    async def close(self) -> None:
        pass

    def _write(self, ask: Ask, topics: Mapping[str, Topic]) -> Reply:
        topic, task = topics[ask.question.id], self.task
        how: Any = {"habit": self.habit, "source": ask.source}
        if isinstance(topic, Mistake):
            case = task.case(topic.question.id)
            how |= {"response": topic.response, "book": task.book, "shown": _rules(ask)}
            if isinstance(topic, Flaw):
                critique, written = criticise(case, **how)
                text = Written(critique, written.text, written.answer).reply("Critique")
                return Reply(text, written.answer)
            case, written = write_example(case, right=topic.right, fresh=task.fresh, **how)
        elif isinstance(topic, Passage) and (told := stated(topic.comment.text)):
            case, written = write_exercise(told, kinds=task.kinds, fresh=task.fresh, **how)
        else:
            return Reply("I know nothing to ask about that.", "", "no_answer")
        return Reply(Written(tell(case), written.text, written.answer).reply(), written.answer)


def make_scripted(wanted: Wanted) -> ScriptedTeacher:
    """The kind `scripted`; raises `ConfigError` off the desk."""
    name, task = wanted.name, wanted.task
    if not isinstance(task, DeskTask):
        raise ConfigError(
            f"teachers.{name}.kind: the scripted teacher only knows the task desk, found task.name {task.name}; "
            "fill in the section `teachers` with one of your own (kind: openai, model, base_url), or give bank.path a "
            "file or folder of CoTs instead."
        )
    return ScriptedTeacher(task, wanted.config.run.seed, name, wanted.topics)


def _rules(ask: Ask) -> frozenset[str]:
    """The ids of the rules that the comments of an ask state; their tags name them, or their words do."""
    return frozenset(rule for comment in ask.comments for rule in (*comment.tags, *_stated(comment.text)))


@functools.lru_cache(maxsize=1024)
def _stated(text: str) -> frozenset[str]:
    return frozenset(stated(text))
