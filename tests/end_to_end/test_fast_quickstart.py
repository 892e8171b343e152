"""`realm quickstart --fast`, the whole of it, through the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import read_rows

pytestmark = pytest.mark.slow

RECIPES = ("grpo", "realm-zero", "realm-r1")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("quickstart") / "run"
    done = subprocess.run(
        [sys.executable, "-m", "realm", "quickstart", "--fast", "--out", str(folder)],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder, done.stdout


def cell(folder: Path, arm: str) -> Path:
    """The run of an arm."""
    (found,) = (folder / "cells").glob(f"{arm}-seed*")
    return found


def test_it_says_that_its_figures_mean_little_and_where_the_report_is(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    words = " ".join(printed.split())
    assert words.count("the figures mean little") == 2
    assert "left" in words and f"Look at {folder}/report.html" in printed.replace("\n", "")
    assert (folder / "report.html").stat().st_size > 50_000


def test_table_has_every_model_split_and_way_with_intervals(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    results = json.loads((folder / "results.json").read_text())
    assert {(row["arm"], row["measure"]) for row in results["cells"]} == {
        (name, f"{split}/{way}")
        for name in ("base", *RECIPES)
        for split in ("test", "ood", "uncommented")
        for way in ("without", "with")
    }
    for row in results["cells"]:
        assert 0 <= row["low"] <= row["mean"] <= row["high"] <= 1
        assert f"{row['mean']:.1%} ({row['low']:.1%} – {row['high']:.1%})" in printed
    # The same figures as of the evaluations themselves.
    for name in RECIPES:
        final = [row for row in read_rows(cell(folder, name) / "evaluations.jsonl") if row["stage"] == "final"]
        told = {row["measure"]: row for row in results["cells"] if row["arm"] == name}
        for row in final:
            one = told[f"{row['split']}/{'with' if row['routes'] else 'without'}"]
            assert [one[key] for key in ("mean", "low", "high")] == [
                row[key] for key in ("accuracy", "accuracy_low", "accuracy_high")
            ]


def test_same_budget_of_steps(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    results = json.loads((folder / "results.json").read_text())
    assert {cost["steps"] for cost in results["cost"]} == {results["budget"]["steps"]}
    stages = {(row["stage"]) for row in read_rows(cell(folder, "realm-r1") / "metrics.jsonl")}
    assert stages == {"sft", "rl"}


def test_routes_fade_where_they_should(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    shown = {
        recipe: [
            row["routes_per_prompt"]
            for row in read_rows(cell(folder, recipe) / "metrics.jsonl")
            if row["stage"] == "rl"
        ]
        for recipe in RECIPES
    }
    assert set(shown["grpo"]) == {0.0}
    for recipe in ("realm-zero", "realm-r1"):
        assert shown[recipe][0] > 3.5
        assert shown[recipe][-1] < 0.5


def test_models_are_ordinary_and_taught(finished: tuple[Path, str]) -> None:
    """They load in a process that never imports realm, and differ from the base and from each other."""
    folder, _ = finished
    program = (
        "import sys, torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "sums = set()\n"
        "for path in sys.argv[1:]:\n"
        "    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)\n"
        "    chat = [{'role': 'user', 'content': 'A customer returns a worn tent. Which bin? Answer.'}]\n"
        "    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)\n"
        "    ids = tokenizer(text, return_tensors='pt', add_special_tokens=False, return_token_type_ids=False)\n"
        "    out = model.generate(**ids, max_new_tokens=40, do_sample=False)\n"
        "    assert '<answer>' in tokenizer.decode(out[0]), tokenizer.decode(out[0])\n"
        "    sums.add(round(float(sum(p.double().abs().sum() for p in model.parameters())), 4))\n"
        "assert len(sums) == len(sys.argv) - 1, sums\n"
        "assert 'realm' not in sys.modules\n"
    )
    base = Path(__file__).resolve().parents[2] / "realm" / "desk" / "base"
    paths = [str(base), *(str(cell(folder, recipe) / "model") for recipe in RECIPES)]
    done = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_used_name_is_refused_at_once(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    before = (folder / "results.json").read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "realm", "quickstart", "--fast", "--out", str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "already used" in done.stderr and "Traceback" not in done.stderr
    assert (folder / "results.json").read_bytes() == before
