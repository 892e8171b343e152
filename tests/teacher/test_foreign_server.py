"""An endpoint teacher against a server of others, `transformers serve`, with a model made here."""

from __future__ import annotations

import asyncio
import importlib.util
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from realm.sections import TeacherConfig
from realm.tasks.base import Question
from realm.teacher.base import Ask, Failure, Reply
from realm.teacher.endpoint import EndpointTeacher
from realm.teacher.prompts import TeacherWording
from tests.teacher.foreign import serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("fastapi") is None, reason="needs transformers[serving]"),
]


@pytest.fixture(scope="module")
def url(student: Path) -> Iterator[str]:
    with serving(student) as found:
        yield found


def teacher(url: str, model: str, max_tokens: int = 40) -> EndpointTeacher:
    given = {"kind": "openai", "model": model, "base_url": url, "api_key_env": None}
    settings = TeacherConfig.model_validate({**given, "sampling": {"max_tokens": max_tokens}})
    return EndpointTeacher("foreign", settings, 60.0, TeacherWording("", "{question} {instruction}", "answer"))


def ask(of: EndpointTeacher, text: str, samples: int = 1) -> list[Reply]:
    question = Question("q", text, "")

    async def every() -> list[Reply]:
        asks = [Ask(str(n), question, (), of.messages(question, ()), random.Random(n)) for n in range(samples)]
        try:
            return [reply for found in await asyncio.gather(*(of.ask([one]) for one in asks)) for reply in found]
        finally:
            await of.close()

    return asyncio.run(every())


def test_it_answers(url: str, student: Path) -> None:
    for reply in ask(teacher(url, str(student)), "3 plus 4", samples=4):
        assert reply.text.strip()
        assert reply.prompt_tokens and reply.completion_tokens and reply.completion_tokens <= 40
        assert reply.meta["finish_reason"] in ("stop", "length")


def test_a_cut_answer_is_marked(url: str, student: Path) -> None:
    reply = ask(teacher(url, str(student), max_tokens=2), "3 plus 4")[0]
    assert (reply.problem, reply.meta["finish_reason"]) == ("cut", "length")


def test_no_such_model(url: str, student: Path) -> None:
    with pytest.raises(Failure) as caught:
        ask(teacher(url, str(student.parent / "nothing")), "3 plus 4")
    assert "\n" not in caught.value.message
