"""`realm experiment` at the command line: the list, mistakes, and how it goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from realm.desk import task
from realm.experiments.conduct import Order
from realm.experiments.jobs import Job
from realm.experiments.spec import packaged
from tests.cli.conftest import Realm


def test_the_list_names_every_experiment_with_its_cells(realm: Realm) -> None:
    result = realm("experiment", "--list", "--seeds", "2")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.output.splitlines()}
    assert lines.keys() == packaged().keys()
    assert "(8 cells with 2 seeds)" in lines["mrpv-alone"]
    assert "(8 cells with 1 seed)" in lines["decoding"]  # nothing is trained


def test_mistakes_end_in_one_line_and_leave_nothing(
    realm: Realm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("title: t\nquestion: q\narms: {a: {sett: {}}}\n")
    for arguments, words in (
        ([], "NAME is missing: realm experiment --list"),
        (["zzz"], "no experiment 'zzz'; there are autonomy"),
        (["bad.yaml"], "bad.yaml: unknown key arms.a.sett; did you mean set?"),
        (["mrpv-alone", "--set", "routes.kk=3"], "--set routes.kk=3: unknown key routes.kk"),
    ):
        result = realm("experiment", *arguments)
        assert result.exit_code == 2
        assert words in result.stderr
        assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


def test_a_stopped_experiment_goes_on_with_the_same_command(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(order: Order, console: object) -> None:
        assert (order.name, order.seeds, order.command) == ("routes", 3, "realm experiment routes --seeds 3")
        raise KeyboardInterrupt

    monkeypatch.setattr("realm.experiments.conduct.conduct", stop)
    result = realm("experiment", "routes", "--seeds", "3")
    assert result.exit_code == 130
    assert result.stderr.strip().endswith("To go on where it was: realm experiment routes --seeds 3")


def test_words_of_a_users_file_are_no_markup(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    title = "title: [/a] and [bold]b"
    monkeypatch.setattr("realm.experiments.conduct.conduct", lambda order, console: console.print(title))
    result = realm("experiment", "routes")
    assert result.exit_code == 0
    assert title in result.output


def test_decodings_and_wordings_of_a_model(
    realm: Realm, student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(task, "SIZES", dict.fromkeys(task.SIZES, 4))

    def in_here(jobs: Sequence[Job], *_: object) -> None:
        for job in jobs:
            result = realm(*job.arguments)
            assert result.exit_code == 0, result.output

    monkeypatch.setattr("realm.experiments.runner._run", in_here)
    less = ["--set", "evaluation.splits=[test]", "--set", "evaluation.bootstrap=100"]
    result = realm("experiment", "decoding", "--set", f"model.path={student}", *less, "--out", "x")
    assert result.exit_code == 0, result.output
    found = json.loads(Path("x/decoding/results.json").read_text())
    assert [(row["group"], row["arms"], row["measure"]) for row in found["spreads"]] == [
        ("decoding", 5, "test/without"), ("wording", 4, "test/without"),
    ]  # fmt: skip
    assert "what is to be reported is base, the choice made before" in found["finding"]
    told = {}
    for cell in Path("x/cells").iterdir():
        rows = [json.loads(line) for line in (cell / "predictions.jsonl").read_text().splitlines()]
        told[cell.name.partition("-")[0]] = [[one["text"] for one in row["completions"]] for row in rows]
    assert {arm: {len(row) for row in rows} for arm, rows in told.items()} == {
        "base": {1}, "brief": {1}, "plain": {1}, "careful": {1}, "expert": {1}, "cool": {4}, "warm": {4}, "hot": {4},
    }  # fmt: skip
    assert len({json.dumps(told[arm]) for arm in ("base", "brief", "cool", "warm", "hot")}) == 5
    caches = {row["arm"]: row["cache"] for row in found["memory"]}
    assert len({caches[arm] for arm in ("base", "plain", "careful", "expert")}) == 4  # longer prompts, one answer
