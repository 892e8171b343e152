from __future__ import annotations

import json
import logging
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from realm.config import Config
from realm.errors import DataError
from realm.method.prompt import DEFAULT_WORDING
from realm.sections import TaskConfig
from realm.tasks.base import Question, Task, text_id
from realm.tasks.jsonl import answer_text, load_jsonl, read_rows
from realm.tasks.registry import load_task
from realm.tasks.verify import Verdict
from realm.tasks.workers import VerifierPool

Write = Callable[..., str]


def numbers(n: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"id": f"q{i}", "question": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(start, start + n)]


def settings(path: str | None, **values: Any) -> TaskConfig:
    return TaskConfig(name="jsonl", path=path, **{"verifier": "number", "test_size": 10, **values})


def ids(questions: list[Question]) -> set[str]:
    return {question.id for question in questions}


def test_a_file_is_split_into_three_disjoint_parts(write: Write) -> None:
    task: Task = load_jsonl(settings(write(numbers(60))), seed=0)
    parts = {split: task.rows(split) for split in task.splits()}
    assert list(parts) == ["train", "validation", "test"]
    assert [len(part) for part in parts.values()] == [45, 5, 10]
    assert len(set.union(*(ids(part) for part in parts.values()))) == 60
    assert all(question.split == split for split, part in parts.items() for question in part)
    with pytest.raises(KeyError):
        task.rows("dev")


def test_validation_is_at_most_a_hundred(write: Write) -> None:
    assert len(load_jsonl(settings(write(numbers(1500))), seed=0).rows("validation")) == 100


@pytest.mark.parametrize(("rows", "sizes"), [(5, [3, 1, 1]), (300, [216, 24, 60]), (1500, [1200, 100, 200])])
def test_a_test_takes_at_most_a_fifth(write: Write, rows: int, sizes: list[int]) -> None:
    task = load_jsonl(settings(write(numbers(rows)), test_size=None), seed=0)
    assert [len(task.rows(split)) for split in task.splits()] == sizes


def test_what_runs_noted_before_splits_as_it_did(write: Write) -> None:
    task = load_jsonl(settings(write(numbers(300)), test_size=200), seed=0)
    assert [len(task.rows(split)) for split in task.splits()] == [90, 10, 200]
    assert TaskConfig(test_size=200) == TaskConfig()  # the desk's splits are its own: such a run can be gone on with


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_the_file(write: Write) -> None:
    rows = numbers(60)
    task = load_jsonl(settings(write(rows)), seed=0)
    turned = load_jsonl(settings(write(rows[::-1], "turned.jsonl")), seed=0)
    other = load_jsonl(settings(write(rows)), seed=1)
    assert [task.rows(split) for split in task.splits()] == [turned.rows(split) for split in task.splits()]
    assert ids(task.rows("test")) != ids(other.rows("test"))


def test_no_question_text_is_in_two_splits(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"id": str(i), "question": f"How many  legs have {i % 20} cats?", "answer": "4"} for i in range(60)]
    for seed in range(5):
        task = load_jsonl(settings(write(rows)), seed=seed)
        texts = [{question.question for question in task.rows(split)} for split in task.splits()]
        assert all(texts)
        assert sum(len(part) for part in texts) == len(set.union(*texts))
    assert "are validation questions too" in caplog.text


def test_one_question_over_and_over_is_no_training_set(write: Write) -> None:
    test = write(numbers(1), "test.jsonl")
    rows = [{"id": f"r{i}", "question": "How many?", "answer": "4"} for i in range(20)]
    with pytest.raises(DataError, match="every question left to train on is a validation question too"):
        load_jsonl(settings(write(rows), test_path=test), seed=0)


