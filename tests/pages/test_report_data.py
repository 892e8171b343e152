"""Reading run folders: finished, under way, damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from realm.errors import DataError
from realm.pages.data import read_report, read_settings
from realm.rows.evaluation import Part
from tests.conftest import read_rows
from tests.pages import fake_run


def test_settings_of_an_old_run_are_read_without_those_that_went(tmp_path: Path) -> None:
    path, notes = tmp_path / "config.yaml", list[str]()
    path.write_text("evaluation: {vote: false, samples: 3}\nmoon: {phase: 1}\n")
    config = read_settings(path, notes)
    assert config is not None and config.evaluation.samples == 3 and notes == []
    path.write_text("routes: {k: many, old: 1}\n")
    assert read_settings(path, notes) is None
    assert notes[0].startswith(f"{tmp_path.name}/config.yaml cannot be read: routes.k: ")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing there"):
        read_report(tmp_path / "missing")
    with pytest.raises(DataError, match="none of"):
        read_report(tmp_path)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(DataError, match="found a file"):
        read_report(file)


def test_a_finished_run(tmp_path: Path) -> None:
    report = read_report(fake_run.training_run(tmp_path / "r", "grpo", steps=50))
    assert report.names() == ["grpo"]
    assert report.splits() == ["test", "ood", "uncommented"]
    assert report.routes() == 4
    assert report.notes == []
    rows = read_rows(tmp_path / "r" / "evaluations.jsonl")
    row = next(row for row in rows if (row["stage"], row["split"], row["routes"]) == ("final", "ood", 4))
    found, gap = report.result("grpo", "ood", True), report.gap("grpo", "ood")
    assert found is not None and gap is not None
    assert (found.accuracy, found.n) == (row["accuracy"], 400)
    assert found.interval == (row["accuracy_low"], row["accuracy_high"])
    assert found.by_kind == {kind: Part(**part) for kind, part in row["by_kind"].items()}
    assert gap[1:] == (row["autonomy_gap_low"], row["autonomy_gap_high"])


def test_missing_parts_are_named(tmp_path: Path) -> None:
    folder = fake_run.training_run(tmp_path / "r", "realm-zero", steps=50, finished=False)
    assert read_report(folder).notes == ["realm-zero: no final evaluation yet."]
    (folder / "evaluations.jsonl").unlink()
    (folder / "completions.jsonl").unlink()
    assert read_report(folder).notes == [
        "realm-zero: no evaluations (evaluations.jsonl), no sampled completions (completions.jsonl) yet."
    ]
    (folder / "meta.json").write_text(json.dumps({"status": "failed"}), encoding="utf-8")
    assert "realm-zero: the run has failed." in read_report(folder).notes


def test_the_stages_stand_one_after_the_other_on_the_axis(tmp_path: Path) -> None:
    rows = [
        {"stage": stage, "round": round_, "step": step, "seconds": 1, "tokens": 1, "loss": 1}
        | {"grad_norm": 1, "learning_rate": 1}
        for round_ in (0, 1)
        for stage, steps in (("sft", 10), ("rl", 40))
        for step in (1, steps)
    ]
    fake_run.jsonl(tmp_path / "metrics.jsonl", rows)
    run = read_report(tmp_path).runs[0]
    assert run.position("base", 0, 0) == 0
    assert run.position("sft", 0, 10) == 10
    assert run.position("rl", 0, 5) == 15
    assert run.position("sft", 1, 1) == 51
    assert run.position("rl", 1, 40) == 100


def test_runs_side_by_side_are_not_one(tmp_path: Path) -> None:
    for name in ("grpo", "mine"):
        fake_run.training_run(tmp_path / name, "grpo", steps=50)
    with pytest.raises(DataError, match=r"several runs: grpo, mine\."):
        read_report(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(DataError, match=r"quickstart of an earlier version .* Name one of the runs in it") as refused:
        read_report(tmp_path)
    assert "\n" not in str(refused.value)
    assert read_report(tmp_path / "grpo").names() == ["grpo"]


def test_an_evaluation_is_not_named_after_a_recipe(tmp_path: Path) -> None:
    folder = fake_run.training_run(tmp_path / "r", "grpo", steps=50)
    (folder / "meta.json").write_text(json.dumps({"evaluated": "models/mine"}), encoding="utf-8")
    assert read_report(folder).runs[0].name == "r"
