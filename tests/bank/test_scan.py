"""Every question with all its CoTs, with and without temporary files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realm.bank.compact import compact
from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.bank.scan import Group, group, groups
from realm.errors import DataError
from realm.tasks.base import Question

text = st.text(st.characters(), max_size=30)
name = st.text(st.characters(codec="utf-8"), min_size=1, max_size=3)


def by_question(found: list[Group]) -> dict[str, Group]:
    named = {(asked.id if asked else members[0].question_id): (asked, members) for asked, members in found}
    assert len(named) == len(found), "a question came twice"
    return named


def test_questions_keep_their_order_and_unknown_ones_come_last() -> None:
    asked = [Question("b", "?", "1"), Question("a", "?", "1"), Question("none", "?", "1")]
    members = [CoT("x", "0", "", 1), CoT("a", "1", "", 1), CoT("b", "2", "", 1), CoT("a", "3", "", 1, sample=1)]
    found = list(group(asked, members))
    assert [(question and question.id, [cot.text for cot in cots]) for question, cots in found] == [
        ("b", ["2"]),
        ("a", ["1", "3"]),
        ("none", []),
        (None, ["0"]),
    ]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(st.tuples(name, text), max_size=5, unique_by=lambda item: item[0]),
    members=st.lists(st.tuples(name, text), max_size=12),
    cut=st.integers(0, 12),
    labels=st.lists(st.sampled_from([0, 1, None]), min_size=12, max_size=12),
    memory=st.integers(400, 3000),
)
def test_temporary_files_change_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    asked: list[tuple[str, str]],
    members: list[tuple[str, str]],
    cut: int,
    labels: list[int | None],
    memory: int,
) -> None:
    made = [CoT(question, said, said, None, sample=number) for number, (question, said) in enumerate(members)]
    questions = [Question(found, said, said) for found, said in asked]
    folder = BankFolder.create(tmp_path_factory.mktemp("bank"), {}, questions)
    with folder.lock():
        with folder.writer() as writer:
            writer.write(made[:cut])
        if cut % 2:
            compact(folder)
        with folder.writer() as writer:
            writer.write(made[cut:])
            writer.write_labels((cot, label, "r") for cot, label in zip(made, labels, strict=False))
    in_memory, spilled = by_question(list(groups(folder))), by_question(list(groups(folder, memory=memory)))
    assert in_memory == spilled
    assert list(groups(folder, memory=memory)) == list(groups(folder, memory=memory))
    assert set(in_memory) == {question.id for question in questions} | {cot.question_id for cot in made}
    labelled = {cot.id: (cot.label, cot.reason) for _, cots in in_memory.values() for cot in cots}
    assert labelled == {cot.id: (label, "r") for cot, label in zip(made, labels, strict=False)}


def test_the_temporary_files_go_when_reading_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = BankFolder.create(tmp_path / "bank")
    with folder.lock(), folder.writer() as writer:
        writer.write(CoT(f"q{number}", "x" * 100, "1", 1) for number in range(50))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    reading = groups(folder, memory=1000)
    next(reading)
    assert list((tmp_path / "temporary").iterdir())
    del reading
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("memory", [1, 1 << 20])
@pytest.mark.parametrize("line", [b"{}", b"rubbish", b'{"question_id": "q", "id": 1}', b"[" * 100_000])
def test_a_bad_row_is_named_either_way(tmp_path: Path, memory: int, line: bytes) -> None:
    folder = BankFolder.create(tmp_path / "bank")
    with folder.lock(), folder.writer() as writer:
        writer.write([CoT("q", "text", "1", 1)])
    with (folder.path / "cots.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(DataError, match=r"cots\.jsonl"):
        list(groups(folder, memory=memory))
