"""Compaction and folding: the same CoTs with the same labels, whatever is interrupted."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realm.bank.compact import compact
from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.bank.labelling import fold
from realm.bank.scan import groups
from realm.bank.store import Bank
from realm.locks import LOCK
from realm.tasks.base import Question

Prepared = Callable[..., BankFolder]
#: What changes files for good; everything before the next of these is undone by an interruption.
STEPS = ("replace", "unlink", "truncate", "fsync")


class KilledError(BaseException):
    """Stands for SIGKILL: no handler of ours catches it."""


@contextmanager
def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let the process be as good as dead from the step of that number on: clearing up does not work either."""
    taken: list[str] = []

    def dying(name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if str(arguments[0]).endswith(f"/{LOCK}"):
                return do(*arguments, **named)  # the kernel gives the lock up
            if len(taken) >= step:
                raise KilledError
            taken.append(name)
            return do(*arguments, **named)

        return call

    with monkeypatch.context() as patched:
        for name in STEPS:
            patched.setattr(os, name, dying(name, getattr(os, name)))
        yield taken


def cot(question: int, sample: int, label: int | None = None) -> CoT:
    return CoT(f"q{question}", f"text {sample} \u2028\x00\ud800", str(sample), label, teacher="m", sample=sample)


def cots(first: int, last: int) -> list[CoT]:
    """Of four questions in turn, so that those of one do not lie together."""
    return [cot(number % 4, number) for number in range(first, last)]


LABELS = {f"q{number % 4}/m/{number}": number % 2 for number in range(40)}


def found_in(path: Path) -> dict[str, int | None]:
    """Ids and labels as training sees them; every id once."""
    folder = BankFolder.open(path)
    members = [member for _, group in groups(folder) for member in group]
    assert len({member.id for member in members}) == len(members)
    for member in members:
        assert member == cot(int(member.question_id[1:]), member.sample, member.label)
    bank = Bank.open(path)
    assert {member.id: member.label for member in bank.all()} == {member.id: member.label for member in members}
    return {member.id: member.label for member in members}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., BankFolder]:
    """Makes banks: 30 CoTs, the first 20 in a Parquet file if there is one, labels for 25 that wait to be folded."""
    made = {parquet: _prepare(tmp_path_factory.mktemp("bank") / "bank", parquet) for parquet in (False, True)}

    def copy(path: Path, *, parquet: bool) -> BankFolder:
        shutil.copytree(made[parquet], path)
        return BankFolder.open(path)

    return copy


def _prepare(path: Path, parquet: bool) -> Path:
    folder = BankFolder.create(path, {}, [Question(f"q{number}", "?", "1") for number in range(5)])
    with folder.lock():
        with folder.writer() as writer:
            writer.write(cots(0, 20))
        if parquet:
            compact(folder)
        with folder.writer() as writer:
            writer.write(cots(20, 30))
            writer.write_labels((member, LABELS[member.id], "") for member in cots(0, 25))
    return path


def do_compact(folder: BankFolder) -> None:
    with folder.lock():
        compact(folder)


def do_fold(folder: BankFolder) -> None:
    with folder.lock():
        fold(folder)


def do_append(folder: BankFolder) -> None:
    with folder.lock(), folder.writer() as writer:
        writer.write([], sync=True)


@pytest.mark.parametrize("parquet", [False, True])
@pytest.mark.parametrize("work", [do_compact, do_fold, do_append])
def test_an_interruption_between_any_two_steps_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared: Prepared, work: Callable[..., None], parquet: bool
) -> None:
    expected = {member.id: LABELS[member.id] if member.sample < 25 else None for member in cots(0, 30)}
    for step in itertools.count():
        folder = prepared(tmp_path / str(step), parquet=parquet)
        assert found_in(folder.path) == expected
        whole = False
        with killed_at(step, monkeypatch) as taken:
            try:
                work(folder)
                whole = True
            except KilledError:
                pass
        assert found_in(folder.path) == expected, f"after {taken}"

        # The next process goes on: it adds CoTs and labels, and does the same work.
        again = BankFolder.open(folder.path)
        with again.lock(), again.writer() as writer:
            writer.write(cots(30, 40))
            writer.write_labels((member, LABELS[member.id], "") for member in cots(25, 40))
        assert found_in(folder.path) == LABELS, f"after {taken}"
        do_fold(BankFolder.open(folder.path))
        do_compact(BankFolder.open(folder.path))
        assert found_in(folder.path) == LABELS, f"after {taken}"
        left = {file.name for file in folder.path.iterdir() if not file.name.startswith(".")}
        parquet_files = {name for name in left if "parquet" in name}
        assert sorted(name.partition("-")[0] for name in parquet_files) == ["cots", "questions"]
        assert left - parquet_files - {"cots.jsonl.tmp"} == {
            *("bank.json", "cots.jsonl", "questions.jsonl", "comments.jsonl", "README.md"),
        }
        if whole:
            assert step > (2 if work is not do_append else 0)
            return


