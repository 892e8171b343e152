"""Questions in a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from realm.errors import DataError
from realm.sections import TaskConfig
from realm.tasks.base import text_id
from realm.tasks.jsonl import load_jsonl, read_rows


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "q.csv"
    path.write_bytes(text.encode("utf-8"))
    return path


def test_a_table_is_read_like_json_lines(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "\ufeffid,question,answer,tags,difficulty,note\r\n"
        'a,"What is\n""1"", +1?",2,sum; small,3,\r\n,Ende ü?,x,,,kept\r\n',
    )
    first, second = read_rows(path)
    assert (first.id, dict(first.content)) == (
        "a",
        {"id": "a", "question": 'What is\n"1", +1?', "answer": "2", "tags": ["sum", "small"], "difficulty": 3},
    )
    assert (second.id, dict(second.content)) == (
        text_id("Ende  ü?"),
        {"question": "Ende ü?", "answer": "x", "note": "kept"},
    )


def test_a_task_is_made_of_a_table(tmp_path: Path) -> None:
    rows = "".join(f"How much is {number} + 1?,{number + 1},sum;easy\n" for number in range(30))
    path = table(tmp_path, "question,answer,tags\n" + rows)
    task = load_jsonl(TaskConfig(name="jsonl", path=str(path), test_size=5, verifier="number"), seed=0)
    assert [len(task.rows(split)) for split in task.splits()] == [23, 2, 5]
    assert {question.tags for question in task.rows("train")} == {("sum", "easy")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "q.csv:1: expected a header with the columns question and answer, found nothing"),
        ("question,answer\na,b,c\n", "q.csv:2: expected 2 cells"),
        ("question,answer\na\n", "q.csv:2: expected 2 cells"),
        ("question,answer,difficulty\na,b,hard\n", "q.csv:2: `difficulty` must be an integer, found 'hard'"),
        ('question,answer\n"a,b\n', "q.csv:.*not readable as CSV"),
        ("question,answer\n", "the file holds none"),
        ("id,question,answer\n1,a,b\n1,c,d\n", "q.csv:3: the id '1' is in line 2 too"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(read_rows(table(tmp_path, text)))


def test_rows_without_id_keep_their_names_when_others_come_before_them(tmp_path: Path) -> None:
    before = [row.id for row in read_rows(table(tmp_path, "question,answer\na?,1\nb?,2\na?,3\n"))]
    after = [row.id for row in read_rows(table(tmp_path, "question,answer\nnew?,0\na?,1\nb?,2\na?,3\n"))]
    assert len(set(before)) == 3
    assert after[1:] == before


def test_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_bytes("question,answer\nWürde?,ja\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"q\.csv: not UTF-8 near .*; save the table as UTF-8"):
        list(read_rows(path))
