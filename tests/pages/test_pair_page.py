"""The page of two runs: paired figures, the questions they part on, and a refusal where they were asked others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from realm.cli.app import app
from realm.errors import DataError
from realm.method.seeds import derive
from realm.pages.pair import page_context, write_comparison
from realm.pages.svg import points
from realm.statistics.bootstrap import paired_difference
from realm.statistics.equivalence import paired_equivalence
from realm.text import p_value
from tests.conftest import read_rows
from tests.pages import fake_run
from tests.pages.chromium import Chromium
from tests.pages.pages import ATTACK, Shape, text_of


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    a = fake_run.training_run(tmp_path / "mine", "grpo", steps=80)
    return a, fake_run.training_run(tmp_path / "yours", "realm-r1", steps=120, seed=1)


def disagreements(a: Path, b: Path) -> Any:
    return page_context(a, b)["disagreements"]


def rewrite(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change every row of a run's predictions in place; a row for which `change` gives False is left out."""
    path = run / "predictions.jsonl"
    rows = read_rows(path)
    fake_run.jsonl(path, [row for row in rows if change(row) is not False])


def right(run: Path, routes: int) -> dict[str, float]:
    rows = map(json.loads, (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines())
    return {row["question_id"]: float(row["completions"][0]["correct"]) for row in rows if row["routes"] == routes}


def test_differences_are_paired_by_question(runs: tuple[Path, Path]) -> None:
    shown = text_of(write_comparison(*runs).read_text(encoding="utf-8"))
    for routes in (0, 4):
        found = paired_difference(right(runs[0], routes), right(runs[1], routes), seed=derive(0, "comparison"))
        assert f"{points(found.difference)} {points(found.low)} to {points(found.high)}" in shown
    assert (runs[0] / "against-yours.html").is_file()


def test_a_margin_is_held_against_every_difference(runs: tuple[Path, Path], tmp_path: Path) -> None:
    assert "Against a margin" not in write_comparison(*runs).read_text(encoding="utf-8")
    told = CliRunner().invoke(app, ["report", *map(str, runs), "--margin", "12.5", "--out", str(tmp_path / "a.html")])
    assert told.exit_code == 0, told.output
    shown = text_of((tmp_path / "a.html").read_text(encoding="utf-8"))
    for how, routes in (("without", 0), ("with", 4)):
        ours, theirs = (right(run, routes) for run in runs)
        held = paired_equivalence(ours, theirs, 0.125, seed=derive(0, "comparison"))
        words = [f"{'shown' if p < 0.05 else 'not shown'} (p {p_value(p)})" for p in (held.no_worse, held.same)]
        assert (
            f"Test, {how} routes: that mine is less than 12.5 points worse than yours is {words[0]}; that the two "
            f"differ by less is {words[1]}." in shown
        )
    for more, said in ((["--margin", "0"], "below 100 points, found 0"), ([], "name the other one")):
        refused = CliRunner().invoke(app, ["report", *map(str, runs[: 2 if more else 1]), *(more or ["--margin", "2"])])
        assert refused.exit_code == 2 and said in refused.stderr and refused.stderr.count("\n") == 1


def test_the_questions_that_only_one_got_right_stand_with_both_answers(runs: tuple[Path, Path]) -> None:
    alone = {key for key, value in right(runs[0], 0).items() if value > right(runs[1], 0)[key]}
    part = disagreements(*runs)[0]
    assert part["title"] == "Test, without routes"
    assert part["both"] + part["neither"] + sum(side["count"] for side in part["sides"]) == part["n"] == 40
    mine = part["sides"][0]
    assert (mine["name"], mine["count"]) == ("mine", len(alone))
    assert {one["id"] for one in mine["questions"]} == alone
    for one in mine["questions"]:
        first, second = one["sides"]
        assert (first["name"], first["right"], second["name"], second["right"]) == ("mine", 1, "yours", 0)
        assert first["answer"] == one["gold"] != second["answer"]
        assert "<think>" in second["text"]


def test_settings_that_differ_are_listed_and_names_are_not(runs: tuple[Path, Path]) -> None:
    rows = {name: cells for _, name, cells in page_context(*runs)["settings"].bodies[0][1]}
    assert rows == {
        "run.seed": ["0", "1"],
        "training.recipe": ["grpo", "realm-r1"],
        "training.rl.steps": ["80", "60"],
    }


def test_runs_that_were_asked_otherwise_say_so(runs: tuple[Path, Path]) -> None:
    def told() -> list[str]:
        return [note for note in page_context(*runs)["notes"] if "same way" in note]  # type: ignore[attr-defined]

    assert told() == []
    path = runs[1] / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config.setdefault("evaluation", {})["samples"] = 4
    config.setdefault("task", {})["verifier"] = "math"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    (note,) = told()
    assert "evaluation.samples (1 and 4)" in note and "task.verifier (" in note
    assert note.count(" and ") >= 4 and "prompt" not in note


def test_routes_that_most_prompts_lacked_are_told(runs: tuple[Path, Path]) -> None:
    assert not any("routes were shown" in note for note in page_context(*runs)["notes"])  # type: ignore[attr-defined]
    path = runs[1] / "evaluations.jsonl"
    few = [row | ({"routes_per_prompt": 0.5} if row["routes"] else {}) for row in read_rows(path)]
    fake_run.jsonl(path, few)
    assert "yours, test: 0.5 of 4 routes were shown." in page_context(*runs)["notes"]  # type: ignore[operator]


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    a = fake_run.training_run(tmp_path / "x" / "grpo", "grpo", steps=60)
    b = fake_run.training_run(tmp_path / "y" / "grpo", "grpo", steps=60, seed=1)
    assert page_context(a, b)["names"] == ["x/grpo", "y/grpo"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row["question_id"] != "test-3", "split test: 1 only in the first, 0 only in the second"),
        (lambda row: row.update(question="Another?"), "40 of the same id with another text"),
        (lambda row: row.update(gold="9"), "40 of the same id with another text"),
        (lambda row: row.update(split="ood"), "splits test in the first, ood in the second"),
        (lambda row: False, "no final evaluation in predictions.jsonl"),
    ],
)
def test_runs_asked_different_questions_are_refused(
    runs: tuple[Path, Path], change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    rewrite(runs[1], change)
    with pytest.raises(DataError, match=said):
        write_comparison(*runs)


def test_runs_shown_other_routes_are_compared_without_routes_alone(runs: tuple[Path, Path]) -> None:
    def other(row: dict[str, Any]) -> None:
        if row["routes"]:
            row["shown"][0]["id"] = "another"

    def compared() -> list[str]:
        return [part["title"].partition(", ")[2] for part in disagreements(*runs)]

    assert compared() == ["without routes", "with routes"]
    rewrite(runs[1], other)
    assert compared() == ["without routes"]
    assert any("with routes: not compared" in note for note in page_context(*runs)["notes"])
    for run in runs:
        rewrite(run, lambda row: bool(row["routes"]))
    with pytest.raises(DataError, match=r"nothing to compare: .*other routes"):
        page_context(*runs)


def test_the_same_run_twice_is_refused(runs: tuple[Path, Path]) -> None:
    result = CliRunner().invoke(app, ["report", str(runs[0]), str(runs[0])])
    assert result.exit_code == 2
    assert "the same folder twice" in result.output


def test_predictions_of_any_shape_never_stop_the_page(runs: tuple[Path, Path]) -> None:
    junk = [
        {"stage": "final", "split": 3, "completions": [{"answer": 7, "text": None, "correct": "yes"}]},
        {"routes": "x"},
    ]
    for run in runs:
        with (run / "predictions.jsonl").open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(row) + "\n" for row in junk) + "[1]\nnot json\n")
    assert "4 unreadable lines were left out, the first, line 81: step: field required." in text_of(
        write_comparison(*runs).read_text(encoding="utf-8")
    )


@pytest.mark.browser
def test_the_page_fits_and_nothing_in_it_acts(browser: Chromium, runs: tuple[Path, Path]) -> None:
    shout = "W" * 400 + ATTACK

    def poison(row: dict[str, Any]) -> None:
        row.update(question=shout + row["question"], gold=shout + row["gold"], kind=shout)
        for item in row["completions"]:
            item.update(text=shout, answer=shout + item["answer"])

    for run in runs:
        rewrite(run, poison)
    page = write_comparison(*runs)
    assert page.stat().st_size < 5_000_000
    shape = Shape(page.read_text(encoding="utf-8"))
    assert "img" not in shape.tags and shape.handlers == []
    assert not re.search(r"https?://", page.read_text(encoding="utf-8"))
    for width in (1280, 390):
        browser.show(page, width)
        browser.run('document.querySelectorAll("details").forEach((node) => { node.open = true; })')
        assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("window.pwned === undefined && document.scripts.length === 1")
