"""The rows of a run: what is written is read back, and what does not fit is one complaint with file, line and field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from realm.errors import DataError
from realm.files import append_jsonl, read_jsonl
from realm.rows.base import ShownRoute, record
from realm.rows.evaluation import AnsweredCompletion, Evaluation, Prediction
from realm.rows.run import FORMAT, Meta
from realm.rows.training import RlStep, SftStep, Step
from realm.run_rows import read_row, read_rows

STEP = {"stage": "rl", "step": 1, "seconds": 1, "tokens": 3, "loss": 0.1, "grad_norm": None, "learning_rate": 1e-5}
ANSWER = AnsweredCompletion(
    text="t", answer=None, scores=(0.5, None), correct=False, copied=False, reasons=("x",), tokens=3, truncated=True
)
ROW = Prediction(
    stage="final", step=3, split="test", routes=2, question_id="q", question="?", gold="1", class_="a",
    shown=(ShownRoute(id="r", answer="2", label=0),), completions=(ANSWER,),
)  # fmt: skip


def lines(folder: Path, *rows: object) -> Path:
    raw = (row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows)
    (folder / Step.FILE).write_bytes(b"".join(raw))
    return folder


def test_a_row_comes_back(tmp_path: Path) -> None:
    append_jsonl(tmp_path / Prediction.FILE, record(ROW))
    assert list(read_rows(tmp_path, Prediction)) == [ROW]
    (written,) = read_jsonl(tmp_path / Prediction.FILE)
    assert list(written)[:5] == ["stage", "round", "step", "split", "routes"]
    assert written["class"] == "a" and "text" not in written["shown"][0], "a rare column is left out"


def test_a_metric_is_read_by_its_stage(tmp_path: Path) -> None:
    lines(tmp_path, {**STEP, "stage": "sft"}, {**STEP, "kl": 0.5, "of a later version": [1]})
    sft, rl = read_rows(tmp_path, Step)
    assert isinstance(sft, SftStep) and isinstance(rl, RlStep)
    assert (rl.kl, rl.loss, rl.round, rl.parse) == (0.5, 0.1, 0, {})
    assert list(read_rows(tmp_path, Evaluation)) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"not json\n", "expected one JSON object on the line"),
        (b"[1]\n", "expected one JSON object on the line"),
        (b"\xff\xfe\n", "expected one JSON object on the line"),
        (b"[" * 100_000 + b"\n", "expected one JSON object on the line"),
        ({"step": 2}, "stage: unable to extract tag"),
        ({**STEP, "stage": "x"}, "stage: input tag 'x' found"),
        ({**STEP, "step": True}, "step: input should be a valid integer"),
        ({**STEP, "step": 10**30}, "step: input should be less than"),
        ({**STEP, "tokens": "5"}, "tokens: input should be a valid integer"),
        ({**STEP, "loss": float("nan")}, "loss: input should be a finite number"),
        ({**STEP, "accuracy": 71.2}, "accuracy: input should be less than"),
        ({**STEP, "parse": {"\x1b[1m": "x"}}, "parse.\\x1b[1m: input should be a valid number"),
        ({key: value for key, value in STEP.items() if key != "seconds"}, "seconds: field required"),
    ],
)
def test_what_does_not_fit_is_told_with_file_line_and_field(tmp_path: Path, line: object, said: str) -> None:
    lines(tmp_path, STEP, line, STEP, line)
    notes: list[str] = []
    assert len(list(read_rows(tmp_path, Step, notes))) == 2
    (note,) = notes
    assert note.startswith(
        f"{tmp_path.name}/metrics.jsonl: 2 unreadable lines were left out, the first, line 2: {said}"
    )
    with pytest.raises(DataError) as error:
        list(read_rows(tmp_path, Step))
    assert str(error.value).startswith(f"{tmp_path}/metrics.jsonl:2: {said}")


def test_a_torn_last_line_is_silent(tmp_path: Path) -> None:
    notes: list[str] = []
    assert len(list(read_rows(lines(tmp_path, STEP, b'{"stage": "r'), Step, notes))) == 1
    assert len(list(read_rows(lines(tmp_path, STEP, json.dumps(STEP).encode()), Step, notes))) == 2, (
        "whole all the same"
    )
    assert notes == []
    list(read_rows(lines(tmp_path, STEP, b'{"stage": "rl"}'), Step, notes))
    assert notes, "whole, but no row"


def test_an_old_folder_is_read_and_a_later_one_refused(tmp_path: Path) -> None:
    path = tmp_path / Meta.FILE
    assert read_row(tmp_path, Meta) is None
    path.write_text('{"format": 1, "name": "old"}')
    assert read_row(tmp_path, Meta) == Meta(name="old")
    path.write_text(json.dumps({"format": FORMAT + 1, "status": ["unheard of"]}))
    with pytest.raises(DataError, match=rf"meta\.json: format {FORMAT + 1} is of a later version of realm"):
        read_row(tmp_path, Meta, [])
    path.write_text('{"status": "well"}')
    notes: list[str] = []
    assert read_row(tmp_path, Meta, notes) is None
    assert notes[0].startswith(f"{tmp_path.name}/meta.json: status: input should be 'running'")