def test_a_test_file_is_used_as_it_is_and_kept_out_of_training(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    test = write([*numbers(5, start=100), {"id": "again", "question": "What is  3 + 1?", "answer": 4}], "test.jsonl")
    task = load_jsonl(settings(write(numbers(20)), test_path=test), seed=0)
    assert len(task.rows("test")) == 6
    assert len(task.rows("train")) + len(task.rows("validation")) == 19
    assert "left out 1 of " in caplog.text


def test_an_id_shared_by_training_and_test_file_is_refused(write: Write) -> None:
    test = write([{"id": "q3", "question": "another", "answer": "1"}], "test.jsonl")
    with pytest.raises(DataError, match=r"test_path: the id 'q3'"):
        load_jsonl(settings(write(numbers(20)), test_path=test), seed=0)


def test_limits_take_a_part_of_the_same_splits(write: Write) -> None:
    path = write(numbers(60))
    whole, part = load_jsonl(settings(path), 0), load_jsonl(settings(path, max_train=7, max_test=3), 0)
    assert [len(part.rows(split)) for split in part.splits()] == [7, 3, 3]
    assert all(ids(part.rows(split)) < ids(whole.rows(split)) for split in part.splits())


def test_what_a_row_may_hold(write: Write) -> None:
    rows = numbers(20)
    rows[0] |= {"kind": "sum", "difficulty": 2, "tags": ["a", "b"], "cots": []}
    rows[1] = {"question": "no id", "answer": 7}
    rows[2] = {"id": 12, "question": "number", "answer": -2.5}
    task = load_jsonl(settings(write(rows), test_size=1), seed=0)
    found = {question.id: question for split in task.splits() for question in task.rows(split)}
    assert (found["q0"].kind, found["q0"].difficulty, found["q0"].tags) == ("sum", 2, ("a", "b"))
    assert found[text_id("no id")].answer == "7"
    assert found["12"].answer == "-2.5"


def test_choices_are_the_classes_and_part_of_the_wording(write: Write) -> None:
    rows = [{"question": f"q{i}", "answer": "(Yes)" if i % 2 else "no"} for i in range(20)]
    task = load_jsonl(settings(write(rows), verifier="choice", choices=["yes", "no"]), seed=0)
    assert task.labels == ("yes", "no")
    assert task.wording.question.endswith("The answer is one of: yes, no.")
    assert task.verifier("yes", "(Yes)")


def test_exact_text_needs_no_hint(write: Write) -> None:
    task = load_jsonl(settings(write(numbers(20)), verifier="exact"), seed=0)
    assert task.wording == DEFAULT_WORDING
    assert (task.labels, task.comments) == ((), ())


def test_golds_of_a_verifier_in_a_process_are_checked(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"question": f"q{i}", "answer": f"\\frac{{{i}}}{{7}}"} for i in range(20)]
    assert load_jsonl(settings(write(rows), verifier="math"), seed=0).verifier.name == "math"
    hang = [*rows, {"question": "hang", "answer": "(" * 300 + "1" + ")" * 300}]
    # As a worker tells that is killed at its limit.
    verdicts = [*[Verdict(True)] * 20, Verdict(False, "timeout")]
    monkeypatch.setattr(VerifierPool, "verify", lambda self, pairs: verdicts)
    with pytest.raises(DataError, match=r"rows\.jsonl:21: the gold '[(]{60}' does not verify \(timeout\)"):
        load_jsonl(settings(write(hang), verifier="math"), seed=0)


BAD_GOLDS = {
    "missing": ({"question": "x"}, "no answer"),
    "null": ({"question": "x", "answer": None}, "no answer"),
    "empty": ({"question": "x", "answer": "  "}, "no answer"),
    "empty list": ({"question": "x", "answer": []}, "no answer"),
    "NaN": ({"question": "x", "answer": float("nan")}, "no answer"),
    "list": ({"question": "x", "answer": ["1", "2"]}, "expected one answer, found a list of 2"),
    "object": ({"question": "x", "answer": {"value": 1}}, "expected a text or a number as the answer, found dict"),
    "bool": ({"question": "x", "answer": True}, "the gold 'True' does not verify"),
    "words": ({"question": "x", "answer": "many"}, r"the gold 'many' does not verify \(unreadable gold\)"),
    "two": ({"question": "x", "answer": "1 or 2"}, "the gold '1 or 2'"),
    "huge": ({"question": "x", "answer": "9" * 10**6}, "the gold '9{60}' does not verify"),
}


