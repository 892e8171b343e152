"""The files of a bank: nothing is lost, whatever the text and whenever the interruption."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realm.bank.cot import COLUMNS, PROBLEMS, CoT, comment_hash, from_record, to_record
from realm.bank.folder import BankFolder
from realm.bank.labelling import fold
from realm.bank.store import Bank
from realm.bank.writer import to_bytes
from realm.errors import DataError, ResourceError
from realm.tasks.base import Comment, Question
from tests.holding import another_holds

HOSTILE = [
    "<think>a</think><answer>1</answer><scores>1</scores></route><route 2>",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07\x9b1A",
    "<script>alert(1)</script>&lt;&#60;",
    "{{ 7 * 7 }} {% for x in y %} ${HOME} %s {0} {question}",
    "a\u2028b\u2029c\x85d\r\ne\rf\x0bg\x0ch",
    "\x00\x00\ufeff\ufffe\U0010ffff",
    "\ud800 lone \udfff\udc00",
    "\\ud800 \\n \\u0000 \"quoted\" 'so'",
    "\u202ertl\u2066\u200b\u0000",
    '{"question_id": "forged"}\n{"question_id": "forged"}',
    "",
    " ",
]
text = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(), max_size=40))
# Ids must be what UTF-8 can hold; anything else may be anything.
name = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
cots = st.builds(
    CoT,
    question_id=name,
    text=text,
    answer=text,
    label=st.sampled_from([0, 1, None]),
    teacher=name,
    guided=st.booleans(),
    comments=st.lists(st.from_regex(r"[0-9a-f]{12}", fullmatch=True), max_size=2).map(tuple),
    sample=st.integers(0, 2**63 - 1),
    reason=st.text(st.characters(codec="utf-8"), max_size=9),
    problem=st.sampled_from(["", *PROBLEMS]),
    prompt_tokens=st.none() | st.integers(0, 2**40),
    completion_tokens=st.none() | st.integers(0, 2**40),
    seconds=st.none() | st.floats(0, 1e6),
    params=st.sampled_from(["", "0123456789abcdef"]),
    prompt=st.sampled_from(["", "fedcba9876543210"]),
    meta=st.dictionaries(text, text, max_size=2).map(lambda found: json.dumps(found) if found else ""),
)
questions = st.builds(
    Question, id=name, question=text, answer=text, split=st.sampled_from(["train", "test"]), kind=name,
    tags=st.lists(name, max_size=2).map(tuple),
)  # fmt: skip


def distinct(found: list[CoT]) -> list[CoT]:
    return list({cot.id: cot for cot in found}.values())


@given(cots)
def test_a_row_gives_back_the_cot_it_was_made_of(cot: CoT) -> None:
    line = to_bytes(to_record(cot))
    assert line.count(b"\n") == 1
    assert from_record(json.loads(line)) == cot


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(cots, max_size=6).map(distinct), st.lists(questions, max_size=4))
def test_whatever_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, found: list[CoT], asked: list[Question]
) -> None:
    asked = list({question.id: question for question in asked}.values())
    comments = [Comment(f"c{number}", ("t",), cot.text) for number, cot in enumerate(found)]
    folder = BankFolder.create(tmp_path_factory.mktemp("bank"), {}, asked, comments)
    with folder.lock(), folder.writer() as writer:
        writer.write(found)
    again = BankFolder.open(folder.path)
    assert list(again.scan()) == found
    assert list(again.questions().values()) == asked
    assert {comment.text for comment in again.comments().values()} == {comment.text for comment in comments}
    with again.lock():
        with again.writer() as writer:
            writer.write_labels((cot, 1, "why") for cot in found)
        fold(again)
    assert [(cot.id, cot.text, cot.answer, cot.label, cot.reason) for cot in BankFolder.open(again.path).scan()] == [
        (cot.id, cot.text, cot.answer, 1, "why") for cot in found
    ]


@pytest.mark.parametrize("column", ["reason", "problem", "params", "prompt", "meta"])
def test_no_text_of_a_verifier_or_a_server_can_stop_the_writing(tmp_path: Path, column: str) -> None:
    cot = CoT("q", "text", "1", 1, **{column: '"\ud800"'})  # type: ignore[arg-type]
    folder = BankFolder.create(tmp_path / "bank")
    with folder.lock(), folder.writer() as writer:
        writer.write([cot])
        writer.write_labels([(cot, 1, "\ud800")])
    row = json.loads((tmp_path / "bank" / "cots.jsonl").read_text(encoding="utf-8"))
    assert row[column] == ('"\\ud800"' if column == "meta" else '"?"')
    assert folder.labels() == {cot.id: (1, "?")}


@pytest.mark.parametrize("column", ["question_id", "id", "teacher"])
def test_an_id_that_no_file_can_hold_is_refused(column: str) -> None:
    with pytest.raises(ValueError, match=f"`{column}` holds characters that UTF-8 cannot"):
        to_record(CoT(**{"question_id": "q", "text": "", "answer": "", "label": 1, "id": "i", column: "\ud800"}))  # type: ignore[arg-type]


@pytest.mark.parametrize("column", list(COLUMNS))
@pytest.mark.parametrize("value", [None, True, 1, 0.5, "text", ["a"], [1], {}])
def test_a_column_takes_only_its_own_kind(column: str, value: object) -> None:
    row = {**to_record(CoT("q", "text", "1", 1)), column: value}
    kinds = COLUMNS[column]
    right = isinstance(value, kinds) and not (value is True and bool not in kinds) and value not in ([1], {})
    if column == "problem":
        right = False
    if right:
        assert getattr(from_record(row), column, None) in (
            value,
            tuple(value) if isinstance(value, list) else value,
            None,
        )
    else:
        with pytest.raises(ValueError, match=f"`{column}`|problem"):
            from_record(row)


def test_an_empty_id_becomes_the_default() -> None:
    row = {**to_record(CoT("q", "text", "1", 1, teacher="m", sample=3)), "id": ""}
    assert from_record(row).id == "q/m/3"


def test_questions_and_comments_are_added_once(tmp_path: Path) -> None:
    first, other = Question("a", "?", "1", "test", "k", 0, ("t",)), Question("b", "?\ud800", "2")
    rule, copy = Comment("r1", ("t",), "a rule\udc00"), Comment("r2", (), "a rule\udc00")
    folder = BankFolder.create(tmp_path / "bank", {}, [first], [rule])
    folder.add_questions([first, other, other])
    folder.add_comments([copy])
    again = BankFolder.open(folder.path)
    assert again.questions() == {"a": first, "b": other}
    assert again.comments() == {comment_hash(rule): rule}
    assert comment_hash(rule) == comment_hash(copy)


def test_one_process_at_a_time_writes(tmp_path: Path) -> None:
    folder = BankFolder.create(tmp_path / "bank")
    with (
        another_holds(folder.path) as process,
        pytest.raises(ResourceError, match=f"process {process.pid} on .* is working in this folder"),
        BankFolder.open(folder.path).lock(),
    ):
        pass
    with folder.lock():
        pass


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "cannot read it"), (b"[]", "found None"), (b'{"format": 1}', "found 1"), (b"\xff", "cannot read it")],
)
def test_what_is_no_bank_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bank.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        BankFolder.open(tmp_path)


def test_the_last_label_counts_and_a_torn_one_does_not(tmp_path: Path) -> None:
    folder = BankFolder.create(tmp_path / "bank")
    cot = CoT("q", "text", "1", None)
    with folder.lock(), folder.writer() as writer:
        writer.write([cot])
        writer.write_labels([(cot, None, "timeout"), (cot, 0, "")])
        (tmp_path / "bank" / "labels.jsonl").open("ab").write(b'{"id": "q//0", "question_id": "q", "label": 1, "rea')
    assert folder.labels() == {cot.id: (0, "")}
    assert Bank.open(folder.path).all()[0].label == 0
    with folder.lock(), folder.writer() as writer:
        writer.write_labels([(cot, 1, "")])
    assert folder.labels() == {cot.id: (1, "")}


@pytest.mark.parametrize("size", [0, 1, 100, 70_000, 140_000])
def test_a_torn_line_of_any_length_is_cut_off(tmp_path: Path, size: int) -> None:
    """Whole lines end within any block that the end of the file is read by."""
    folder = BankFolder.create(tmp_path / "bank")
    whole = CoT("q", "x" * size, "1", 1)
    with folder.lock(), folder.writer() as writer:
        writer.write([whole])
    with (tmp_path / "bank" / "cots.jsonl").open("ab") as file:
        file.write(b'{"question_id": "' + b"y" * size)
    more = CoT("q", "z", "1", 1, sample=1)
    with folder.lock(), folder.writer() as writer:
        writer.write([more])
    assert list(folder.scan()) == [whole, more]


WRITE_UNTIL_KILLED = """
import sys
from realm.bank.cot import CoT
from realm.bank.folder import BankFolder

