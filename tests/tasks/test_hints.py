"""The wording of a task by its verifier: what is told of the answer's form, and examples that heed it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from transformers import PreTrainedTokenizerBase

from realm.config import Config
from realm.method.completion import parse
from realm.method.prompt import DEFAULT_WORDING, EXAMPLES, Tags, messages
from realm.student.prompts import make_wording
from realm.tasks.hints import answer_hint, hinted_wording
from realm.tasks.jsonl import JsonlTask
from realm.tasks.verify import ByKind, Verifier, judge, verifier
from tests.tiny import tiny_tokenizer

KINDS = '{"default": "choice", "sum": "number"}'


class Strange:
    """A tokenizer that splits every tag, as those of all pre-trained models do."""

    def __init__(self) -> None:
        self._real = tiny_tokenizer()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __call__(self, text: str, **more: Any) -> dict[str, list[int]]:
        return {"input_ids": [1] * len(text)}


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("number", ()),
        ("math", ()),
        ("python", ()),
        ("choice", ("yes", "no")),
        ("choice", ("A", "B", "C", "D")),
        ("choice", ("</answer> not so", "a & b", "1.5 <b>")),
        (KINDS, ("yes", "no")),
    ],
)
def test_examples_have_answers_of_the_form_that_they_are_told(name: str, choices: Sequence[str]) -> None:
    made, hint = verifier(name, choices), answer_hint(name, choices)
    task = JsonlTask("t", hinted_wording(name, choices), made, tuple(choices), {})
    wording = make_wording(Config(), task, cast(PreTrainedTokenizerBase, Strange()))
    sent = messages("How?", (), wording, Tags())
    asked, answers = [one for one in sent if one["role"] == "user"], [one for one in sent if one["role"] == "assistant"]
    assert len(answers) == 3 and all(one["content"].endswith(f"\n\n{hint}") for one in asked)
    read: list[Verifier] = [*made.verifiers.values()] if isinstance(made, ByKind) else [made]
    told = []
    for one, example in zip(answers, wording.examples, strict=True):
        found = parse(one["content"], 0)
        assert found.format_ok and found.answer
        told.append(example.answer)
        assert any(judge(by, example.answer, example.answer).correct for by in read), example
    assert name != "choice" or {*told} == {choices[0], choices[-1]}
    assert name != KINDS or told == ["10", "5", "no"]


def test_any_form_is_shown_by_words_too() -> None:
    assert hinted_wording("exact") == DEFAULT_WORDING == hinted_wording('{"default": "exact", "a": "number"}')
    task = JsonlTask("t", hinted_wording("exact"), verifier("exact"), (), {})
    assert make_wording(Config(), task, cast(PreTrainedTokenizerBase, Strange())).examples == EXAMPLES
    assert hinted_wording("choice").examples == (), "of a bank that does not say which"
