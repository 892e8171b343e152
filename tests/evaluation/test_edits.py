"""Small edits: on the desk exact by construction; what stayed and what moved is counted as worked out by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from realm.cli.results import print_results
from realm.config import Config, load_config
from realm.desk.cases import out_of_distribution, read_case, work_out
from realm.desk.task import DeskTask
from realm.errors import ConfigError
from realm.evaluation.edits import BEFORE, edited_splits, moved
from realm.evaluation.evaluate import evaluate_directory
from realm.rows.evaluation import AnsweredCompletion, Edited, Prediction
from realm.run_rows import read_rows
from realm.tasks.workers import VerifierPool
from tests.tiny import TinyTask, pool, save_student, tiny_bank, tiny_config

EDITS = ["clause", "wording", "number", "flip"]


def edits(*names: str) -> Config:
    return load_config(None, [f"evaluation.edits=[{', '.join(names)}]"])


def test_the_desks_edits_are_worked_out_by_its_book() -> None:
    task = DeskTask(max_test=60)
    asked = {split: task.rows(split) for split in ("test", "ood")}
    found = edited_splits(asked, task, edits(*EDITS))
    assert [*found] == [f"{split}+{edit}" for edit in EDITS for split in asked]
    for name, rows in found.items():
        split, _, edit = name.partition("+")
        before = {row.id: row for row in asked[split]}
        assert len(rows) > 40
        assert all(row.question != before[row.id].question for row in rows)
        for row in rows:
            plain = row.question
            if edit == "wording":
                plain = re.sub(r"bought for (\d+ by \w+) (\d+ days ago)", r"bought \2 for \1", plain)
            if edit == "clause":
                plain = plain.removeprefix(next(text for text in BEFORE["clause"] if plain.startswith(text))).strip()
            case = read_case(plain)
            assert case is not None and row.answer == work_out(case, task.book).answer
            assert out_of_distribution(case) == out_of_distribution(task.case(row.id))
        changed = sum(row.answer != before[row.id].answer for row in rows)
        assert (changed == 0) if edit in BEFORE else (0 < changed < len(rows))
    assert found == edited_splits(asked, task, edits(*EDITS))


def test_a_task_that_cannot_tell_the_gold_has_the_rules_alone() -> None:
    task = TinyTask()
    found = edited_splits({"test": task.rows("test")}, task, edits("clause", "wording"))
    assert [(row.id, row.answer) for row in found["test+clause"]] == [(row.id, row.answer) for row in task.rows("test")]
    assert all(
        row.question.endswith(old.question) for row, old in zip(found["test+clause"], task.rows("test"), strict=True)
    )
    with pytest.raises(ConfigError, match=r"evaluation.edits: flip: the task tiny .* choose among clause, wording"):
        edited_splits({"test": task.rows("test")}, task, edits("flip"))


def row(name: str, gold: str, *answers: str | None) -> Prediction:
    items = [
        AnsweredCompletion(
            text="", answer=one, scores=(), correct=one == gold, copied=False, reasons=(), tokens=1, truncated=False
        )
        for one in answers
    ]
    place: dict[str, Any] = {"stage": "final", "step": 0, "split": "test", "routes": 0, "question": "", "shown": ()}
    return Prediction(**place, question_id=name, gold=gold, completions=tuple(items))


def test_edited_questions_are_splits_of_an_evaluation(tmp_path: Path) -> None:
    task, student = TinyTask(), save_student(tmp_path / "student")
    config = tiny_config(tmp_path, student).changed({"evaluation.edits": ["clause"]})
    rows = evaluate_directory(student, config, task, tiny_bank(task), pool(), out=tmp_path / "out")
    assert [(row.split, row.routes) for row in rows] == [("test", 0), ("test", 4), ("test+clause", 0)]
    plain, _, after = rows
    assert after.edited is not None and after.edited.n == 0 and after.edited.stayed is not None
    assert (after.before, after.n) == (plain.accuracy, 8)
    assert after.change == pytest.approx(after.accuracy - plain.accuracy)
    assert {row.split for row in read_rows(tmp_path / "out", Prediction)} == {"test", "test+clause"}
    print_results("", rows)


def test_what_moved_and_what_stayed() -> None:
    before = [row("a", "1", "1", "2"), row("b", "1", "1", "1"), row("c", "3", None, "4"), row("d", "5", "5", "5")]
    after = [row("a", "2", "2", "2"), row("b", "1", "1", "7"), row("c", "3", None, "4")]
    found = moved(after, before, pool(), 200, 0)
    assert found.changed is not None and found.stayed is not None
    assert (found.n, found.changed.value, found.stayed.value) == (1, 0.5, 0.75)
    assert found.stayed.low == 0.5 and found.stayed.high == 1.0
    assert moved([replace(after[1])], before, pool(), 200, 0) == Edited(
        n=0, changed=None, stayed=moved([after[1]], before, pool(), 200, 0).stayed
    )


def test_answers_are_compared_by_the_verifier_of_their_kind() -> None:
    before = [replace(row("a", "1", "1"), kind="sum"), row("b", "1", "1")]
    after = [replace(row("a", "1.0", "1.0"), kind="sum"), row("b", "1.0", "1.0")]
    with VerifierPool('{"default": "exact", "sum": "number"}') as by_kind:
        found = moved(after, before, by_kind, 200, 0)
    assert found.changed is not None and found.stayed is not None
    assert (found.n, found.changed.value, found.stayed.value) == (1, 1.0, 1.0), "as a text 1.0 is another answer"