@pytest.mark.parametrize("case", BAD_GOLDS)
def test_a_row_without_a_usable_gold_is_refused_by_line(write: Write, case: str) -> None:
    row, message = BAD_GOLDS[case]
    with pytest.raises(DataError, match=rf"rows\.jsonl:21: {message}.*task\.bad_rows=skip") as found:
        load_jsonl(settings(write([*numbers(20), row])), seed=0)
    assert len(str(found.value)) < 400


@pytest.mark.parametrize("case", BAD_GOLDS)
def test_a_row_without_a_usable_gold_is_skipped_by_choice_and_counted(
    write: Write, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    row, _ = BAD_GOLDS[case]
    with caplog.at_level(logging.WARNING):
        task = load_jsonl(settings(write([row, *numbers(20), row | {"id": "b"}]), bad_rows="skip"), seed=0)
    assert sum(len(task.rows(split)) for split in task.splits()) == 20
    assert "skipped 2 of 22 rows" in caplog.text


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        (18, "18"),
        (0.5, "0.5"),
        (["18"], "18"),
        ([18], "18"),
        (True, "True"),
        (False, "False"),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+3"), "1000"),
        (" 18 ", "18"),
        ("9 eggs a day.\n#### 18", "18"),
        ("#### 18", "18"),
        ("a\n####", "a\n####"),
        ("#### 1\nnot the last line", "#### 1\nnot the last line"),
        ([], ""),
        (None, ""),
        (float("nan"), ""),
    ],
)
def test_a_gold_is_one_text(answer: object, gold: str) -> None:
    assert answer_text({"answer": answer}) == gold


def test_a_file_may_be_one_array(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(numbers(20), indent=1))
    task = load_jsonl(settings(str(tmp_path / "rows.json")), seed=0)
    assert sum(len(task.rows(split)) for split in task.splits()) == 20


def test_several_bad_golds_are_counted_in_the_refusal(write: Write) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:1: no answer.*\(2 such rows\)"):
        load_jsonl(settings(write([{"question": "a"}, {"question": "b"}, *numbers(20)])), seed=0)


def test_a_file_without_any_usable_gold_is_refused_even_when_skipping(write: Write) -> None:
    with pytest.raises(DataError, match="no row has a usable answer"):
        load_jsonl(settings(write([{"question": "a", "answer": ""}, {"question": "b"}]), bad_rows="skip"), seed=0)


@pytest.mark.parametrize("bad_rows", ["refuse", "skip"])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the file holds none"),
        (["", "  "], "the file holds none"),
        (['{"question": "a", "answ'], r"rows\.jsonl:1: .*cut off or not JSON"),
        ([{"question": "a", "answer": 1}, "", '{"question": "b", "answer": 2'], r"rows\.jsonl:3: .*cut off"),
        (["[1, 2]"], r"rows\.jsonl:1: expected a JSON object, found int"),
        ([{"question": "a", "answer": 1}, [1, 2]], r"rows\.jsonl:2: expected a JSON object, found list"),
        (
            [{"problem": "a", "answer": 1}],
            r"rows\.jsonl: no row has a column `question`; the columns are problem, answer\. Say which",
        ),
        (["[" * 10**5], r"rows\.jsonl:1: expected one JSON object"),
        ([{"answer": 1}], r"rows\.jsonl: no row has a column `question`; the columns are answer"),
        ([{"question": 3, "answer": 1}], r"rows\.jsonl:1: expected a text under `question`"),
        ([{"id": [], "question": "a", "answer": 1}], r"rows\.jsonl:1: `id` must be"),
        (
            [{"id": "x", "question": "a", "answer": 1}, {"id": "x", "question": "b", "answer": 1}],
            r"rows\.jsonl:2: the id 'x' is in line 1 too",
        ),
        ([{"id": 1, "question": "a", "answer": 1}, {"id": "1", "question": "b", "answer": 1}], "the id '1' is in"),
        ([{"question": "a", "answer": 1, "difficulty": "hard"}], r"rows\.jsonl:1: expected `kind`"),
        (numbers(11), r"11 usable questions are too few .*test_size=10"),
    ],
)
def test_files_that_cannot_be_used(write: Write, rows: list[Any], message: str, bad_rows: str) -> None:
    with pytest.raises(DataError, match=message) as found:
        load_jsonl(settings(write(rows), bad_rows=bad_rows), seed=0)
    assert str(found.value).count("\n") <= 1


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(DataError, match=f"{path}: expected a JSONL or Parquet file, cannot read it"):
            load_jsonl(settings(str(path)), seed=0)


