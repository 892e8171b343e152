"""`realm experiment --fast` on a file of one's own, the whole of it, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SPEC = """
title: Two arms
question: Does it run?
base: {training: {rl: {steps: 2}, eval_questions: 4}, task.max_test: 8, bank.samples: 4}
arms:
  plain: {set: {training.recipe: grpo}}
  few: {set: {training.recipe: realm-zero, routes.k: 2}}
pairs: [[few, plain]]
"""


def experiment(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "realm", "experiment", "two.yaml", "--fast", "--seeds", "1", "--out", "x"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def test_two_arms_become_a_page(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(SPEC)
    assert "3 cells, 3 of them owed" in " ".join(experiment(tmp_path).stdout.split())
    folder = tmp_path / "x" / "two"
    results = json.loads((folder / "results.json").read_text())
    cells = {(row["arm"], row["measure"]) for row in results["cells"]}
    splits = ("test", "ood", "uncommented")
    assert cells == {
        (arm, f"{split}/{way}") for arm in ("base", "plain", "few") for split in splits for way in ("without", "with")
    }
    assert all(len(row["seeds"]) == 1 for row in results["cells"])
    assert {row["steps"] for row in results["cost"]} == {2}
    assert {curve["points"][-1][0] for curve in results["curves"]} == {2}
    assert results["fast"] is True
    page = (folder / "two.md").read_text()
    assert "**A fast run" in page and "## What the prompts showed" in page and "| few | 2.00 |" in page
    assert (folder / "two.svg").stat().st_size > 5_000
    # All arms were shown the same routes when they were compared, however many they had trained with.
    shown = {
        path.parent.name.partition("-")[0]: {row["routes"] for row in map(json.loads, path.read_text().splitlines())}
        for parent in ("cells", "evaluations")
        for path in (tmp_path / "x" / parent).glob("*/predictions.jsonl")
    }
    assert shown["few"] == shown["plain"] == shown["base"] == {0, 4}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "x" / "cells").rglob("*")}
    assert "every cell is finished already" in experiment(tmp_path).stdout
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "x" / "cells").rglob("*")}
