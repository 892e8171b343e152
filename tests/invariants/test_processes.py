"""Several processes show the student what one process shows it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_resume import rows, start
from tiny import tiny_config

from realm.run import RunFolder

PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tiny import *
from realm.run import RunFolder
from realm.training.recipes import train
config = tiny_config(Path(sys.argv[2]), Path(sys.argv[3]), recipe="realm-r1", **MICRO)
task = TinyTask()
run = new_run(config) if os.environ["RANK"] == "0" else RunFolder(config.run_path)
train(config, run=run, task=task, bank=tiny_bank(task), pool=pool())
"""
MICRO = {"rl": {"micro_batch_size": 2}, "sft": {"micro_batch_size": 4}}


@pytest.mark.slow
def test_two_processes_show_what_one_shows(tmp_path: Path, student: Path) -> None:
    """Prompts, p and the cold start are the same; sampling is not, each process has random numbers of its own."""
    one = start(tiny_config(tmp_path / "one", student, recipe="realm-r1"))
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("MICRO", repr(MICRO)))
    (tmp_path / "two").mkdir()
    toys, repository = Path(__file__).parents[1] / "training", Path(__file__).parents[2]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    subprocess.run(
        [*launcher, str(program), str(toys), str(tmp_path / "two"), str(student)],
        env={**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=300,
    )
    two = RunFolder(tmp_path / "two" / "run")
    for alone, shared in zip(rows(one, "metrics.jsonl"), rows(two, "metrics.jsonl"), strict=True):
        for name in ("stage", "step", "p", "tau", "routes_dropped"):
            assert shared.get(name) == pytest.approx(alone.get(name))
        if alone["stage"] == "sft":
            assert (shared["tokens"], shared["loss"]) == (alone["tokens"], pytest.approx(alone["loss"], rel=1e-4))
        else:
            # Groups are cut in two here, so this holds only if both parts see the prompt of their question.
            assert shared["routes_per_prompt"] == pytest.approx(alone["routes_per_prompt"])
    alone, shared = rows(one, "completions.jsonl"), rows(two, "completions.jsonl")
    assert [row["prompt"] for row in shared] == [row["prompt"] for row in alone]
    assert len(rows(two, "evaluations.jsonl")) == len(rows(one, "evaluations.jsonl"))
    assert (two.path / "model" / "model.safetensors").is_file()
