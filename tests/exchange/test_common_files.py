"""Rows as the common data sets of this field have them: each is read, or refused with the mapping that reads it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from realm.errors import DataError
from realm.exchange.importing import Source, import_cots, import_file
from realm.exchange.shapes import Item, read_item
from realm.tasks.base import Question
from realm.tasks.jsonl import answer_text
from realm.tasks.workers import VerifierPool

Write = Callable[..., str]
Q = "What is 2 + 2?"
GOOD, BAD = "Two and two.\n\\boxed{4}", "Hm.\n\\boxed{5}"
HUMAN = {"from": "human", "value": Q}
GPT = {"from": "gpt", "value": GOOD}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def read(row: Any, **mapping: str) -> Item:
    return read_item(row, "f:1", mapping, answer_text)


@pytest.fixture
def pool() -> Iterator[VerifierPool]:
    with VerifierPool("number") as pool:
        yield pool


OPEN_R1 = {
    "problem": Q,
    "solution": "It is 4.",
    "answer": "4",
    "problem_type": "Algebra",
    "source": "olympiads",
    "uuid": "u",
    "generations": [GOOD, BAD],
    "correctness_math_verify": [True, False],
    "correctness_llama": None,
    "finish_reasons": None,
    "messages": [user(Q), assistant(GOOD)],
}
NUMINA = {"source": "olympiads", "problem": Q, "solution": GOOD, "messages": [user(Q), assistant(GOOD)]}
SOLUTION = {"problem": Q, "answer": "4", "solution": GOOD}
S1K = {"question": Q, "solution": "4", "cot_type": "math", "deepseek_thinking_trajectory": "Hm." * 9,
       "deepseek_attempt": "So \\boxed{4}, as four is two and two."}  # fmt: skip
HARNESS = {
    "doc_id": 0,
    "doc": {"question": Q, "answer": "So.\n#### 4"},
    "target": "So.\n#### 4",
    "arguments": {"gen_args_0": {"arg_0": f"Q: {Q}\nA:", "arg_1": {}}},
    "resps": [[GOOD]],
    "filtered_resps": ["4"],
    "filter": "strict-match",
    "metrics": ["exact_match"],
    "exact_match": 1.0,
}


@pytest.mark.parametrize(
    ("row", "mapping", "gold", "cots", "teacher"),
    [
        # Lists of generations, with their flags; the conversation beside them is one of them.
        (OPEN_R1, {}, "4", [(GOOD, 1), (BAD, 0)], ""),
        (OPEN_R1 | {"generations": [None, BAD]}, {}, "4", [(BAD, 0)], ""),
        (OPEN_R1 | {"generations": None}, {}, "4", [], ""),
        (OPEN_R1, {"messages": "messages"}, "4", [(GOOD, None)], ""),
        (OPEN_R1, {"text": "solution"}, "4", [("It is 4.", None)], ""),
        # `problem` and `source` are the question's, not the CoT's.
        (NUMINA, {}, "", [(GOOD, None)], ""),
        (NUMINA, {"answer": "messages"}, "4", [(GOOD, None)], ""),
        (NUMINA, {"question": "problem", "source": "source"}, "", [(GOOD, None)], "olympiads"),
        (SOLUTION, {"text": "solution"}, "4", [(GOOD, None)], ""),
        ({"system": "s", "conversations": [HUMAN, GPT]}, {"answer": "conversations"}, "4", [(GOOD, None)], ""),
        ({"conversations": [HUMAN, GPT], "question": Q, "source": "x", "id": 7}, {}, "", [(GOOD, None)], ""),
        (
            {"problem": Q, "generated_solution": GOOD, "expected_answer": "4", "generation_model": "m"},
            *({}, "4", [(GOOD, None)], "m"),
        ),
        ({"query": Q, "response": GOOD, "type": "x"}, {"answer": "response"}, "4", [(GOOD, None)], ""),
        ({"question": Q, "answer": "#### 4"}, {"text": "answer", "answer": "answer"}, "4", [("#### 4", None)], ""),
        (
            S1K,
            {"text": "deepseek_thinking_trajectory+deepseek_attempt", "answer": "solution"},
            *("4", [(f"{S1K['deepseek_thinking_trajectory']}\n\n{S1K['deepseek_attempt']}", None)], ""),
        ),
        # Evaluations: one row a model, or one a document.
        (
            {"question": Q, "answer": "4", "output": [GOOD], "generator": "m", "chat_history": [Q]},
            *({}, "4", [(GOOD, None)], "m"),
        ),
        (HARNESS, {}, "4", [(GOOD, 1)], ""),
        (HARNESS | {"resps": [[GOOD, BAD]]}, {}, "4", [(GOOD, None), (BAD, None)], ""),
        (HARNESS | {"doc": {"problem": Q}, "target": 4}, {}, "4", [(GOOD, 1)], ""),
        (HARNESS | {"doc": {"ctx": Q}}, {"question": "doc.ctx"}, "4", [(GOOD, 1)], ""),
        # Completions as an endpoint sends them, and prompts that are conversations.
        (
            {"question": Q, "answer": "4", "choices": [{"message": assistant(GOOD)}]},
            *({"text": "choices.*.message.content"}, "4", [(GOOD, None)], ""),
        ),
        (
            {"prompt": [user(Q)], "completion": [assistant(GOOD)], "answer": "4"},
            *({"question": "prompt.-1.content", "text": "completion.-1.content"}, "4", [(GOOD, None)], ""),
        ),
    ],
)  # fmt: skip
def test_rows_of_common_files(
    row: dict[str, Any], mapping: dict[str, str], gold: str, cots: list[tuple[str, int | None]], teacher: str
) -> None:
    item = read(row, **mapping)
    assert (item.question, item.gold) == (Q, gold)
    assert [(entry.cot.text, entry.flag) for entry in item.entries] == cots
    assert {entry.cot.teacher for entry in item.entries} <= {teacher}
    assert all(entry.cot.problem in ("", "no_answer") for entry in item.entries)


@pytest.mark.parametrize(
    ("row", "question", "text"),
    [
        ({"instruction": "Add.", "input": "2 and 2", "output": GOOD}, "Add.\n\n2 and 2", GOOD),
        ({"instruction": Q, "input": "", "output": GOOD}, Q, GOOD),
        ({"instruction": Q, "input": None, "output": GOOD}, Q, GOOD),
        ({"instruction": Q, "output": GOOD}, Q, GOOD),
        ({"instruction": "Add.", "input": "2 and 2", "response": GOOD}, "Add.\n\n2 and 2", GOOD),
        ({"instruction": "Be kind.", "question": Q, "response": GOOD}, Q, GOOD),
    ],
)
def test_an_instruction_and_its_input_are_one_question(row: dict[str, Any], question: str, text: str) -> None:
    item = read(row)
    assert (item.question, item.entries[0].cot.text) == (question, text)


@pytest.mark.parametrize(
    ("row", "mapping", "question"),
    [
        ({"a": "x", "b": "y"}, "a+b", "x\n\ny"),
        ({"a": "x", "b": "y"}, "b + a", "y\n\nx"),
        ({"a": {"b": "x"}, "c": 3}, "a.b+c", "x\n\n3"),
        ({"a": "x", "b": " "}, "a+b", "x"),
        ({"a": "x"}, "a+b", "x"),
        ({"a+b": "z", "a": "x", "b": "y"}, "a+b", "z"),
        ({"a": "x", "facts": ["one", "two"]}, "facts+a", "one\ntwo\n\nx"),
        ({"a": "x", "options": ["red", "blue"]}, "a+options", "x\n\nA. red\nB. blue"),
        ({"a": "x", "options": ["A) red", "B) blue"]}, "a+options", "x\n\nA) red\nB) blue"),
        ({"a": "x", "choices": {"A": "red", "B": "blue"}}, "a+choices", "x\n\nA. red\nB. blue"),
        ({"a": "x", "choices": {"text": ["red", "blue"]}}, "a+choices.text", "x\n\nA. red\nB. blue"),
    ],
)
def test_keys_are_joined_by_the_mapping(row: dict[str, Any], mapping: str, question: str) -> None:
    item = read({**row, "response": GOOD}, question=mapping)
    assert item.question == question
    # What is joined is not kept once more.
    assert mapping in row or not json.loads(item.entries[0].cot.meta or "{}").get("a")


@pytest.mark.parametrize(
    ("row", "mapping", "message"),
    [
        (SOLUTION, {"question": "problem", "text": "answer.*"}, "expected a list under `answer`, found str"),
        (S1K, {}, r"may be bank.mapping.text=deepseek_attempt or bank.mapping.text=deepseek_think.*a\+b joins"),
        (
            {"question": Q, "reasoning": "Hm.", "response": GOOD},
            *({}, r"`reasoning` and `response` could each be the CoT\. .*mapping.text=reasoning\+response\."),
        ),
        (
            {"instruction": "Answer.", "query": Q, "response": GOOD},
            *({}, r"`instruction` and `query` could each be the question\. .*mapping.question=instruction\+query\."),
        ),
        (
            {"question": Q, "choices": ["red", "blue"], "response": GOOD},
            *({}, r"does not show what there is .*under `choices`\. .*mapping.question=question\+choices, or"),
        ),
        (
            {"question": Q, "choices": {"text": ["red", "blue"], "label": ["A", "B"]}, "response": GOOD},
            *({}, r"mapping.question=question\+choices\.text, or leave it out: bank.mapping.question=question\."),
        ),
        ({"question": Q, "response": GOOD, "label": "yes"}, {}, r"could be the gold or .*mapping.answer=label or"),
        ({"question": Q, "text": GOOD, "gold": ["4", "four"]}, {}, r"found a list of 2\. .*mapping.answer=gold\.0\."),
        ({"question": Q, "response": GOOD, "gold": {"value": 4}}, {}, r"found dict\. .*mapping.answer=gold\.value\."),
        ({"question": Q, "response": {"content": GOOD}}, {}, r"dict\. .*mapping.text=response\.content\."),
        ({"question": Q, "text": [GOOD, BAD]}, {}, r"found list\. .*mapping.text=text\.\*\."),
        ({"prompt": [user(Q)], "response": GOOD}, {}, r"found list\. .*mapping.question=prompt\.-1\.content\."),
        (HARNESS | {"resps": [[["-1.5", "False"]]]}, {}, "only tasks that generate text have CoTs"),
        (HARNESS | {"doc": {"ctx": Q}}, {}, r"found are ctx\. .*doc\.ctx, or .*=arguments\.gen_args_0\.arg_0\."),
        ({"question": [{}], "b": "x", "response": GOOD}, {"question": "question+b"}, "`question` to be a text"),
        ({"question": Q, "response": GOOD, "correct": [True, False]}, {}, "true or false, found a list of 2"),
        (
            {"question": f"{Q} A. red B. blue", "choices": ["A. red", "B. blue"], "answer": 1, "response": GOOD},
            {},
            r"`answer`, 1, may be the number of one of the 2 choices.*bank\.mapping\.answer=answer\.",
        ),
    ],
)  # fmt: skip
def test_what_is_not_sure_is_refused_with_the_mapping(row: Any, mapping: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=f"f:1: .*{message}"):
        read(row, **mapping)


@pytest.mark.parametrize(
    ("row", "mapping"),
    [
        ({"question": Q, "choices": ["red", "blue"], "response": GOOD}, {"question": "question"}),
        ({"question": f"{Q} red or blue", "choices": ["red", "blue"], "response": GOOD}, {}),
        ({"question": Q, "choices": [{"message": "x"}], "response": GOOD}, {}),
        ({"question": Q, "text": GOOD, "reasoning": "kept aside"}, {}),
        ({"question": Q, "response": GOOD, "reasoning": None}, {}),
        ({"question": Q, "response": GOOD, "prompt": "You are"}, {}),
        ({"question": Q, "response": GOOD, "problem": "said otherwise"}, {}),
        ({"question": Q, "response": GOOD, "label": "algebra"}, {"correct": "none"}),
        ({"question": Q, "response": GOOD, "label": "yes", "gold": "4"}, {}),
        ({"question": f"{Q} 1 or 2?", "choices": ["1", "2"], "answer": 1, "response": GOOD}, {}),
        ({"question": f"{Q} a, b?", "choices": ["a", "b"], "answer": 1, "response": GOOD}, {"answer": "answer"}),
        ({"question": f"{Q} a, b?", "choices": ["a", "b"], "answer": 12, "response": GOOD}, {}),
    ],
)
def test_what_is_sure_is_read(row: dict[str, Any], mapping: dict[str, str]) -> None:
    assert read(row, **mapping).entries[0].cot.text == GOOD


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        *(
            (value, 1)
            for value in (True, 1, 1.0, "1", "1.0", "true", "True", " TRUE ", "yes", "correct", "right", [True])
        ),
        *((value, 0) for value in (False, 0, 0.0, "0", "false", "No", "incorrect", "wrong", ["no"])),
        *((value, None) for value in (None, math.nan, "")),
    ],
)
def test_labels_of_other_types(given: Any, flag: int | None) -> None:
    row = {"question": Q, "response": GOOD, "is_correct": given}
    assert read(row).entries[0].flag == flag


@pytest.mark.parametrize("given", [2, 0.5, "maybe", "2", "A", [], [True, True], {}, -1])
def test_labels_of_wrong_types_are_refused_by_name(given: Any) -> None:
    with pytest.raises(DataError, match=r"`correct` to be true or false.*read from `is_correct`.*mapping.correct=none"):
        read({"question": Q, "response": GOOD, "is_correct": given})


THREE = [user("hi"), assistant("ho"), user("2 + 2?"), assistant(GOOD)]


@pytest.mark.parametrize(
    ("messages", "mapping", "question", "left"),
    [
        # Two messages of the user in a row are one turn.
        ([user("Given 2."), user("Double it.")], {}, "Given 2.\n\nDouble it.", None),
        ([{"role": "system", "content": "s"}, user(Q)], {}, Q, [{"role": "system", "content": "s"}, {}, {}]),
        (THREE[:3], {"question": "messages"}, "User: hi\n\nAssistant: ho\n\nUser: 2 + 2?", None),
        (THREE[:3], {"question": "messages.2.content"}, "2 + 2?", [*THREE[:3], {}]),
        (THREE[:3], {"question": "problem"}, "P", [*THREE[:3], {}]),
    ],
)
def test_conversations_of_several_turns(
    messages: list[Any], mapping: dict[str, str], question: str, left: list[Any] | None
) -> None:
    item = read({"messages": [*messages, assistant(GOOD)], "problem": "P"}, **mapping)
    (entry,) = item.entries
    assert (item.question, entry.cot.text, entry.cot.answer) == (question, GOOD, "4")
    assert json.loads(entry.cot.meta or "{}").get("messages") == left


def test_which_turn_is_the_question_is_not_guessed() -> None:
    with pytest.raises(
        DataError,
        match=r"2 turns of the user.*mapping.question=messages\), .*question=messages\.2\.content\), .*bad_rows=skip",
    ):
        read({"messages": THREE, "problem": "P"})
    with pytest.raises(DataError, match=r"mapping.question=conversations\.2\.value"):
        read({"conversations": [HUMAN, GPT, HUMAN, GPT]})
    # What follows the last answer is kept aside.
    item = read({"messages": [user(Q), assistant(GOOD), user("Thanks!")]})
    assert json.loads(item.entries[0].cot.meta) == {"messages": [{}, {}, user("Thanks!")]}


def test_a_null_cot_is_left_out_and_counted_the_others_keep_their_labels(
    write: Write, pool: VerifierPool, tmp_path: Path
) -> None:
    rows = [
        OPEN_R1 | {"generations": [None, BAD, GOOD], "correctness_math_verify": [None, False, True]},
        {"question": "Other?", "answer": "5", "generations": [BAD], "correctness_math_verify": [True]},
        {"question": "Other?", "answer": "5", "completion": None},
        {"question": "Cots?", "answer": "5", "cots": [None, {"text": None}, {"text": BAD}]},
    ]
    found = import_file(Source(Path(write(rows)), {}), tmp_path / "bank", pool)
    assert (found["cots"], found["nulls"], found["info"]["null_cots"]) == (4, 4, 4)
    assert found["info"]["agreement"] == {"agree": 3, "disagree": 0, "unreadable": 0, "failed": 0}


def test_the_answers_of_a_document_are_taken_once_whatever_filters_there_are(
    write: Write, pool: VerifierPool, tmp_path: Path
) -> None:
    rows = [HARNESS | {"filter": name, "exact_match": value} for name, value in (("strict", 1.0), ("flexible", 0.0))]
    found = import_file(Source(Path(write(rows)), {}), tmp_path / "bank", pool)
    assert (found["cots"], found["filtered"]) == (1, 1)
    assert found["info"]["agreement"]["agree"] == 1
    # Two models in one file are two answers.
    twice, _ = import_cots(write([*rows, *rows], "twice.jsonl"), pool)
    assert len(twice) == 2


def test_what_was_read_as_what_is_told(write: Write, pool: VerifierPool, tmp_path: Path) -> None:
    found = import_file(Source(Path(write([OPEN_R1])), {}), tmp_path / "bank", pool)
    ((reading, others),) = found["readings"]
    assert reading == (
        ("question", "problem"),
        ("gold", "answer"),
        ("CoT", "generations.*"),
        ("correct", "correctness_math_verify.*"),
    )
    assert others == ["solution", "problem_type", "source", "uuid", "correctness_llama", "finish_reasons", "messages"]
    own = {"question": Q, "answer": "4", "cots": [{"text": GOOD}]}
    assert import_file(Source(Path(write([own])), {}), tmp_path / "own", pool)["readings"] == []


def test_a_row_without_gold_says_how_to_name_it(write: Write, pool: VerifierPool) -> None:
    with pytest.raises(
        DataError, match=r"mapping.answer=…; where the CoT itself states it, .*answer=response\), .*skip"
    ):
        import_cots(write([{"query": Q, "response": GOOD}]), pool)


def test_an_id_alone_is_a_question_only_where_the_task_has_it(write: Write, pool: VerifierPool) -> None:
    path = write([{"id": "q", "answer": "4", "output": [GOOD]}])
    with pytest.raises(DataError, match=r"expected the text of the question 'q', .*mapping.question=…"):
        import_cots(path, pool)
    bank, _ = import_cots(path, pool, known=[Question("q", Q, "4")])
    assert bank.questions["q"].question == Q


def test_columns_of_every_type(tmp_path: Path, pool: VerifierPool) -> None:
    """NaN, decimals and times of tables: where they are needed they are read, elsewhere they are no trouble."""
    import pyarrow
    import pyarrow.parquet

    columns = {
        "problem": pyarrow.array([Q, "2 + 3?", "3 + 3?"], pyarrow.large_string()),
        "answer": pyarrow.array([Decimal("4.00"), Decimal(5), Decimal(6)], pyarrow.decimal128(8, 2)),
        "generations": pyarrow.array([[GOOD, None], [BAD], None], pyarrow.large_list(pyarrow.string())),
        "correctness": [[True, None], [True], None],
        "generator": pyarrow.array(["m", "m", None]).dictionary_encode(),
        "kind": [math.nan] * 3,
        "id": [1.0, 2.0, math.nan],
        "score": [math.nan, 1.0, math.inf],
        "nested": [{"a": [math.nan], "b": Decimal(1)}, None, None],
        "at": pyarrow.array([1, 2**62, None], pyarrow.timestamp("ns")),
        "far": pyarrow.array([2**60, 1, None], pyarrow.timestamp("us", "UTC")),
        "took": pyarrow.array([1, 2, None], pyarrow.duration("ns")),
        "bytes": [b"a", b"\xff", None],
        "map": pyarrow.array([[("k", math.nan)], None, None], pyarrow.map_(pyarrow.string(), pyarrow.float64())),
        "none": pyarrow.nulls(3),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "f.parquet")
    bank, agreement = import_cots(tmp_path / "f.parquet", pool)
    assert [(cot.question_id, cot.teacher, cot.label, cot.answer) for cot in bank.all()] == [
        ("1", "m", 1, "4"),
        ("2", "m", 1, "5"),
    ]
    assert [(question.answer, question.kind) for question in bank.questions.values()][:2] == [
        ("4.00", ""),
        ("5.00", ""),
    ]
    assert agreement["agree"] == 2
    meta = json.loads(bank.all()[0].meta)
    assert meta["row"]["nested"] == {"a": [None], "b": "1"} and meta["row"]["map"] == [["k", None]]
    bank.save(tmp_path / "bank")


def test_choices_as_arc_has_them_are_joined_to_the_question() -> None:
    row = {"question": "Which?", "choices": {"text": ["ice", "fire"], "label": ["A", "B"]}, "answer": "B", "text": "B."}
    for place in ("question+choices", "question+choices.text"):
        item = read_item(row, "x:1", {"question": place}, answer_text)
        assert item.question == "Which?\n\nA. ice\nB. fire"
