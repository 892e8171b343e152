"""What keeps training from using a bank is found, named row by row, and told with what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from realm.bank.compact import compact
from realm.bank.cot import CoT, to_record
from realm.bank.folder import BankFolder
from realm.bank.unreadable import EXAMPLES, MOST
from realm.bank.validate import KINDS, NAMED, Finding, validate
from realm.tasks.base import Question
from realm.tasks.verify import UNREADABLE, UNREADABLE_GOLD
from realm.tasks.workers import VerifierPool

QUESTIONS = [Question("q1", "?", "1"), Question("q2", "?", "2"), Question("t1", "?", "1", "test")]
GOOD = [CoT(q, "text", a, int(q[1] == a), sample=n) for q in ("q1", "q2") for n, a in enumerate("12")]


@pytest.fixture
def bank(tmp_path: Path) -> Callable[..., BankFolder]:
    def make(cots: list[CoT], questions: list[Question] = QUESTIONS) -> BankFolder:
        folder = BankFolder.create(tmp_path / "bank", {}, questions)
        with folder.lock(), folder.writer() as writer:
            writer.write(cots)
        return folder

    return make


Make = Callable[..., BankFolder]


def kinds(found: list[Finding]) -> dict[str, int]:
    return {finding.kind: finding.count for finding in found}


@pytest.mark.parametrize("compacted", [False, True])
def test_a_good_bank_has_no_findings(bank: Make, compacted: bool) -> None:
    folder = bank(GOOD)
    if compacted:
        with folder.lock():
            compact(folder)
    assert validate(folder) == []
    assert validate(folder, training={"q1", "q2"}, held_out={"t1"}) == []


@pytest.mark.parametrize(
    ("cots", "expected"),
    [
        ([*GOOD, replace(GOOD[0], text="again")], {"duplicate": 1}),
        ([*GOOD, CoT("q1", " \n", "1", 1, sample=9)], {"empty": 1}),
        ([*GOOD, CoT("q1", "", "", 0, sample=9, problem="empty")], {}),
        ([*GOOD, CoT("q1", "t", "1", None, sample=9, reason="timeout")], {"unlabelled": 1}),
        ([*GOOD, CoT("q1", "t", "", 1, sample=9)], {"no_answer": 1}),
        ([*GOOD, CoT("x", "t", "1", 1), CoT("x", "t", "1", 1, sample=1)], {"unknown": 2}),
        ([*GOOD, CoT("x", "t", "1", None)], {"unknown": 1, "unlabelled": 1, "no_gold": 1}),
        ([GOOD[0]], {"none_mixed": 1}),
        ([replace(GOOD[0], label=None)], {"none_usable": 1, "unlabelled": 1}),
        ([replace(cot, problem="cut") for cot in GOOD], {"none_usable": 1}),
        ([], {"none_usable": 1}),
        ([replace(cot, question_id="t1", id=cot.id) for cot in GOOD], {"held_out": 1}),
    ],
)
def test_what_is_found(bank: Make, cots: list[CoT], expected: dict[str, int]) -> None:
    assert kinds(validate(bank(cots))) == expected


def test_the_bank_is_held_against_a_task(bank: Make) -> None:
    folder = bank(GOOD)
    assert kinds(validate(folder, training={"other"})) == {"not_covered": 1}
    assert kinds(validate(folder, training={"other"}, held_out={"q1", "q2"})) == {"held_out": 1}
    found = validate(folder, training={"q1", "other", "more"})
    assert kinds(found) == {"partly_covered": 2}
    assert found[0].rows == ["2 of 3"]


def test_rows_that_cannot_be_read_are_named_and_the_others_looked_at(bank: Make) -> None:
    folder = bank(GOOD)
    lines = (folder.path / "cots.jsonl").read_text().splitlines()
    bad = ["rubbish", "[]", json.dumps({**to_record(GOOD[0]), "label": 7}), "[" * 100_000, lines[0]]
    (folder.path / "cots.jsonl").write_text("\n".join([*lines[:2], *bad, *lines[2:]]) + "\n" + '{"torn')
    found = {finding.kind: finding for finding in validate(folder)}
    assert set(found) == {"unreadable", "duplicate", "torn"}
    assert [row.partition(": ")[0] for row in found["unreadable"].rows] == [f"cots.jsonl:{n}" for n in (3, 4, 5, 6)]
    assert "`label` must be 0, 1 or null, found 7" in found["unreadable"].rows[2]
    assert found["duplicate"].rows == ["cots.jsonl:7: q1//0 is CoT number 1 too"]


def test_a_bank_whose_files_are_broken_or_gone(bank: Make) -> None:
    folder = bank(GOOD)
    (folder.path / "questions.jsonl").write_text('{"id": "q1"}\n')
    assert kinds(validate(folder)) == {"question": 1}
    with folder.lock():
        (folder.path / "questions.jsonl").write_text("")
        compact(folder)
    (folder.path / str(folder.info["parquet"])).write_bytes(b"PAR1")
    assert kinds(validate(BankFolder.open(folder.path))) == {"unreadable": 1}
    (folder.path / "cots.jsonl").unlink()
    assert "cots.jsonl is not there" in validate(folder)[0].rows


def test_the_first_rows_are_named_and_the_rest_counted(bank: Make) -> None:
    many = [CoT("q1", "t", "1", None, sample=number) for number in range(10, 60)]
    (found,) = validate(bank([*GOOD, *many]))
    assert (found.kind, found.count, len(found.rows)) == ("unlabelled", 50, NAMED)


def test_labels_are_held_against_the_verifier_by_choice(bank: Make) -> None:
    folder = bank([*GOOD, CoT("q1", "t", "1.0", 0, sample=8), CoT("q1", "t", "1 or 2", 1, sample=9)])
    assert validate(folder) == []
    with VerifierPool("number") as pool:
        (found,) = validate(folder, pool=pool)
    assert found.kind == "contradiction"
    assert found.rows == [
        "q1//8: label 0, answer '1.0', gold '1'",
        "q1//9: label 1, answer '1 or 2', gold '1' (unreadable)",
    ]


def unreadable(number: int, reason: str = UNREADABLE, **more: Any) -> list[CoT]:
    return [CoT("q1", "t", "one-ish", None, sample=100 + n, reason=reason, **more) for n in range(number)]


@pytest.mark.parametrize(
    ("cots", "expected", "why"),
    [
        ([*GOOD, *unreadable(1)], {"some_unreadable": 1}, "a fifth at most is no reason to refuse"),
        ([*GOOD, *unreadable(2)], {"most_unreadable": 2}, "more than a fifth is"),
        ([*GOOD, *unreadable(2, problem="cut")], {}, "what is no whole answer is told by its problem"),
        ([*GOOD, *unreadable(1, UNREADABLE_GOLD)], {"some_unreadable": 1, "unreadable_gold": 1}, "the gold is named"),
        ([*GOOD, *unreadable(9, UNREADABLE_GOLD)], {"most_unreadable": 9, "unreadable_gold": 1}, "once a question"),
    ],
)
def test_what_cannot_be_read_is_counted(bank: Make, cots: list[CoT], expected: dict[str, int], why: str) -> None:
    found = {finding.kind: finding for finding in validate(bank(cots))}
    assert {kind: finding.count for kind, finding in found.items()} == expected, why
    assert MOST == 0.2
    for kind, finding in found.items():
        assert finding.severity == ("error" if kind == "most_unreadable" else "warning")
        assert "task.verifier" in finding.advice
    if "unreadable_gold" in found:
        assert found["unreadable_gold"].rows == ["q1: gold '1'"]


def test_examples_of_what_cannot_be_read_are_few(bank: Make) -> None:
    (finding,) = validate(bank([*GOOD, *unreadable(30)]))
    assert (finding.count, len(finding.rows)) == (30, EXAMPLES)
    assert finding.rows[0] == "q1//100: answer 'one-ish'"


def test_newer_labels_count(bank: Make) -> None:
    folder = bank([replace(cot, label=None) for cot in GOOD])
    with folder.lock(), folder.writer() as writer:
        writer.write_labels((cot, cot.label, "") for cot in GOOD)
    assert validate(folder) == []


def test_errors_come_first_and_everything_says_what_to_do(bank: Make) -> None:
    found = validate(bank([*GOOD, CoT("q1", "t", "1", None, sample=9), CoT("q1", "", "1", 1, sample=10)]))
    assert [(finding.severity, finding.kind) for finding in found] == [("error", "empty"), ("warning", "unlabelled")]
    assert all(advice and what for _, what, advice in KINDS.values())


def test_questions_of_one_id_must_ask_the_same(bank: Make) -> None:
    folder = bank(GOOD)
    asked = {question.id: question for question in QUESTIONS}
    assert validate(folder, training={"q1", "q2"}, asked=asked) == []
    asked |= {"q1": replace(QUESTIONS[0], question="How many?"), "q2": replace(QUESTIONS[1], answer="3")}
    (found,) = validate(folder, training={"q1", "q2"}, asked=asked)
    assert (found.kind, found.severity, found.count) == ("differs", "error", 2)
    assert found.rows == [
        "q1: has the question '?' here and 'How many?' there", "q2: has the gold answer '2' here and '3' there",
    ]  # fmt: skip


def test_broken_comments_and_missing_questions_are_named(bank: Make) -> None:
    folder = bank(GOOD)
    (folder.path / "comments.jsonl").write_text('{"hash": 1}\n')
    assert kinds(validate(folder)) == {"comment": 1}
    (folder.path / "comments.jsonl").unlink()
    (folder.path / "questions.jsonl").unlink()
    (found,) = validate(folder)
    assert (found.kind, found.rows) == ("question", ["questions.jsonl is not there"])
