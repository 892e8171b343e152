"""`datasets.load_dataset(folder)`: typed rows, at every stage of a bank's life."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from realm.bank.compact import compact
from realm.bank.cot import COLUMNS, CoT, comment_hash, to_record
from realm.bank.folder import BankFolder
from realm.bank.labelling import fold
from realm.bank.questions import QUESTION_COLUMNS
from realm.tasks.base import Comment, Question

RULE = Comment("r", ("t",), "rule \ud800")
QUESTIONS = [
    Question("q1", "One?\u2028\x00\ufeff", "1", "train", "kind", 0, ("a", "b")),
    Question("q2", "lone \ud800", "2", "test"),
]


def cots() -> list[CoT]:
    """First rows that hold no label, no comment and no figure, then everything."""
    plain = [CoT("q1", f"text {number}", "1", None, sample=number) for number in range(5)]
    return [
        *plain,
        CoT("q1", "x" * 1_000_000, "1", 1, "m", True, (comment_hash(RULE),), 6, prompt_tokens=3, seconds=0.5),
        CoT("q2", "<b>\x1b[1m\x00\u2028{{x}}", "", None, "m", sample=7, reason="unreadable", problem="no_answer"),
        CoT("q2", "lone \udc00", "\ud800", 1, "m", sample=8, meta='{"finish_reason": "stop"}', seconds=2),
    ]


@pytest.fixture
def folder(tmp_path: Path) -> BankFolder:
    folder = BankFolder.create(tmp_path / "bank", {"task": "t"}, QUESTIONS, [RULE])
    with folder.lock(), folder.writer() as writer:
        writer.write(cots())
    return folder


def load(folder: BankFolder, *name: str) -> Any:
    from datasets import load_dataset

    return load_dataset(str(folder.path), *name, split="train", cache_dir=str(folder.path.parent / "cache"))


TYPES = {
    **dict.fromkeys(COLUMNS, "string"),
    **dict.fromkeys(("sample", "label", "prompt_tokens", "completion_tokens"), "int64"),
    **{"guided": "bool", "escaped": "bool", "seconds": "float64", "comments": "list"},
}


def types_of(dataset: Any) -> dict[str, str]:
    return {name: getattr(kind, "dtype", "list") for name, kind in dataset.features.items()}


@pytest.mark.parametrize("compacted", [False, True])
def test_the_cots_are_there_and_typed(folder: BankFolder, compacted: bool) -> None:
    if compacted:
        with folder.lock():
            compact(folder)
    dataset = load(folder)
    assert types_of(dataset) == TYPES
    assert dataset.to_list() == [to_record(cot) for cot in cots()]


@pytest.mark.parametrize("compacted", [False, True])
def test_the_questions_are_there_and_typed(folder: BankFolder, compacted: bool) -> None:
    if compacted:
        with folder.lock():
            compact(folder)
    dataset = load(folder, "questions")
    assert types_of(dataset) == {**dict.fromkeys(QUESTION_COLUMNS, "string"), "tags": "list", "escaped": "bool"}
    rows = dataset.to_list()
    assert [row["id"] for row in rows] == ["q1", "q2"]
    assert (rows[0]["question"], rows[0]["tags"], rows[0]["escaped"]) == (QUESTIONS[0].question, ["a", "b"], False)
    assert (rows[1]["question"], rows[1]["escaped"]) == ("lone \\ud800", True)


def test_what_came_after_a_compaction_is_there_after_the_next(folder: BankFolder) -> None:
    with folder.lock():
        compact(folder)
        folder.add_questions([Question("q3", "?", "3")])
        with folder.writer() as writer:
            writer.write([CoT("q3", "new", "1", None, sample=99)])
    assert load(folder).num_rows == len(cots())
    with folder.lock():
        compact(folder)
    assert load(folder)["id"][-1] == "q3//99"
    assert load(folder, "questions")["id"] == ["q1", "q2", "q3"]


def test_labels_that_were_folded_are_in_the_rows(folder: BankFolder) -> None:
    with folder.lock():
        with folder.writer() as writer:
            writer.write_labels((cot, 1, "") for cot in cots())
        fold(folder)
    assert set(load(folder)["label"]) == {1}


def load_shared(folder: BankFolder, cache: Path, name: str = "cots") -> Any:
    """As users load banks: all with one cache."""
    from datasets import load_dataset

    return load_dataset(str(folder.path), name, split="train", cache_dir=str(cache))


def test_banks_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for who in ("a", "b"):
        folder = BankFolder.create(tmp_path / who / "bank", {}, [Question(who, "?", "1")])
        with folder.lock(), folder.writer() as writer:
            writer.write([CoT(who, "text", "1", None, who)])
        assert load_shared(folder, tmp_path / "cache")["teacher"] == [who]
        assert load_shared(folder, tmp_path / "cache", "questions")["id"] == [who]


def test_what_changed_is_read_anew(folder: BankFolder, tmp_path: Path) -> None:
    def rows(name: str = "cots") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = load_shared(folder, tmp_path / "cache", name).to_list()
        return found

    assert len(rows()) == len(cots())
    with folder.lock(), folder.writer() as writer:
        writer.write([CoT("q1", "new", "1", None, sample=99)])
        assert len(rows()) == len(cots()) + 1  # before the writer's end, as after a kill
        writer.write([CoT("q1", "newer", "1", None, sample=100)])
    assert len(rows()) == len(cots()) + 2
    with folder.lock():
        with folder.writer() as writer:
            writer.write_labels([(cot, 1, "") for cot in cots()])
        fold(folder)
    assert {row["label"] for row in rows()[:-2]} == {1}
    assert len(rows("questions")) == 2
    folder.add_questions([Question("q3", "?", "3")])
    assert len(rows("questions")) == 3
    with folder.lock():
        compact(folder)
    assert [row["question_id"] for row in rows()] == sorted(row["question_id"] for row in rows())
