"""The other task that a model is asked: what is wrong with it is told before the work, and nobody is trusted by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from realm.config import Config
from realm.errors import UserError
from realm.evaluation.also import other_task


def test_none_is_asked_unless_one_is_named() -> None:
    assert other_task(Config()) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"other\.yaml: cannot read the configuration"),
        ("task: {nme: desk}", r"other\.yaml: unknown key task\.nme"),
        ("evaluation: {splits: [tset]}", r"the task desk has no split tset"),
        ("task: {name: jsonl, path: none.jsonl}", "none.jsonl"),
        ("task: {name: 'tests.tiny:TinyTask'}", "not been named|trust"),
    ],
)
def test_what_is_wrong_with_it_is_told(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "other.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        other_task(Config().changed({"evaluation.also": str(path)}))


def test_it_is_asked_of_the_same_model_in_its_own_wording(tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(
        "task: {name: desk, max_test: 3}\nprompt: {system: Odd.}\nmodel: {path: nowhere}\n", encoding="utf-8"
    )
    found = other_task(Config().changed({"evaluation.also": str(path), "model.path": "desk-base"}))
    assert found is not None and found.name == "other"
    assert (found.config.model.path, found.config.prompt.system) == ("desk-base", "Odd.")
    assert {split: len(rows) for split, rows in found.questions.items()} == {"test": 3, "ood": 3, "uncommented": 3}
