"""The shapes of other people's files, each as one question with CoTs and nothing lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from realm.errors import ConfigError, DataError
from realm.exchange.shapes import Item, check_mapping, read_item
from realm.tasks.jsonl import answer_text


def read(row: Any, **mapping: str) -> Item:
    return read_item(row, "f:1", mapping, answer_text)


def meta(item: Item, number: int = 0) -> Any:
    text = item.entries[number].cot.meta
    return json.loads(text) if text else None


def test_a_question_with_cots() -> None:
    item = read(
        {
            "id": 7,
            "question": "Q?",
            "answer": 18,
            "kind": "sum",
            "tags": ["a"],
            "split": "test",
            "difficulty": 3,
            "cots": [
                {"text": "t", "answer": 18, "correct": True, "source": "m", "first_error_step": None, "score": 0.5},
                {"text": "u", "answer": "17", "correct": 0, "teacher": "n", "sample": 4, "id": "mine"},
            ],
        }
    )
    assert (item.id, item.question, item.gold, item.kind, item.tags, item.split) == (
        *("7", "Q?", "18", "sum", ("a",), "test"),
    )
    first, second = item.entries
    assert (first.cot.text, first.cot.answer, first.flag, first.cot.teacher, first.id) == ("t", "18", 1, "m", "")
    assert (second.cot.answer, second.flag, second.cot.teacher, second.sample, second.id) == ("17", 0, "n", 4, "mine")
    assert meta(item) == {"first_error_step": None, "score": 0.5, "row": {"difficulty": 3}}
    assert meta(item, 1) == {"row": {"difficulty": 3}}


@pytest.mark.parametrize(
    ("row", "question", "gold", "text", "answer", "flag", "teacher", "left"),
    [
        (
            {"question": "Q?", "gold": "1", "text": "t", "answer": "2", "correct": False, "source": "m", "x": [1]},
            *("Q?", "1", "t", "2", 0, "m", {"x": [1]}),
        ),
        (
            {"problem": "Q?", "generated_solution": "so \\boxed{2}", "expected_answer": "2", "problem_source": "p"},
            *("Q?", "2", "so \\boxed{2}", "2", None, "", {"problem_source": "p"}),
        ),
        (
            {"question": "Q?", "answer": "4", "rationale": "Final answer: 5", "model": "m"},
            *("Q?", "4", "Final answer: 5", "5", None, "m", None),
        ),
        (
            {"prompt": "Q?", "completion": "c", "ground_truth": 3, "prediction": 3.0, "is_correct": 1.0},
            *("Q?", "3", "c", "3.0", 1, "", None),
        ),
    ],
)
def test_one_cot_a_row_is_recognised_by_its_keys(
    row: dict[str, Any], question: str, gold: str, text: str, answer: str, flag: int | None, teacher: str, left: Any
) -> None:
    item = read(row)
    (entry,) = item.entries
    assert (item.question, item.gold, entry.cot.text, entry.cot.answer) == (question, gold, text, answer)
    assert (entry.flag, entry.cot.teacher, meta(item), item.whole) == (flag, teacher, left, False)


def test_the_id_of_a_row_is_its_questions_unless_the_question_has_one() -> None:
    assert read({"id": "a", "question": "Q?", "text": "t"}).id == "a"
    item = read({"id": "a", "question_id": "q", "question": "Q?", "text": "t"})
    assert (item.id, item.entries[0].id) == ("q", "a")
    item = read({"id": "a", "question": "Q?", "text": "t"}, cot_id="id")
    assert (item.id, item.entries[0].id) == ("", "a")


SYSTEM = {"role": "system", "content": "be brief"}
ASK, SAY = {"role": "user", "content": "Q?"}, {"role": "assistant", "content": "so 4.\nFinal answer: 4"}


@pytest.mark.parametrize(
    ("row", "left"),
    [
        ({"messages": [ASK, SAY]}, None),
        ({"messages": [SYSTEM, ASK, SAY]}, {"messages": [SYSTEM, {}, {}]}),
        ({"messages": [ASK, {**SAY, "name": "x"}]}, {"messages": [{}, {"name": "x"}]}),
        ({"conversations": [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": SAY["content"]}]}, None),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Q?"}]}, SAY]}, None),
        ({"messages": [ASK, SAY], "prompt": "Q? said otherwise"}, {"prompt": "Q? said otherwise"}),
        ({"messages": [ASK, SAY], "text": "rendered"}, {"text": "rendered"}),
    ],
)
def test_conversations(row: dict[str, Any], left: Any) -> None:
    item = read({**row, "gold": "4", "label": 1})
    (entry,) = item.entries
    assert (item.question, item.gold, entry.cot.text, entry.cot.answer) == ("Q?", "4", SAY["content"], "4")
    assert (entry.flag, meta(item)) == (1, left)


THOUGHT = {"type": "thinking", "thinking": "A draft.\nFinal answer: 3"}


@pytest.mark.parametrize(
    ("message", "text", "answer", "left"),
    [
        ({**SAY, "reasoning_content": "2 + 2"}, f"2 + 2\n\n{SAY['content']}", "4", None),
        ({**SAY, "thinking": "2 + 2", "reasoning": None}, f"2 + 2\n\n{SAY['content']}", "4", None),
        ({"role": "assistant", "content": None, "reasoning": "Final answer: 4"}, "Final answer: 4", "4", None),
        # The answer is the content's, whatever a draft says.
        ({**SAY, "reasoning": "Final answer: 3"}, f"Final answer: 3\n\n{SAY['content']}", "4", None),
        (
            {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "So 4."}]},
            *("A draft.\nFinal answer: 3\n\nSo 4.", "4", None),
        ),
        ({**SAY, "reasoning_effort": "low"}, SAY["content"], "4", {"messages": [{}, {"reasoning_effort": "low"}]}),
    ],
)
def test_reasoning_apart_from_the_content_is_kept(message: dict[str, Any], text: str, answer: str, left: Any) -> None:
    item = read({"messages": [ASK, message]})
    assert (item.entries[0].cot.text, item.entries[0].cot.answer, meta(item)) == (text, answer, left)


def test_keys_by_other_names_are_mapped() -> None:
    row = {
        "prompt": {"text": "Q?", "lang": "en"},
        "response": {"content": "t", "usage": {"completion_tokens": 5, "total": 9}},
        "a.b": "4",
        "verdicts": [{"ok": False}, {"ok": True}],
        "answer": "not the gold",
    }
    item = read(
        row,
        question="prompt.text",
        text="response.content",
        answer="a.b",
        completion_tokens="response.usage.completion_tokens",
        correct="verdicts.-1.ok",
    )
    (entry,) = item.entries
    assert (item.question, item.gold, entry.cot.text, entry.cot.completion_tokens, entry.flag) == ("Q?", "4", "t", 5, 1)
    # The name `answer` is free for the CoT's own, and all else is kept.
    assert entry.cot.answer == "not the gold"
    assert meta(item) == {"prompt": {"lang": "en"}, "response": {"usage": {"total": 9}}, "verdicts": [{"ok": False}]}


def test_a_star_finds_every_cot_of_a_row() -> None:
    row = {
        "problem": "Q?",
        "answer": "4",
        "generations": ["Final answer: 4", "Final answer: 5"],
        "correctness": [True, False],
        "uuid": "u",
    }
    item = read(row, text="generations.*", correct="correctness.*")
    assert [(entry.cot.answer, entry.flag) for entry in item.entries] == [("4", 1), ("5", 0)]
    assert meta(item, 1) == {"row": {"uuid": "u"}}
    choices = {"question": "Q?", "choices": [{"message": {"content": "a", "role": "assistant"}, "index": 0}]}
    item = read(choices, text="choices.*.message.content")
    assert (item.entries[0].cot.text, meta(item)) == ("a", {"message": {"role": "assistant"}, "index": 0})


def test_keys_in_the_entries_of_a_list_are_mapped() -> None:
    row = {"question": "Q?", "answer": "4", "samples": [{"out": {"text": "t"}, "final": "4", "p": 1}], "run": "r"}
    item = read(row, cots="samples", text="out.text", cot_answer="final")
    assert (item.entries[0].cot.text, item.entries[0].cot.answer) == ("t", "4")
    assert meta(item) == {"p": 1, "row": {"run": "r"}}


@pytest.mark.parametrize(
    ("row", "mapping", "message"),
    [
        ([], {}, "expected a JSON object, found list"),
        (
            {"reply": 1, "frage": 2},
            {},
            r"the keys found are reply, frage\. Say which key is which, e\.g\. bank\.mapping",
        ),
        ({}, {}, "the keys found are none"),
        ({"\x1b[31m": 1}, {}, r"\\x1b\[31m"),
        ({"question": "Q?", "text": 1}, {}, r"expected a text under `text`, found int\. Say which key is which"),
        ({"question": "Q?", "y": 1}, {"text": "x.y"}, r"expected a text under `x\.y`, found none"),
        ({"question": ["Q?"], "text": "t"}, {}, "expected a text as the question, found list"),
        (
            {"question": "Q?", "text": "t", "label": "good"},
            {},
            "`correct` to be true or false, found 'good'.*mapping.correct=none",
        ),
        ({"question": "Q?", "text": "t", "prediction": [1, 2]}, {}, "`answer` to be a text or a number, found list"),
        ({"question": "Q?", "text": "t", "sample": -1}, {}, "`sample` to be a whole number from 0, found -1"),
        ({"question": "Q?", "text": "t", "sample": 10**30}, {}, "`sample` to be a whole number"),
        ({"question": "Q?", "text": "t", "seconds": "2s"}, {}, "`seconds` to be a number"),
        (
            {"question": "Q?", "cots": [{"text": "t", "problem": "odd"}]},
            {},
            "`problem` to be empty or one of empty, cut",
        ),
        ({"question": "Q?", "text": "t", "tags": "a"}, {}, "`tags` to be a list of texts"),
        ({"question": "Q?", "text": "t", "source": "\ud800"}, {}, "`source` holds characters that UTF-8 cannot"),
        ({"question": "Q?", "text": "t", "id": True}, {}, "`id` must be a text or an integer"),
        ({"question": "Q?", "text": "\\x", "escaped": True}, {}, "`escaped` is set, but"),
        ({"messages": {}}, {}, "expected a list of messages under `messages`"),
        ({"messages": [SAY]}, {}, "of a user and then of an assistant under `messages`, found assistant"),
        ({"messages": [SAY, ASK]}, {}, "found assistant, user"),
        ({"messages": []}, {}, "found none"),
        ({"messages": [ASK, {"role": "assistant"}]}, {}, "a text as the content of a message, found NoneType"),
        ({"messages": [ASK, {**SAY, "content": [{"type": "image_url"}]}]}, {}, "content of a message, found list"),
        ({"messages": [ASK, {**SAY, "content": 4}]}, {}, "content of a message, found int"),
        (
            {"question": "Q?", "a": [1], "b": []},
            {"text": "a.*", "correct": "b.*"},
            "lists of one length, a has 1, b has 0",
        ),
        ({"question": "Q?", "a": {}}, {"text": "a.*"}, "expected a list under `a`, found dict"),
    ],
)
def test_what_cannot_be_read_says_why(row: Any, mapping: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=f"f:1: .*{message}"):
        read(row, **mapping)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"txt": "a"}, "unknown key txt; the keys are id, question"),
        (
            {"answer": "a+b"},
            r"bank\.mapping\.answer: expected one key, found a\+b; only question and text can be joined",
        ),
        ({"text": ""}, r"bank\.mapping\.text: expected a key of the file, or none, found ''"),
        ({"text": "a+"}, r"bank\.mapping\.text: expected a key of the file, or none, found 'a\+'"),
        ({"text": "a.*.b.*"}, r"bank\.mapping\.text: expected at most one \*"),
        ({"question": "a.*"}, r"bank\.mapping\.question: expected at most one \*"),
    ],
)
def test_a_mapping_of_our_keys_only(mapping: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_mapping(mapping)


@pytest.mark.parametrize(
    ("entry", "answer", "problem"),
    [
        ({"text": "so it is 4.\nFinal answer: 4"}, "4", ""),
        ({"text": "Final answer: 4", "answer": None}, "4", ""),
        ({"text": "Final answer: 4", "answer": ""}, "", "no_answer"),
        ({"text": "no idea", "answer": None}, "", "no_answer"),
        ({"text": " \n", "answer": "4"}, "4", "empty"),
        ({"text": "cut", "answer": "", "problem": "cut"}, "", "cut"),
        ({"text": "t", "answer": "", "problem": ""}, "", ""),
    ],
)
def test_an_answer_that_is_not_given_is_looked_for(entry: dict[str, Any], answer: str, problem: str) -> None:
    cot = read({"question": "Q?", "cots": [entry]}).entries[0].cot
    assert (cot.answer, cot.problem) == (answer, problem)


def test_what_others_call_by_our_names_is_kept_all_the_same() -> None:
    row = {"question": "Q?", "text": "t", "answer": "1", "prompt": "You are", "comments": "nice", "params": {"t": 1}}
    item = read(row)
    assert (item.entries[0].cot.prompt, item.entries[0].cot.comments) == ("", ())
    assert meta(item) == {"prompt": "You are", "comments": "nice", "params": {"t": 1}}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ("", ""),
        ("free text", '{"meta": "free text"}'),
        ({"a": float("nan"), "b": "\ud800"}, '{"meta": {"a": null, "b": "\\ud800"}}'),
        ({"ü": "日本"}, '{"meta": {"ü": "日本"}}'),
    ],
)
def test_meta_is_json_text(given: Any, kept: str) -> None:
    assert read({"question": "Q?", "text": "t", "meta": given}).entries[0].cot.meta == kept


def test_endless_kinds_of_rows_take_no_endless_memory() -> None:
    from realm.exchange.shapes import _layout

    for number in range(1000):
        read({"question": "Q?", "text": "t", f"key{number}": 1})
    assert _layout.cache_info().currsize <= 256


@pytest.mark.parametrize(
    ("reason", "problem"),
    [
        ("stop", ""),
        (None, ""),
        ("MAX_TOKENS", "cut"),
        ({"type": "length"}, "cut"),
        ("abort", "cut"),
        ("SAFETY", "refused"),
    ],
)
def test_a_cut_answer_of_a_file_is_no_whole_one(reason: Any, problem: str) -> None:
    item = read({"question": "Q?", "answer": "8", "text": "so.. Final answer: 8", "finish_reason": reason})
    assert item.entries[0].cot.problem == problem
    item = read({"question": "Q?", "answer": "8", "text": "so.. Final answer: 8", "stop_reason": reason})
    assert item.entries[0].cot.problem == problem


def test_reasons_in_a_list_beside_the_cots() -> None:
    row = {"problem": "Q?", "answer": "8", "generations": ["Final answer: 8", "Final answer: 3"]}
    item = read({**row, "finish_reasons": ["stop", "length"]})
    assert [entry.cot.problem for entry in item.entries] == ["", "cut"]
