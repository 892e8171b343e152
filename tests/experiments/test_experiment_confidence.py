"""When the answers of arms may be trusted: over all seeds of cells that tell it, and nothing where one does not."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from realm.config import Config
from realm.evaluation import confidence
from realm.experiments.confidence import over_seeds, told_by
from realm.files import read_jsonl, to_line
from realm.rows.base import record
from realm.rows.evaluation import Evaluation, Prediction
from realm.run_rows import read_rows
from tests.experiments.test_experiment_runner import Started, WriteSpec, run

SPLITS = ("test", "validation")


def confide(folder: Path, seed: int) -> None:
    """Give a finished evaluation of a stand-in what one with `evaluation.confidence` has, by a threshold of 0.5."""
    source = random.Random(seed)
    told = {"answer": "6", "scores": [], "copied": False, "reasons": [], "tokens": 3, "truncated": False}
    rows = [row for row in read_jsonl(folder / "predictions.jsonl") if row["split"] == "test"]
    rows += [{**row, "split": "validation"} for row in rows]
    for row in rows:
        row |= {"question": "?", "gold": "6", "shown": []}
        row["completions"] = [{**one, **told, "confidence": source.random()} for one in row["completions"]]
    (folder / "predictions.jsonl").write_text("".join(map(to_line, rows)))
    course = [row for row in read_jsonl(folder / "evaluations.jsonl") if row["stage"] != "final"]
    finals = [row for row in read_jsonl(folder / "evaluations.jsonl") if row["split"] == "test"]
    finals += [{**row, "split": "validation"} for row in finals]
    (folder / "evaluations.jsonl").write_text("".join(map(to_line, finals)))
    config = Config().changed(
        {
            f"evaluation.{key}": value
            for key, value in (("confidence", "stated"), ("precision", 0.3), ("bootstrap", 100))
        }
        | {"run.seed": seed}
    )
    made = confidence.told(list(read_rows(folder, Evaluation)), list(read_rows(folder, Prediction)), config)
    (folder / "evaluations.jsonl").write_text("".join(map(to_line, [*course, *map(record, made)])))


def test_cells_that_tell_confidence_have_a_section_and_others_none(write_spec: WriteSpec, started: Started) -> None:
    spec = write_spec(measures=[["test", "without"]])
    plain = run(spec)
    page = Path("x") / "mine" / "mine.md"
    before = page.read_text()
    assert plain["confidence"] == [] and "When to trust" not in before
    cells = [*Path("x").glob("cells/r1-*"), *Path("x").glob("cells/plain-*0-*")]
    for seed, folder in enumerate(sorted(cells)):
        confide(folder, seed)
    found = run(spec)
    (row,) = found["confidence"]  # of the other arm one seed alone tells it
    assert (row["arm"], row["measure"]) == ("r1", "test/without")
    one, seeds = row["confidence"], [told_by(folder)["test", False][0] for folder in Path("x").glob("cells/r1-*")]
    for name in ("ece", "brier", "auroc", "aurc"):
        assert one[name]["value"] == pytest.approx(fmean(getattr(seed, name).value for seed in seeds))
    assert one["trusted"]["coverage"]["value"] == pytest.approx(fmean(seed.trusted.coverage.value for seed in seeds))
    assert one["threshold"] == pytest.approx(fmean(seed.threshold for seed in seeds))
    assert (one["by"], one["wanted"], one["chosen_on"], one["curve"]) == ("stated", 0.3, "validation", [])
    told = page.read_text()
    section = told.partition("## When to trust an answer")[2].partition("\n## ")[0]
    assert f"| r1 | {one['ece']['value']:.3f} (" in section and "| *test, without routes* |" in section
    assert told.replace(f"## When to trust an answer{section}\n", "") == before, "the rest is as it was"


def test_one_seed_has_the_figures_of_its_own_evaluation(tmp_path: Path) -> None:
    where = {"stage": "final", "step": 1, "split": "test"}
    rows = [
        {**where, "routes": 0, "question_id": str(n), "completions": [{"correct": n % 3 > 0, "text": ""}]}
        for n in range(30, 0, -1)
    ]
    (tmp_path / "predictions.jsonl").write_text("".join(map(to_line, rows)))
    part = {"n": 30, "accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6}
    (tmp_path / "evaluations.jsonl").write_text(json.dumps({**where, "routes": 0, **part}) + "\n")
    confide(tmp_path, 4)
    cell = told_by(tmp_path)
    assert list(cell) == [(split, False) for split in SPLITS]
    found = over_seeds([cell], [("test", False), ("ood", False), ("validation", False)], 100, 4)
    for key, one in found.items():
        own, told = (record(row) for row in (cell[key][0], one))
        assert {**own, "curve": []} == told
    assert list(found) == list(cell) and found["validation", False].trusted is None
    turned = {key: (told, dict(reversed(rated.items()))) for key, (told, rated) in cell.items()}
    both, same = (over_seeds([cell, other], list(cell), 100, 4) for other in (turned, cell))
    assert both == same, "whatever the order of the answers"
    lost = {key: (replace(told, threshold=None, trusted=None), rated) for key, (told, rated) in cell.items()}
    half, whole = (over_seeds([cell, other], [("test", False)], 100, 4)["test", False] for other in (lost, cell))
    assert half.threshold == whole.threshold and half.trusted is not None and whole.trusted is not None
    assert half.trusted.coverage.value == whole.trusted.coverage.value / 2, "a seed that found none answers nothing"
