"""A teacher of the tiny task that answers, writes exercises from passages and criticises, and can fail on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from realm.tasks.base import Comment, Question
from realm.teacher.base import Ask, Failure, Reply, Wanted
from realm.teacher.instructing import Flaw, Passage, Written
from tests.tiny import thinking

KIND = "tests.traces.author:Author"


class Author:
    """Passages are like `Sums of 3.`: it asks for a sum of it and a number that it draws.

    Asked for such a sum alone, it says otherwise where `doubted`; of flaws it knows those that are not `beyond` it.
    """

    batch = 2
    concurrent = False
    costs: Literal["time"] = "time"
    parameters = None
    #: What was answered, by every teacher since the last test; after so many it fails for good.
    answered: ClassVar[list[Ask]] = []
    most: ClassVar[int] = 10_000

    def __init__(self, wanted: Wanted) -> None:
        self.name, self.topics = wanted.name, wanted.topics or {}

    def messages(self, question: Question, comments: Sequence[Comment]) -> Any:
        return [{"role": "user", "content": "\n".join([question.question, *(one.text for one in comments)])}]

    async def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        if len(self.answered) + len(asks) > self.most:
            raise Failure("401", "no more", kind="fatal")
        self.answered.extend(asks)
        return [self.reply(ask) for ask in asks]

    def reply(self, ask: Ask) -> Reply:
        topic = self.topics.get(ask.question.id)
        if isinstance(topic, Passage):
            first = int(topic.comment.text.split()[-1].rstrip("."))
            made = total(f"{first} plus {ask.source.randrange(8)}")
            written = Written(made.question, thinking(made, made.answer), made.answer)
            return Reply(written.reply(), made.answer, "", 50, 10)
        if isinstance(topic, Flaw):
            made = total(topic.question.question)
            answer = flipped(made.answer) if beyond(made.question) else made.answer
            written = Written(f"not {topic.answer}", thinking(made, answer), answer)
            return Reply(written.reply("Critique"), answer, "", 50, 10)
        made = total(ask.question.question)
        answer = flipped(made.answer) if doubted(made.question) else made.answer
        return Reply(thinking(made, answer), answer, "", 50, 10)

    async def close(self) -> None:
        pass


def total(text: str) -> Question:
    """A question of that text, with its gold."""
    first, _, second = text.split()
    return Question("", text, str((int(first) + int(second)) % 2))


def flipped(answer: str) -> str:
    return str(int(answer) ^ 1)


def doubted(text: str) -> bool:
    return int(text.split()[-1]) % 3 == 0


def beyond(text: str) -> bool:
    return int(text.split()[0]) % 3 == 0
