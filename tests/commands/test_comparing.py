"""`realm compare`: stored evaluations where there are some, else one that is made; paired by question in any case."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from realm.cli.app import app
from realm.commands import comparing
from realm.commands.comparing import compare
from realm.commands.evaluating import evaluate
from realm.config import Config
from realm.errors import ConfigError, DataError, ModelError
from realm.files import read_jsonl, to_line

EVIL = "\x1b[31m[bold]evil"


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


@pytest.fixture(scope="module")
def base(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of the untrained student."""
    folder = tmp_path_factory.mktemp("evaluated") / "base"
    evaluate(config, config.model.path, out=folder)
    return folder


def changed(folder: Path, to: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of an evaluation with other predictions."""
    shutil.copytree(folder, to, ignore=lambda *_: ["model", "checkpoints"])
    rows = read_jsonl(to / "predictions.jsonl")
    for row in rows:
        change(row)
    (to / "predictions.jsonl").write_text("".join(map(to_line, rows)))
    return to


def accuracies(run: Path, routes: int) -> dict[str, float]:
    rows = read_jsonl(run / "predictions.jsonl")
    return {row["question_id"]: row["completions"][0]["correct"] for row in rows if row["routes"] == routes}


def test_routes_that_had_no_room_are_told(trained: Path, base: Path, tmp_path: Path) -> None:
    short = changed(base, tmp_path / "short", lambda row: None)
    rows = [
        row | {"routes_per_prompt": 0.0, "routes_dropped": row["routes"]}
        for row in read_jsonl(short / "evaluations.jsonl")
    ]
    (short / "evaluations.jsonl").write_text("".join(map(to_line, rows)))
    [note] = compare(trained, short)[1]
    assert "no prompt had room for any of 4 routes" in note


def test_stored_evaluations_are_used(trained: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "evaluate", None)
    found, notes = compare(trained, base)
    assert not notes
    assert compare(trained / "model", base)[0] == found, "the model of a run has the run's evaluation"
    for one, routes in zip(found, (0, 4), strict=True):
        ours, theirs = accuracies(trained, routes), accuracies(base, routes)
        assert one.difference.difference == pytest.approx((sum(ours.values()) - sum(theirs.values())) / len(ours))
        assert one.difference.low <= one.difference.difference <= one.difference.high
        assert [row.accuracy for row in one.results if row] == [
            pytest.approx(sum(side.values()) / len(side)) for side in (ours, theirs)
        ]
        alone = [sum(ours[key] > theirs[key] for key in ours), sum(ours[key] < theirs[key] for key in ours)]
        assert [side["count"] for side in one.part["sides"]] == alone
        assert one.part["both"] + one.part["neither"] + sum(alone) == one.part["n"] == len(ours)


def test_a_margin_is_held_against_every_difference(base: Path, tmp_path: Path) -> None:
    def spoil(row: dict[str, Any]) -> None:
        row["completions"][0]["correct"] = False

    same, none = (
        changed(base, tmp_path / name, change) for name, change in (("same", lambda row: None), ("no", spoil))
    )
    for found in compare(base, same, margin=0.02)[0]:
        held = found.difference.equivalence
        assert held is not None and held.no_worse == held.same == pytest.approx(0.98**8)
    assert all(one.difference.equivalence is None for one in compare(base, same)[0])
    told = cli(none, base, "--margin", "2", "--show", "0")
    assert told.exit_code == 0
    assert "that no is less than 2 points worse than base is not shown" in " ".join(told.stdout.split())
    refused = cli(base, same, "--margin", "200")
    assert refused.exit_code == 2 and "below 100 points, found 200" in refused.stderr


def test_a_model_without_an_evaluation_is_asked_the_questions_of_the_other(
    trained: Path, base: Path, config: Config, tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    stored, _ = compare(trained, base)
    made, _ = compare(trained, config.model.path)
    assert [one.difference.difference for one in made] == [one.difference.difference for one in stored]
    assert [one.part["sides"] for one in made] == [one.part["sides"] for one in stored]
    turned, _ = compare(config.model.path, trained)
    assert [one.difference.difference for one in turned] == [-one.difference.difference for one in stored]
    copy = shutil.copytree(trained / "model", tmp_path / "copy")
    own, _ = compare(config.model.path, copy, config)
    assert [one.difference.difference for one in own] == [-one.difference.difference for one in stored]
    shutil.rmtree(copy)
    assert sorted(tmp_path.iterdir()) == before, "nothing is left"


def test_a_model_that_a_run_left_on_its_way_has_no_evaluation_of_the_run(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def noted(config: Config, model: str, **given: Any) -> object:
        asked.append(model)
        return evaluate(config, model, **given)

    monkeypatch.setattr(comparing, "evaluate", noted)
    found, _ = compare(trained, trained / "checkpoints" / "sft" / "round-0" / "model")
    assert asked == [str(trained / "checkpoints" / "sft" / "round-0" / "model")]
    assert [row.name for row in found[0].results if row] == ["run", "model"]


def test_other_questions_are_refused(trained: Path, base: Path, tmp_path: Path) -> None:
    other = changed(base, tmp_path / "other", lambda row: row.update(question="8 plus 8"))
    refused = cli(trained, other)
    assert refused.exit_code == 2
    assert "answered different questions of split test" in refused.output
    assert f"`realm evaluate {trained} --model DIR`" in refused.output and "Traceback" not in refused.output


def test_misuse(trained: Path, config: Config, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the same folder twice"):
        compare(trained, trained)
    with pytest.raises(ConfigError, match=r"nothing tells which questions .* --config"):
        compare(config.model.path, "desk-base")
    with pytest.raises(ModelError, match="no such model directory"):
        compare(trained, tmp_path / "nothing")


def test_what_it_prints(trained: Path, base: Path, tmp_path: Path) -> None:
    def mine(row: dict[str, Any]) -> None:
        row["completions"][0].update(correct=True, answer=EVIL)

    def yours(row: dict[str, Any]) -> None:
        row["completions"][0].update(correct=False, answer=None)

    a, b = changed(base, tmp_path / "mine", mine), changed(base, tmp_path / "yours", yours)
    told = cli(a, b, "--show", 2)
    assert told.exit_code == 0, told.output
    assert "\x1b" not in told.output
    assert told.stdout.count("only mine: ") == 4, "two of each table"
    assert "mine: \\x1b[31m[bold]evil; yours: no answer; right: " in told.stdout
    assert "+100.0 (+26.1 to +100.0)" in told.stdout and max(map(len, told.stdout.splitlines())) <= 80
    rows = [json.loads(line) for line in cli(a, b, "--json").stdout.splitlines()]
    assert [row["difference"]["difference"] for row in rows] == [1.0, 1.0]
    assert len(rows[0]["part"]["sides"][0]["questions"]) == 8