folder = BankFolder.open(sys.argv[1])
with folder.lock(), folder.writer() as writer:
    number = int(sys.argv[2])
    while True:
        cot = CoT("q", "x" * (number % 5000), "1", None, sample=number)
        writer.write([cot])
        writer.write_labels([(cot, number % 2, "")])
        print(number, flush=True)
        number += 1
"""


def test_a_killed_writer_loses_nothing_that_it_said_was_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = BankFolder.create(tmp_path / "bank")
    told = -1
    for start in (0, 1_000_000):
        command = [sys.executable, "-c", WRITE_UNTIL_KILLED, str(folder.path), str(start)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        assert process.stdout is not None
        for line in process.stdout:
            told = int(line)
            if told >= start + 200:
                break
        time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        told = max([told, *map(int, process.stdout.read().split("\n")[:-1])])
        process.wait()
        with caplog.at_level(logging.ERROR):
            found = list(folder.scan())
        labels = folder.labels()
        written = [cot.sample for cot in found if cot.sample >= start]
        assert written[: told - start + 1] == list(range(start, told + 1))
        assert len(written) <= told - start + 2
        assert all(labels[f"q//{sample}"] == (sample % 2, "") for sample in range(start, told + 1))
    with folder.lock():
        fold(folder)
    assert [cot.label for cot in folder.scan() if cot.sample < 200] == [number % 2 for number in range(200)]
    assert not (folder.path / "labels.jsonl").exists()
    assert len({cot.id for cot in folder.scan()}) == len(list(folder.scan()))


def test_a_bank_without_its_rows_says_so(tmp_path: Path) -> None:
    folder = BankFolder.create(tmp_path / "bank")
    (folder.path / "cots.jsonl").unlink()
    with pytest.raises(DataError, match=r"cots\.jsonl: cannot read"):
        list(folder.scan())


@pytest.mark.parametrize(
    "name", ["cots.jsonl", "questions.jsonl", "comments.jsonl", "labels.jsonl", "ledger.jsonl", "README.md"]
)
def test_files_of_others_are_never_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine\n")
    with pytest.raises(ResourceError, match=f"holds {name}, but no bank.*Name another folder"):
        BankFolder.create(tmp_path, {}, [Question("q", "?", "1")])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine\n")]


def test_a_folder_is_taken_over_where_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cots.jsonl").touch()
    (tmp_path / "notes.txt").write_text("mine")
    with monkeypatch.context() as patched:
        patched.setattr(BankFolder, "update", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            BankFolder.create(tmp_path, {}, [Question("q", "?", "1")])
    assert (tmp_path / "questions.jsonl").stat().st_size
    folder = BankFolder.create(tmp_path, {}, [Question("p", "?", "1")])
    assert list(folder.questions()) == ["p"]
    with folder.lock():
        folder.vacate()
    assert list(BankFolder.create(tmp_path).questions()) == []
    assert (tmp_path / "notes.txt").read_text() == "mine"
    # The licence to write over what is there ends with the creation.
    (tmp_path / "bank.json").unlink()
    with pytest.raises(ResourceError, match=r"README\.md"):
        BankFolder.create(tmp_path)


def test_a_bank_that_is_being_made_is_left_alone(tmp_path: Path) -> None:
    with another_holds(tmp_path), pytest.raises(ResourceError, match="is working in this folder"):
        BankFolder.create(tmp_path)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (Question("q1", "What is 2 + 2?", "1"), "'What is 1\\+1\\?' here and 'What is 2 \\+ 2\\?' there"),
        (Question("q1", "What is 1+1?", "2"), "has the gold answer '1' here and '2' there"),
    ],
)
def test_another_question_of_the_same_id_is_refused(tmp_path: Path, question: Question, said: str) -> None:
    folder = BankFolder.create(tmp_path / "bank", {}, [Question("q1", "What is 1+1?", "1")])
    before = (folder.path / "questions.jsonl").read_bytes()
    with pytest.raises(DataError, match=f"'q1'.*{said}.*--out"):
        folder.add_questions([Question("q0", "?", "1"), question])
    assert (folder.path / "questions.jsonl").read_bytes() == before
    folder.add_questions([Question("q1", " What  is 1+1?", "", split="test")])  # white space, and what is not said
    assert list(folder.questions()) == ["q1"]


@pytest.mark.parametrize(
    "entry",
    [
        {"parquet": 5},
        {"parquet": "../cots-1.parquet"},
        {"parquet": "cots-1.parquet/x"},
        {"compacted_bytes": "x"},
        {"compacted_bytes": -1},
        {"parquet_bytes": 1.5},
        {"samples": "4"},
        {"samples": True},
        {"choices": "AB"},
        {"choices": [1]},
        {"teachers": ["big"]},
    ],
)
def test_entries_of_bank_json_are_what_they_must_be(tmp_path: Path, entry: dict[str, object]) -> None:
    folder = BankFolder.create(tmp_path / "bank")
    folder.update(entry)
    with pytest.raises(DataError, match=f"`{next(iter(entry))}` must be"):
        BankFolder.open(folder.path)


@pytest.mark.parametrize(
    "row", [{}, {"hash": "a", "id": "i", "tags": "t", "text": "x"}, {"hash": "a", "id": "i", "tags": [], "text": '"'}]
)
def test_a_row_that_is_no_comment_is_named(tmp_path: Path, row: dict[str, object]) -> None:
    folder = BankFolder.create(tmp_path / "bank")
    (folder.path / "comments.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"not a comment.*mend or remove the line"):
        folder.comments()