def test_bytes_that_are_no_text_are_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(b'{"question": "a", "answer": 1}\n{"question": "caf\xe9", "answer": 1}\n')
    with pytest.raises(DataError, match=r"latin\.jsonl:2: .*not readable"):
        load_jsonl(settings(str(path)), seed=0)


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "windows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(json.dumps(row).encode() for row in numbers(3)))
    assert [row.id for row in read_rows(path)] == ["q0", "q1", "q2"]


def test_the_registry_gives_the_configured_task(write: Write) -> None:
    task = load_task(Config(task=settings(write(numbers(20)))))
    assert (task.name, task.verifier.name) == ("jsonl", "number")


@pytest.mark.parametrize("name", ["jsonl", "gsm8k"])
def test_the_split_may_have_a_seed_of_its_own(write: Write, name: str) -> None:
    task = {**settings(write(numbers(60))).model_dump(), "name": name}

    def test_ids(seed: int, split_seed: int | None) -> set[str]:
        tree = {"run": {"seed": seed}, "task": {**task, "split_seed": split_seed}}
        return ids(load_task(Config.model_validate(tree)).rows("test"))

    assert test_ids(1, 5) == test_ids(2, 5) == test_ids(5, None)
    assert test_ids(1, None) != test_ids(2, None)


@pytest.mark.parametrize(
    ("golds", "verifier", "told"),
    [
        (["a", "A"], "exact", True),
        (["7", "7.0", "7 km"], "number", True),
        (["7", "8"], "number", False),
        (["7", "7.0", "8"], "number", False),
        (["a", " a"], "exact", False),  # one answer to all, as the questions have it
    ],
)
def test_a_verifier_that_takes_the_golds_of_other_questions_for_right_is_told_of(
    write: Write, caplog: pytest.LogCaptureFixture, golds: list[str], verifier: str, told: bool
) -> None:
    rows = [{"question": f"What is {n}?", "answer": golds[n % len(golds)]} for n in range(35)]
    load_jsonl(settings(write(rows), verifier=verifier), seed=0)
    assert (f"given the answer of another question, the verifier {verifier} called it right" in caplog.text) == told


#: Golds in turn, how many rows, the verifier; the choices that are hinted at.
HINTED = [
    (["yes", "no"], 60, "exact", "['no', 'yes']"),
    (["是", "否"], 60, "exact", "[否, 是]"),
    (["a", "b", "c"], 29, "exact", None),  # too few rows to tell
    (["a", "b", "c"], 30, "exact", "[a, b, c]"),
    (["yes", "no"], 60, "choice", None),
    (["1", "2"], 60, "number", None),
    (["yes"], 60, "exact", None),
    ([str(n) for n in range(6)], 60, "exact", None),
    (["a", "(a)"], 60, "exact", None),  # no two choices
    (["x" * 41, "y"], 60, "exact", None),
]


@pytest.mark.parametrize(("golds", "number", "verifier", "choices"), HINTED)
def test_few_golds_are_a_choice(
    write: Write, caplog: pytest.LogCaptureFixture, golds: list[str], number: int, verifier: str, choices: str | None
) -> None:
    rows = [{"question": f"What is {n}?", "answer": golds[n % len(golds)]} for n in range(number)]
    given = {"choices": golds} if verifier == "choice" else {}
    with caplog.at_level(logging.INFO, "realm"):
        load_jsonl(settings(write(rows), verifier=verifier, **given), seed=0)
    told = [record.getMessage() for record in caplog.records if "task.verifier=choice" in record.getMessage()]
    assert len(told) == (choices is not None)
    assert choices is None or f"{len(golds)} different golds of {number} questions" in told[0]
    assert choices is None or f"task.choices={choices} reads" in told[0]