@pytest.mark.parametrize("step", range(12))
def test_two_interruptions_one_after_the_other_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared: Prepared, step: int
) -> None:
    """The second one hits the work of finishing what the first one left."""
    for second in range(8):
        folder = prepared(tmp_path / str(second), parquet=True)
        for at in (step, second):
            with killed_at(at, monkeypatch):
                try:
                    do_compact(BankFolder.open(folder.path))
                    do_append(BankFolder.open(folder.path))
                except KilledError:
                    pass
        with BankFolder.open(folder.path).lock(), BankFolder.open(folder.path).writer() as writer:
            writer.write(cots(30, 40))
        found = found_in(folder.path)
        assert set(found) == set(LABELS)
        assert all(found[member.id] == LABELS[member.id] for member in cots(0, 25))


def test_a_compacted_bank_is_the_same_bank(tmp_path: Path, prepared: Prepared) -> None:
    folder = prepared(tmp_path / "bank", parquet=False)
    before = found_in(folder.path)
    told: list[int] = []
    with folder.lock():
        assert compact(folder, told.append) == 30
    assert told[-1] == 30
    assert found_in(folder.path) == before
    members = list(BankFolder.open(folder.path).scan())
    assert [member.question_id for member in members] == sorted(member.question_id for member in members)
    assert (folder.path / "cots.jsonl").read_bytes() == b""


def test_an_empty_bank_can_be_compacted(tmp_path: Path) -> None:
    folder = BankFolder.create(tmp_path / "bank")
    with folder.lock():
        assert compact(folder) == 0
        with folder.writer() as writer:
            writer.write(cots(0, 3))
    assert len(Bank.open(folder.path)) == 3


def test_a_torn_line_is_not_compacted(tmp_path: Path, prepared: Prepared) -> None:
    folder = prepared(tmp_path / "bank", parquet=True)
    with (folder.path / "cots.jsonl").open("ab") as file:
        file.write(b'{"question_id": "q9"')
    with folder.lock():
        assert compact(folder) == 30
        with folder.writer() as writer:
            writer.write(cots(30, 31))
    assert len(found_in(folder.path)) == 31


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.text(st.characters(), max_size=30), st.text(st.characters(), max_size=9)), max_size=9),
    st.lists(st.sampled_from([0, 1, None]), min_size=9, max_size=9),
    st.integers(0, 9),
)
def test_any_text_survives_compaction(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str]], labels: list[int | None], cut: int
) -> None:
    made = [
        replace(cot(0, number, label), text=text, answer=answer, seconds=None if number % 2 else 0.5)
        for number, ((text, answer), label) in enumerate(zip(texts, labels, strict=False))
    ]
    folder = BankFolder.create(tmp_path_factory.mktemp("bank"))
    with folder.lock():
        for part in (made[:cut], made[cut:]):
            with folder.writer() as writer:
                writer.write(part)
            compact(folder)
    assert list(BankFolder.open(folder.path).scan()) == made


def test_tables_of_the_user_stay(tmp_path: Path) -> None:
    folder = BankFolder.create(tmp_path / "bank")
    names = ["my-table.parquet", "cots-old.parquet", "questions-1-copy.parquet", "x-1.parquet.tmp"]
    for name in names:
        (folder.path / name).write_text("mine")
    for number in range(2):
        with folder.lock():
            with folder.writer() as writer:
                writer.write(cots(5 * number, 5 * number + 5))
            compact(folder)
    assert sorted(path.name for path in folder.path.glob("*.parquet*")) == sorted(
        [*names, "cots-2.parquet", "questions-2.parquet"]
    )
