"""examples/smollm2: its settings load, its script types commands that there are and, run again, does nothing twice."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.main import get_command

from realm.cli.app import app
from realm.cli.common import resolve
from realm.config import load_config
from realm.experiments.grid import make_grid
from realm.experiments.spec import load
from tests.conftest import read_rows
from tests.end_to_end.shell import ROOT, bash

EXAMPLE = ROOT / "examples" / "smollm2"
SCRIPT = (EXAMPLE / "run.sh").read_text(encoding="utf-8")
CALLS = [shlex.split(line) for line in re.findall(r"^ *realm (.+)$", SCRIPT, re.MULTILINE)]


def test_its_commands_and_their_options_are_there() -> None:
    assert [call[0] for call in CALLS] == ["model", "collect", "train", "evaluate", "compare"]
    for words in CALLS:
        command = get_command(app)
        while hasattr(command, "commands"):
            command, words = command.commands[words[0]], words[1:]
        command.make_context("realm", words)


def test_its_settings_are_those_of_the_folders_that_it_names() -> None:
    config = load_config(EXAMPLE / "smollm2.yaml")
    [made] = [call[-1] for call in CALLS if call[:2] == ["model", "import"]]
    assert config.model.path == made and f"[ ! -d {made} ]" in SCRIPT
    [compared] = [call[1:] for call in CALLS if call[0] == "compare"]
    [evaluated] = [call for call in CALLS if call[0] == "evaluate"]
    assert compared == [str(config.run_path), evaluated[evaluated.index("--out") + 1]]
    setting = evaluated[evaluated.index("--set") + 1]
    assert resolve(EXAMPLE / "smollm2.yaml", [setting], command="evaluate").routes.k == 0


def test_its_experiment_on_gsm8k_resolves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    file = EXAMPLE / "gsm8k.yaml"
    grid = make_grid(load(file), file, Path("out"), seeds=1, overrides=["model.path=desk-base"])
    assert [cell.arm for cell in grid.cells] == ["base", "sft-right", "realm-r1"]


@pytest.mark.slow
def test_the_script_runs_and_runs_again(tmp_path: Path) -> None:
    """With the packaged student in the place of the one that it would fetch, and fewer steps and questions."""
    folder = tmp_path / "smollm2"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("runs", "smollm2"))
    shutil.copytree(ROOT / "realm" / "desk" / "base", folder / "smollm2")
    settings = folder / "smollm2.yaml"
    text = re.sub(r"( +steps:) \d+", r"\1 2", settings.read_text(encoding="utf-8"))
    settings.write_text(re.sub(r"max_test: \d+", "max_test: 8\n  max_train: 48", text), encoding="utf-8")

    def run() -> str:
        return bash([str(folder / "run.sh")], folder, timeout=600)

    first = run()
    run_folder = folder / "runs" / "smollm2"
    metrics = (run_folder / "metrics.jsonl").read_bytes()
    assert len(read_rows(run_folder / "metrics.jsonl")) == 4 and "the untrained student" in first
    asked = read_rows(folder / "runs" / "smollm2-base" / "predictions.jsonl")
    assert {(row["split"], row["routes"]) for row in asked} == {("test", 0), ("ood", 0)} and len(asked) == 16
    again = run()
    assert metrics == (run_folder / "metrics.jsonl").read_bytes()
    assert "0 are owed" in again and "the untrained student" not in again
    assert (
        first[first.index("== after and before") :].splitlines()[1:]
        == (again[again.index("== after and before") :].splitlines()[1:])
    )
