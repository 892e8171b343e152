"""Which comments a sample is shown: with probability ρ those that match, by tag, all, or by retrieval."""

from __future__ import annotations

import random
from typing import Any

import pytest

from realm.method.seeds import rng
from realm.sections import GuidanceConfig
from realm.tasks.base import Comment, Question
from realm.teacher.guidance import Guidance

COMMENTS = (
    Comment("bin", ("goods",), "Fragile goods go to bin seven."),
    Comment("half", ("money",), "A refund of opened goods is half the price."),
    Comment("late", ("money", "rare"), "A refund later than thirty days is refused."),
    Comment("odd", (), "!!"),
)


def guidance(comments: tuple[Comment, ...] = COMMENTS, **parts: Any) -> Guidance:
    return Guidance(comments, GuidanceConfig.model_validate({"probability": 1.0, **parts}))


def question(text: str = "", *tags: str) -> Question:
    return Question(text, text, "", tags=tags)


def ids(found: tuple[Comment, ...]) -> list[str]:
    return [comment.id for comment in found]


def test_by_tag() -> None:
    matching = guidance().matching
    assert ids(matching(question("", "money"))) == ["half", "late"]
    assert ids(matching(question("", "rare", "goods"))) == ["bin", "late"]
    assert ids(matching(question("refund"))) == []


def test_always() -> None:
    assert guidance(match="always").matching(question()) == COMMENTS


def test_retrieval_shows_the_best_that_share_a_word() -> None:
    def found(text: str, **parts: Any) -> list[str]:
        return ids(guidance(match="retrieval", **parts).matching(question(text)))

    assert found("Where do FRAGILE goods go?") == ["bin", "half"]
    assert found("Where do fragile goods go?", top=1) == ["bin"]
    assert found("What refund is there after forty days?") == ["late", "half"]
    assert found("rare") == ["late"]  # by its tag
    for nothing in ("", "the of a", "xylophone", "!!", "\ud800", "?" * 1000):
        assert found(nothing) == []


def test_retrieval_of_nothing() -> None:
    for comments in ((), (Comment("odd", (), "!!"),)):
        assert guidance(comments, match="retrieval").matching(question("some words here")) == ()


def test_equal_scores_keep_the_order_of_the_file() -> None:
    same = tuple(Comment(str(number), (), "refund rule") for number in range(20))
    assert ids(guidance(same, match="retrieval", top=5).matching(question("refund"))) == ["0", "1", "2", "3", "4"]


def test_the_index_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from realm.teacher import guidance as module

    built = []
    original = module._index
    monkeypatch.setattr(module, "_index", lambda comments: built.append(1) or original(comments))
    made = guidance(match="retrieval")
    for text in ("refund", "goods", "refund", "refund"):
        made.matching(question(text))
    assert built == [1]


def test_probability_is_per_sample_and_the_draw_comes_first() -> None:
    asked = question("", "money")
    for probability in (0.0, 0.3, 1.0):
        made = guidance(probability=probability)
        sources = [rng(0, "teacher", "t", "q", number) for number in range(600)]
        shown = [bool(made.shown(asked, source)) for source in sources]
        assert sum(shown) / 600 == pytest.approx(probability, abs=0.06)
        # One draw, whatever ρ is: the rest of the sample's stream is the same.
        for number, source in enumerate(sources[:20]):
            same = rng(0, "teacher", "t", "q", number)
            assert shown[number] == (same.random() < probability)
            assert source.random() == same.random()


def test_a_question_without_matching_comments_draws_too() -> None:
    source, other = random.Random(0), random.Random(0)
    assert guidance().shown(question(), source) == ()
    other.random()
    assert source.random() == other.random()
