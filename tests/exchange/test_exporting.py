"""A bank as one file for others, and back again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realm.bank.cot import PROBLEMS, CoT
from realm.bank.folder import BankFolder
from realm.bank.store import Bank
from realm.errors import ResourceError
from realm.exchange.exporting import Shape, export_bank
from realm.exchange.importing import import_cots
from realm.tasks.base import Question
from tests.conftest import read_rows

QUESTIONS = [
    Question("q1", "One?", "1", "test", "sum", 0, ("a", "b")),
    Question("q2", "lone \ud800", "2\udfff"),
    Question("none", "without CoTs?", "3"),
]
COTS = [
    CoT("q1", "t0\u2028", "1", 1, "m", True, ("0123456789ab",), 0, prompt_tokens=3, completion_tokens=4, seconds=0.5,
        params="0" * 16, prompt="1" * 16, meta='{"finish_reason": "stop"}'),
    CoT("q1", "t1 \ud800\x00", "", None, "m", sample=1, reason="unreadable", problem="no_answer"),
    CoT("q2", "Final answer: 9", "", 1, "n", sample=0, problem="cut"),
    CoT("q2", "t3", "\udc00", None, "n", sample=1, id="own id", reason="timeout"),
    CoT("unknown", "t4", "1", 1),
]  # fmt: skip


def bank_of(path: Path, cots: list[CoT], questions: list[Question]) -> BankFolder:
    folder = BankFolder.create(path, {}, questions)
    with folder.lock(), folder.writer() as writer:
        writer.write(cots)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> BankFolder:
    return bank_of(tmp_path / "bank", COTS, QUESTIONS)


def back(path: Path) -> Bank:
    return import_cots(path, None, relabel=False)[0]


@pytest.mark.parametrize("shape", ["jsonl", "flat", "parquet"])
def test_what_goes_out_comes_back(folder: BankFolder, tmp_path: Path, shape: Shape) -> None:
    out = tmp_path / f"out.{'parquet' if shape == 'parquet' else 'jsonl'}"
    counts = export_bank(folder, out, shape)
    rows = 4 if shape == "jsonl" else 5
    assert counts == {"rows": rows, "cots": 5, "questions": 3, "without_cots": 1}
    again = back(out)
    assert again.all() == COTS
    kept = QUESTIONS if shape == "jsonl" else QUESTIONS[:2]
    assert list(again.questions.values()) == kept


def test_the_newest_labels_go_out(folder: BankFolder, tmp_path: Path) -> None:
    with folder.lock(), folder.writer() as writer:
        writer.write_labels([(COTS[3], 1, "")])
    export_bank(folder, tmp_path / "out.jsonl", "flat")
    assert {row["id"]: row["label"] for row in read_rows(tmp_path / "out.jsonl")}["own id"] == 1


@pytest.mark.parametrize("shape", ["jsonl", "flat", "parquet", "messages"])
def test_right_ones_alone(folder: BankFolder, tmp_path: Path, shape: Shape) -> None:
    """A right answer that was cut is not one to learn from."""
    out = tmp_path / ("out.parquet" if shape == "parquet" else "out.jsonl")
    counts = export_bank(folder, out, shape, positives=True)
    assert (counts["cots"], counts["questions"]) == (2, 2)
    assert [cot.text for cot in back(out).all()] == ["t0\u2028", "t4"]


def test_a_conversation_holds_question_and_cot_with_where_they_are_from(folder: BankFolder, tmp_path: Path) -> None:
    export_bank(folder, tmp_path / "out.jsonl", "messages")
    first = read_rows(tmp_path / "out.jsonl")[0]
    assert first["messages"] == [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "t0\u2028"},
    ]
    assert (first["question_id"], first["gold"], first["cot_answer"], first["label"]) == ("q1", "1", "1", 1)
    assert (first["source"], first["guided"], first["comments"], first["sample"]) == ("m", True, ["0123456789ab"], 0)
    assert back(tmp_path / "out.jsonl").all()[:2] == COTS[:2]


def test_conversations_are_what_datasets_reads(folder: BankFolder, tmp_path: Path) -> None:
    from datasets import load_dataset

    export_bank(folder, tmp_path / "out.jsonl", "messages", positives=True)
    found = load_dataset("json", data_files=str(tmp_path / "out.jsonl"), split="train", cache_dir=str(tmp_path / "c"))
    assert found[0]["messages"][1] == {"role": "assistant", "content": "t0\u2028"}


def test_text_that_utf8_cannot_hold_is_still_valid_json_in_utf8(folder: BankFolder, tmp_path: Path) -> None:
    export_bank(folder, tmp_path / "out.jsonl", "jsonl")
    rows = (tmp_path / "out.jsonl").read_bytes().decode("utf-8").split("\n")[:-1]
    assert "\\ud800" in rows[1]
    assert [json.loads(row)["id"] for row in rows] == ["q1", "q2", "none", "unknown"]


@pytest.mark.parametrize("shape", ["jsonl", "parquet"])
def test_a_file_that_cannot_be_written_leaves_the_old_one(
    folder: BankFolder, tmp_path: Path, shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.write_text("old")
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr("realm.exchange.exporting._entry", lambda cot: 1 / 0)
        patched.setattr("realm.exchange.exporting.escape", lambda text: 1 / 0)
        export_bank(folder, out, shape)
    assert out.read_text() == "old"
    assert {file.name for file in tmp_path.iterdir()} == {"bank", "out"}
    with pytest.raises(ResourceError, match="cannot write"):
        export_bank(folder, tmp_path / "no" / "folder", shape)
    with pytest.raises(ResourceError, match="is a folder"):
        export_bank(folder, tmp_path, shape)


text = st.text(st.characters(), max_size=20)
name = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4)
cots = st.builds(
    CoT,
    question_id=st.sampled_from(["q1", "q2", "q3"]),
    text=text,
    answer=text,
    label=st.sampled_from([0, 1, None]),
    teacher=name,
    guided=st.booleans(),
    comments=st.lists(st.from_regex(r"[0-9a-f]{12}", fullmatch=True), max_size=2).map(tuple),
    sample=st.integers(0, 2**53 - 1),
    id=name,
    reason=name,
    problem=st.sampled_from(["", *PROBLEMS]),
    prompt_tokens=st.none() | st.integers(0, 2**40),
    seconds=st.none() | st.floats(0, 1e6),
    params=st.sampled_from(["", "0123456789abcdef"]),
    meta=st.dictionaries(text, text, max_size=2).map(lambda found: json.dumps(found) if found else ""),
)
golds = text.map(str.strip)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(cots, max_size=6, unique_by=lambda cot: cot.id), st.lists(st.tuples(text, golds), min_size=2, max_size=2)
)
def test_any_bank_comes_back(
    tmp_path_factory: pytest.TempPathFactory, made: list[CoT], asked: list[tuple[str, str]]
) -> None:
    base = tmp_path_factory.mktemp("any")
    questions = [Question(f"q{number}", *told) for number, told in enumerate(asked, start=1)]
    folder = bank_of(base / "bank", made, questions)
    expected = Bank.open(folder.path)
    for shape in ("jsonl", "flat", "parquet", "messages"):
        out = base / f"{shape}.{'parquet' if shape == 'parquet' else 'jsonl'}"
        export_bank(folder, out, shape)  # type: ignore[arg-type]
        if made:
            again = back(out)
            assert {cot.id: cot for cot in again.all()} == {cot.id: cot for cot in expected.all()}, shape
            for question in again.questions.values():
                assert question == expected.questions[question.id]


@pytest.mark.parametrize("name", ["bank.json", "cots.jsonl", "questions.jsonl", "README.md", "cots-1.parquet"])
def test_the_bank_itself_is_never_written_over(folder: BankFolder, tmp_path: Path, name: str) -> None:
    before = (folder.path / "cots.jsonl").read_bytes()
    (tmp_path / "link").symlink_to(folder.path / name)
    for path in (folder.path / name, folder.path / ".." / folder.path.name / name, tmp_path / "link"):
        with pytest.raises(ResourceError, match="a file of the bank itself"):
            export_bank(folder, path, "flat")
    assert (folder.path / "cots.jsonl").read_bytes() == before
    assert export_bank(folder, folder.path / "mine.jsonl", "flat")["rows"]


@pytest.mark.parametrize("shape", ["jsonl", "flat", "messages"])
@pytest.mark.parametrize("text", ["t", "lone \ud800"])
def test_datasets_loads_it(tmp_path: Path, shape: Shape, text: str) -> None:
    from datasets import load_dataset

    told = CoT("q", text, "1", 1, "m", True, ("0123456789ab",), 0, prompt_tokens=3, completion_tokens=4, seconds=2,
               params="0" * 16, prompt="1" * 16, meta="{}")  # fmt: skip
    made = [CoT("n", "t", "1", None, "m"), told]
    questions = [Question("n", "N?", "1"), Question("q", "Q?", "1", "test", "sum", 0, ("a",))]
    out = tmp_path / "out.jsonl"
    export_bank(bank_of(tmp_path / "bank", made, questions), out, shape)
    keys = [set(row) for row in read_rows(out)]
    assert all(found == keys[0] for found in keys)
    found = load_dataset("json", data_files=str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(found) == len(keys)
    assert "Json" not in str(found.features), "keys of one type each, not text of any"
    again = back(out)
    assert {cot.id: cot for cot in again.all()} == {cot.id: cot for cot in made}


def test_the_order_is_the_banks(tmp_path: Path) -> None:
    made = [CoT("a", "t", "1", None), CoT("b", "t", "1", 1)]
    folder = bank_of(tmp_path / "bank", made, [Question("a", "A?", "1"), Question("b", "B?", "1")])
    export_bank(folder, tmp_path / "out.jsonl", "jsonl")
    assert back(tmp_path / "out.jsonl").all() == made
