"""A bank to a `datasets.Dataset` and back."""

from __future__ import annotations

from typing import Any

import pytest
from datasets import Dataset

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.errors import ConfigError, DataError
from realm.tasks.base import Question

QUESTIONS = [
    Question("q1", "1+1?", "2", kind="sum", tags=("a", "b")),
    Question("q2", "lone \ud800?", "3", split="test"),
]
COTS = [
    CoT("q1", "It is 2.", "2", 1, "t", guided=True, comments=("abc",), completion_tokens=4, seconds=1.5, meta="{}"),
    CoT("q1", "It is 3.", "3", 0, "t", sample=1),
    CoT("q2", "torn \udfff", "\udfff", None, "t", reason="unreadable"),
]


def bank() -> Bank:
    made = Bank(questions=QUESTIONS)
    made.append(COTS)
    return made


def test_there_and_back() -> None:
    again = Bank.from_dataset(bank().to_dataset())
    assert list(again) == COTS
    assert again.questions == {one.id: one for one in QUESTIONS}


def test_plain_columns_are_judged() -> None:
    rows = Dataset.from_list(
        [
            {"question": "1+1?", "gold": "2", "text": "One and one. The answer is 2."},
            {"question": "1+1?", "gold": "2", "text": "So <answer>3</answer>"},
            {"question": "2+2?", "gold": "4", "text": "I cannot say"},
        ]
    )
    found = Bank.from_dataset(rows, "number")
    assert [(cot.answer, cot.label, cot.problem) for cot in found][:2] == [("2", 1, ""), ("3", 0, "")]
    assert [len(found.cots(name)) for name in found.questions] == [2, 1]
    assert not found.all()[2].usable
    assert {cot.label for cot in Bank.from_dataset(rows)} == {None}


def test_a_label_that_is_there_stays_where_nobody_judges() -> None:
    row = {"question": "1+1?", "gold": "2", "text": "x", "answer": "2.0", "label": 0, "kind": "sum"}
    rows = Dataset.from_list([row])
    assert [cot.label for cot in Bank.from_dataset(rows)] == [0]
    assert [cot.label for cot in Bank.from_dataset(rows, '{"default": "exact", "sum": "number"}')] == [1]


@pytest.mark.parametrize(
    ("first", "other", "told"),
    [
        ({}, {"gold": "11"}, "has the gold answer '11' here and '2' there, in a row before it"),
        (
            {"question_id": "0"},
            {"question_id": "0", "question": "2+2?"},
            r"has the question '2\+2\?' here and '1\+1\?'",
        ),
    ],
)
def test_rows_of_one_question_ask_the_same(first: dict[str, str], other: dict[str, str], told: str) -> None:
    """As where two data sets, each with ids from 0, were put together."""
    row = {"question": "1+1?", "gold": "2", "text": "It is 2.", "answer": "2"}
    with pytest.raises(DataError, match=rf"row 1: the question '\w+' {told}"):
        Bank.from_dataset(Dataset.from_list([row | first, row | other]), "number")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"question": "x", "text": "y"}, "gold is missing"),
        ({"question": " ", "gold": "1", "text": "y"}, "row 0: expected a text under `question`"),
        ({"question": "x", "gold": "1", "text": "y", "answer": "1", "label": 7}, "row 0: `label` must be 0, 1 or null"),
        ({"question": "x", "gold": "1", "text": "y", "problem": "odd"}, "row 0: `problem` must be one of"),
    ],
)
def test_what_is_wrong_is_said(row: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        Bank.from_dataset(Dataset.from_list([row]))


def test_equal_names_and_unknown_verifiers_are_refused() -> None:
    one = {"question": "x", "gold": "1", "text": "y", "id": "same"}
    with pytest.raises(ValueError, match="'same' is in the bank already"):
        Bank.from_dataset(Dataset.from_list([one, one]))
    with pytest.raises(ConfigError, match="nmber"):
        Bank.from_dataset(Dataset.from_list([one]), "nmber")
