"""Several processes show the student what one process shows it."""

from pathlib import Path

import pytest

from realm.run import RunFolder
from realm.training import unpadded
from realm.training.grpo import RouteTrainer
from tests.launched import launch_two
from tests.tiny import figures, go, tiny_config, weights
from tests.training import dictated

PROGRAM = """
import os, sys
from pathlib import Path
from tests.tiny import *
from realm.run import RunFolder
from realm.training.prepare import prepare
from realm.training.recipes import train
config = tiny_config(Path(sys.argv[1]), Path(sys.argv[2]), recipe="realm-r1", **MICRO)
task = TinyTask()
run = new_run(config) if os.environ["RANK"] == "0" else RunFolder(config.run_path)
train(prepare(config, task, tiny_bank(task)), run=run, pool=pool())
"""
MICRO = {"rl": {"micro_batch_size": 2}, "sft": {"micro_batch_size": 4}}


DICTATED = """
from tests.training import dictated
from realm.training.grpo import RouteTrainer
RouteTrainer._generate_single_turn = dictated.completions(ENDS_FROM)
"""


def two_processes(program: str, folder: Path, student: Path) -> RunFolder:
    """Run `program` with a folder for the run and the student as its arguments."""
    launch_two(program, folder / "two", folder / "two", student)
    return RunFolder(folder / "two" / "run")


@pytest.mark.slow
def test_two_processes_show_what_one_shows(tmp_path: Path, student: Path) -> None:
    """Prompts, p and the cold start are the same; sampling is not, each process has random numbers of its own."""
    one = go(tiny_config(tmp_path / "one", student, recipe="realm-r1"))
    two = two_processes(PROGRAM.replace("MICRO", repr(MICRO)), tmp_path, student)
    for alone, shared in zip(figures(one.path, "metrics.jsonl"), figures(two.path, "metrics.jsonl"), strict=True):
        for name in ("stage", "step", "p", "tau", "routes_dropped"):
            assert shared.get(name) == pytest.approx(alone.get(name))
        if alone["stage"] == "sft":
            assert (shared["tokens"], shared["loss"]) == (alone["tokens"], pytest.approx(alone["loss"], rel=1e-4))
        else:
            # Groups are cut in two here, so this holds only if both parts see the prompt of their question.
            assert shared["routes_per_prompt"] == pytest.approx(alone["routes_per_prompt"])
    alone, shared = figures(one.path, "completions.jsonl"), figures(two.path, "completions.jsonl")
    assert [row["prompt"] for row in shared] == [row["prompt"] for row in alone]
    assert len(figures(two.path, "evaluations.jsonl")) == len(figures(one.path, "evaluations.jsonl"))
    assert (two.path / "model" / "model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch", "ends_from", "lora"),
    [(16, None, 0), (12, None, 0), (16, 8, 0), (16, None, 4)],
    ids=["whole-groups", "a-group-cut-over-the-processes", "one-process-ends-at-once", "adapters"],
)
def test_two_processes_learn_what_one_learns(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch, batch: int, ends_from: int | None, lora: int
) -> None:
    """With the same completions: rewards exactly, loss and gradient within 1e-3, the weights within 1e-3 of a weight.

    And nobody waits for anybody where the parts of a batch are of very different length.
    """
    settings = {"rl": {"batch_size": batch, "micro_batch_size": batch, "steps": 4}, "lora": {"r": lora}}
    monkeypatch.setattr(RouteTrainer, "_generate_single_turn", dictated.completions(ends_from))
    one = go(tiny_config(tmp_path / "one", student, **settings))
    shared = {**settings, "rl": {**settings["rl"], "micro_batch_size": batch // 4}}
    program = PROGRAM.replace('recipe="realm-r1", **MICRO', f"**{shared!r}").replace(
        "config =", DICTATED.replace("ENDS_FROM", repr(ends_from)) + "config ="
    )
    two = two_processes(program, tmp_path, student)
    for alone, apart in zip(figures(one.path, "metrics.jsonl"), figures(two.path, "metrics.jsonl"), strict=True):
        for name in ("reward", "accuracy", "completion_tokens", "tokens", "zero_spread_groups"):
            assert apart[name] == pytest.approx(alone[name], abs=1e-6), name
        for name in ("loss", "grad_norm"):
            assert apart[name] == pytest.approx(alone[name], rel=1e-3, abs=1e-5), name
    assert len({row["reward"] for row in figures(one.path, "metrics.jsonl")}) > 1
    wanted, found = weights(one.path / "model"), weights(two.path / "model")
    for name, tensor in wanted.items():
        assert (found[name] - tensor).norm() <= 1e-3 * tensor.norm(), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("weigh", "padding"), [("light_reasoner", "batch"), ("critical", "batch"), ("light_reasoner", "length")]
)
def test_two_processes_weigh_as_one_does(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch, weigh: str, padding: str
) -> None:
    """One of them asks the student for all, and a step's weights are summed over both.

    Also where each forwards its own rows by their length, in as many passes as these ask for.
    """
    monkeypatch.setattr(unpadded, "PASS", 1)
    options = {"light_reasoner": {"divergence": 0.01}, "critical": {"elsewhere": 0.1}}[weigh]
    sft = {"weigh": {weigh: options}, "micro_batch_size": 4, "padding": padding}
    one = go(tiny_config(tmp_path / "one", student, recipe="distill", sft=sft))
    program = PROGRAM.replace(
        'recipe="realm-r1", **MICRO', f'recipe="distill", sft={ {**sft, "micro_batch_size": 2}!r}'
    )
    program = program.replace("config =", "from realm.training import unpadded; unpadded.PASS = 1\nconfig =")
    two = two_processes(program, tmp_path, student)
    for alone, shared in zip(figures(one.path, "metrics.jsonl"), figures(two.path, "metrics.jsonl"), strict=True):
        assert (shared["loss"], shared["grad_norm"]) == pytest.approx((alone["loss"], alone["grad_norm"]), rel=1e-4)
