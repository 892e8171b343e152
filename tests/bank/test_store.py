from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from realm.bank.cot import CoT, to_record
from realm.bank.store import Bank
from realm.errors import DataError, ResourceError
from realm.method.routes import Route


def cot(question: str, sample: int, label: int | None, **values: object) -> CoT:
    return CoT(question, f"thinking {sample}", "18", label, teacher="clerk", sample=sample, **values)  # type: ignore[arg-type]


COTS = [
    cot("q1", 0, 1, guided=True, comments=("c1", "c2")),
    cot("q1", 1, 0),
    cot("q2", 0, 1, meta='{"temperature": 0.7}', completion_tokens=12),
    cot("q3", 0, 0),
    cot("q3", 1, None),
]


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    bank = Bank.create(tmp_path / "deep" / "bank", {"teacher": "clerk"})
    bank.append(COTS)
    return bank


def file_of(bank: Bank) -> Path:
    assert bank.path is not None
    return bank.path / "cots.jsonl"


def test_what_was_appended_is_there_after_reopening(bank: Bank) -> None:
    assert bank.path is not None
    again = Bank.open(bank.path)
    assert again.all() == bank.all() == COTS
    assert again.info == {"teacher": "clerk", "format": 2}
    assert len(again) == 5
    assert again.cots("q1") == COTS[:2]
    assert (again.cots("unknown"), again.routes("unknown")) == ([], [])
    assert COTS[0].id in again and "else" not in again


def test_appending_goes_on_after_reopening(bank: Bank) -> None:
    assert bank.path is not None
    more = cot("q1", 2, 1)
    Bank.open(bank.path).append([more])
    assert Bank.open(bank.path).cots("q1") == [*COTS[:2], more]


def test_routes_are_the_labelled_cots(bank: Bank) -> None:
    assert bank.routes("q3") == [Route("q3/clerk/0", "thinking 0", "18", 0)]
    with pytest.raises(ValueError, match="no label"):
        COTS[4].route()


def test_a_bank_in_memory_is_kept_by_save(tmp_path: Path) -> None:
    bank = Bank({"source": "here"})
    bank.append(COTS)
    assert bank.path is None
    assert bank.save(tmp_path / "kept").all() == COTS
    assert Bank.open(tmp_path / "kept").info["source"] == "here"


def test_each_cot_is_on_disk_before_the_next_is_asked_for(bank: Bank) -> None:
    def teacher() -> Iterator[CoT]:
        for sample in range(3):
            assert len(file_of(bank).read_text().splitlines()) == 5 + sample
            yield cot("q9", sample, 1)
        raise ConnectionError("the teacher is gone")

    with pytest.raises(ConnectionError):
        bank.append(teacher())
    assert bank.path is not None
    assert len(Bank.open(bank.path)) == 8


@pytest.mark.parametrize("torn", [b'{"question_id": "q4", "te', b"{", b"\xc3", b"null"])
def test_a_torn_last_line_is_owed_again(bank: Bank, torn: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with file_of(bank).open("ab") as file:
        file.write(torn)
    assert bank.path is not None
    with caplog.at_level(logging.WARNING):
        again = Bank.open(bank.path)
    assert again.all() == COTS
    assert "cots.jsonl:6: a torn last line" in caplog.text
    assert file_of(bank).read_bytes().endswith(torn), "opening must not change the file"
    again.append([cot("q4", 0, 1)])
    assert Bank.open(bank.path).cots("q4") == [cot("q4", 0, 1)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{torn", "not a CoT"),
        ("", "not a CoT"),
        ("[]", "expected an object, found list"),
        ("[" * 10**5, "not a CoT"),
        (json.dumps({"question_id": "q"}), "missing key `answer`"),
        (json.dumps({**to_record(COTS[0]), "id": "new", "more": 1}), "unknown key `more`"),
        (json.dumps({**to_record(COTS[0]), "id": "new", "text": None}), "`text` is of the wrong type"),
        (json.dumps({**to_record(COTS[0]), "id": "new", "label": 2}), "`label` must be 0, 1 or null"),
    ],
)
def test_any_other_bad_line_is_named(bank: Bank, line: str, message: str) -> None:
    lines = file_of(bank).read_text().splitlines()
    file_of(bank).write_text("\n".join([*lines[:2], line, *lines[2:]]) + "\n")
    assert bank.path is not None
    with pytest.raises(DataError, match=rf"cots\.jsonl:3: .*{message}"):
        Bank.open(bank.path)


def test_an_id_that_is_there_twice_is_named(bank: Bank) -> None:
    with file_of(bank).open("a") as file:
        file.write(json.dumps(to_record(COTS[0])) + "\n")
    assert bank.path is not None
    with pytest.raises(DataError, match="the id 'q1/clerk/0' is in the bank already"):
        Bank.open(bank.path)


def test_an_id_is_taken_once(bank: Bank) -> None:
    with pytest.raises(ValueError, match="already"):
        bank.append([COTS[0]])
    assert bank.path is not None
    assert Bank.open(bank.path).all() == COTS


def test_a_bank_is_never_overwritten(bank: Bank) -> None:
    assert bank.path is not None
    with pytest.raises(ResourceError, match="holds a bank already"):
        Bank.create(bank.path)
    assert Bank.open(bank.path).all() == COTS


def test_folders_that_hold_no_bank(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none: expected a bank \(bank\.json"):
        Bank.open(tmp_path / "none")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "cots.jsonl").write_text("")
    with pytest.raises(DataError, match="half: expected a bank"):
        Bank.open(tmp_path / "half")


def test_a_disk_that_cannot_be_written_is_a_resource_error(tmp_path: Path, bank: Bank) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot write"):
        Bank.create(tmp_path / "file" / "bank")
    assert bank.folder is not None
    bank.folder.path = Path("/dev/full").parent / "no-such-folder"
    with pytest.raises(ResourceError, match="cannot write"):
        bank.append([cot("q9", 0, 1)])


def test_a_full_disk_is_a_resource_error(bank: Bank) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    file_of(bank).unlink()
    file_of(bank).symlink_to("/dev/full")
    with pytest.raises(ResourceError, match="cannot write"):
        bank.append([cot("q9", 0, 1)])
