"""What an endpoint does without a word is told by counts and texts, once, and never of one that does nothing of it."""

from __future__ import annotations

from typing import Any

import pytest

from realm.sections import SamplingConfig
from realm.teacher.base import Reply
from realm.teacher.doubts import COMPARED, Doubts

LONG = "I take the one and then the other of the two, and put them together until nothing is left of either. " * 2


def prompt(text: str = "What is 2 + 2?") -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def doubts(context: int | None = None, **sampling: Any) -> Doubts:
    found = Doubts("teachers.big", SamplingConfig.model_validate({"max_tokens": 1000, **sampling}))
    found.context = context
    return found


def said(of: Doubts, messages: Any, *replies: Reply) -> str:
    return "\n".join(of.about(messages, replies))


def cut(tokens: int | None) -> Reply:
    return Reply("I begin", "", "cut", prompt_tokens=200, completion_tokens=tokens)


def test_prompt_and_answer_share_a_context() -> None:
    whole = Reply("Final answer: 4", "4", prompt_tokens=1100, completion_tokens=5)
    assert said(doubts(2100), prompt(), whole) == said(doubts(), prompt(), whole) == ""
    of = doubts(2099)
    assert "context of 2099 tokens; a prompt of about 1100 and max_tokens 1000 need more" in said(of, prompt(), whole)
    assert said(of, prompt(), whole) == ""


def test_a_prompt_that_was_cut_is_not_as_short_as_it_is_counted() -> None:
    counted = Reply("Final answer: 4", "4", prompt_tokens=2050, completion_tokens=5)  # half of 4096, as Ollama leaves
    assert said(doubts(4096), prompt("a long rule " * 700), counted) == ""
    assert "a prompt of about 4500 " in said(doubts(4096), prompt("a long rule " * 1500), counted)


@pytest.mark.parametrize("tokens", [None, 990, 1000, 5000])
def test_what_max_tokens_cut_was_not_cut_by_the_context(tokens: int | None) -> None:
    assert said(doubts(), prompt(), cut(tokens)) == ""


def test_what_was_cut_before_max_tokens_was_cut_by_something_else() -> None:
    of = doubts()
    assert said(of, prompt(), cut(500)).startswith("teachers.big: an answer was cut after 500 tokens, by the endpoint")
    assert said(of, prompt(), cut(500)) == ""
    # The tokens of one request are shared out evenly: one of two that is cut may have had all that it may have.
    assert said(doubts(), prompt(), cut(600), Reply("Final answer: 4", "4", completion_tokens=600)) == ""
    assert said(doubts(), prompt(), cut(600), cut(600)) != ""


def several(text: str, prompts: int, each: int) -> list[tuple[Any, Reply]]:
    return [(prompt(str(n)), Reply(text, "4")) for n in range(prompts) for _ in range(each)]


def told(of: Doubts, *samples: tuple[Any, Reply]) -> list[str]:
    return [line for messages, reply in samples for line in of.about(messages, [reply])]


@pytest.mark.parametrize(("prompts", "each"), [(1, COMPARED + 9), (COMPARED + 9, 2)])
@pytest.mark.parametrize("temperature", [0.8, None])
def test_samples_that_are_all_one_are_told_of_once(prompts: int, each: int, temperature: float | None) -> None:
    (line,) = told(doubts(temperature=temperature), *several(LONG, prompts, each))
    assert f"word for word (all {COMPARED} that were compared)" in line and "no-cache" in line


def test_samples_that_differ_are_not() -> None:
    other = (prompt("0"), Reply(f"{LONG} Or so.", "4"))
    assert told(doubts(), *several(LONG, 1, COMPARED), other, *several(LONG, 9, 9)) == []
    assert told(doubts(), *several(LONG, 1000, 1), *several(LONG, 1000, 1)) == []  # one sample a prompt at first
    assert told(doubts(), *several("Final answer: 4", 9, 9)) == []  # of so short a text it is no wonder
    assert told(doubts(temperature=0), *several(LONG, 9, 9)) == []
