"""A teacher without a network that behaves as it is told, a task of sums, and a collection with both."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.config import Config, load_config
from realm.method.prompt import Wording
from realm.sections import TeacherConfig
from realm.tasks.base import Comment, Question
from realm.tasks.verify import verifier
from realm.tasks.workers import VerifierPool
from realm.teacher.base import Ask, Failure, Reply
from realm.teacher.collect import bank_info, collect
from realm.teacher.guidance import Guidance
from realm.teacher.lanes import Tally
from realm.teacher.plan import Plan, Source

#: What a teacher does with an ask, of which this is the n-th request (from 1).
Behaviour = Callable[[Ask, int], Reply | Failure]


class Sums:
    """A task: question n asks for n + 1."""

    name = "sums"
    wording = Wording("You add.", "Question:", "Route {number}:", "Judge.", "Add.")
    verifier = verifier("number")
    labels: tuple[str, ...] = ()
    comments = (Comment("c1", ("sum",), "Carry the one."),)

    def __init__(self, count: int = 10) -> None:
        self.questions = [Question(f"q{n}", f"{n} + 1?", str(n + 1), tags=("sum",)) for n in range(count)]

    def splits(self) -> tuple[str, ...]:
        return ("train", "validation", "test")

    def rows(self, split: str) -> list[Question]:
        return self.questions if split == "train" else []


def right(ask: Ask, number: int = 1) -> Reply:
    return Reply(f"I add. {ask.question.answer}", ask.question.answer, "", 7, 5)


class FakeTeacher:
    """Answers as `behave` says; `asked` counts the requests for each key."""

    def __init__(
        self,
        behave: Behaviour = right,
        *,
        name: str = "fake",
        batch: int = 1,
        concurrent: bool = True,
        delay: float = 0,
        together: int = 1,
    ) -> None:
        self.together = together
        self.name, self.batch, self.concurrent, self.delay = name, batch, concurrent, delay
        self.costs: Literal["time", "money"] = "money"
        self.parameters: Any = {"temperature": 1}
        self.behave = behave
        self.asked: Counter[str] = Counter()
        self.order: list[str] = []
        self.calls: list[int] = []
        self.under_way = self.most = 0
        self.closed = False

    def messages(self, question: Question, comments: Sequence[Comment]) -> Any:
        return [{"role": "user", "content": " ".join([question.question, *(comment.text for comment in comments)])}]

    async def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        self.calls.append(len(asks))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.delay)
            replies = []
            for ask in asks:
                self.asked[ask.key] += 1
                self.order.append(ask.key)
                reply = self.behave(ask, self.asked[ask.key])
                if isinstance(reply, Failure):
                    raise reply
                replies.append(reply)
            return replies
        finally:
            self.under_way -= 1

    async def close(self) -> None:
        self.closed = True


def rows(path: Path) -> list[CoT]:
    """What is in the bank at `path`."""
    return list(BankFolder.open(path).scan())


PRICED = {"input": 1000.0, "output": 2000.0}


def settings(share: int = 1, max_tokens: int = 100, price: dict[str, float] | None = None) -> TeacherConfig:
    return TeacherConfig.model_validate(
        {
            "kind": "openai",
            "model": "m",
            "base_url": "http://there/v1",
            "share": share,
            "sampling": {"max_tokens": max_tokens},
            "price": price or {},
        }
    )


def make_config(*overrides: str) -> Config:
    return load_config(None, ["bank.samples=1", "routes.k=1", "guidance.probability=0", *overrides])


def plan_of(config: Config, task: Sums, teachers: dict[FakeTeacher, TeacherConfig]) -> Plan:
    sources = [Source(teacher, known) for teacher, known in teachers.items()]
    return Plan(sources, Guidance(task.comments, config.guidance), task.rows("train"), config.bank.samples, 0)


def gather(
    path: Path,
    teachers: FakeTeacher | dict[FakeTeacher, TeacherConfig],
    *overrides: str,
    task: Sums | None = None,
    **arguments: Any,
) -> Tally:
    """Collect into the bank at `path`, a new one or one that is there; backoffs take milliseconds."""
    config, task = make_config(*overrides), task or Sums()
    if isinstance(teachers, FakeTeacher):
        teachers = {teachers: settings()}
    there = (path / "bank.json").exists()
    folder = BankFolder.open(path) if there else BankFolder.create(path, bank_info(config, task))
    with VerifierPool("number") as pool:
        return collect(config, task, folder, pool, plan=plan_of(config, task, teachers), pause=0.001, **arguments)
