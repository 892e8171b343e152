"""A run that was stopped and resumed ends as the straight run does: same rows, same weights, bit for bit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from realm.run import RunFolder
from tests.tiny import Killed, assert_same, figures, go, killed_at, tiny_config, weights


def assert_resumed(resumed: RunFolder, straight: RunFolder) -> None:
    assert_same(resumed.path, straight.path)
    costs = [run.meta.cost for run in (resumed, straight)]
    assert costs[0] and costs[1]
    assert replace(costs[0], seconds=0.0, stages=()) == replace(costs[1], seconds=0.0, stages=())


@pytest.fixture(scope="module")
def straight_r1(tmp_path_factory: pytest.TempPathFactory, student: Path) -> RunFolder:
    folder = tmp_path_factory.mktemp("straight")
    return go(tiny_config(folder, student, recipe="realm-r1", rounds=2))


@pytest.mark.parametrize(
    ("stage", "round_", "step"),
    [("sft", 0, 3), ("rl", 0, 1), ("rl", 0, 5), ("rl", 1, 6)],
    ids=["in-sft", "between-sft-and-rl", "in-rl-in-the-second-pass-over-the-questions", "at-the-last-step"],
)
def test_resumed_is_straight(
    tmp_path: Path, student: Path, straight_r1: RunFolder, stage: str, round_: int, step: int
) -> None:
    config = tiny_config(tmp_path, student, recipe="realm-r1", rounds=2)
    with pytest.raises(Killed):
        go(config, progress=killed_at(stage, round_, step))
    assert len(figures(config.run_path, "metrics.jsonl")) < len(figures(straight_r1.path, "metrics.jsonl"))
    assert_resumed(go(config, resume=True), straight_r1)


@pytest.mark.parametrize(
    ("rl", "log_every"),
    [({"num_iterations": 2, "micro_batch_size": 8}, 1), ({"beta": 0.05}, 3)],
    ids=["a-batch-used-twice", "a-mean-over-three-steps-and-a-reference-model"],
)
def test_resumed_is_straight_where_a_step_rests_on_others(
    tmp_path: Path, student: Path, rl: dict[str, Any], log_every: int
) -> None:
    """A checkpoint never falls between two updates from one batch, nor between two rows of metrics."""
    options = {"rl": rl, "save_every": 1, "log_every": log_every}
    straight = go(tiny_config(tmp_path / "straight", student, **options))
    config = tiny_config(tmp_path / "stopped", student, **options)
    with pytest.raises(Killed):
        go(config, progress=killed_at("rl", 0, 6))
    assert_resumed(go(config, resume=True), straight)


def test_half_written_checkpoint_is_passed_over(tmp_path: Path, student: Path) -> None:
    straight = go(tiny_config(tmp_path / "straight", student))
    config = tiny_config(tmp_path / "stopped", student)
    with pytest.raises(Killed):
        go(config, progress=killed_at("rl", 0, 5))
    newest = config.run_path / "checkpoints/rl/round-0/checkpoint-4"
    (newest / "trainer_state.json").write_text('{"global_step": 4, "epo')
    (newest / "optimizer.pt").write_bytes(b"")
    resumed = go(config, resume=True)
    assert_resumed(resumed, straight)
    state = json.loads((newest / "trainer_state.json").read_text())
    assert state["global_step"] == 4, "written again, whole"


def test_model_killed_while_saved_is_saved_again(tmp_path: Path, student: Path) -> None:
    config = tiny_config(tmp_path, student)
    run = go(config)
    wanted = weights(run.path / "model")
    half = run.path / ".model.tmp"
    (run.path / "model").rename(half)
    (half / "model.safetensors").write_bytes(b"torn")
    resumed = go(config, resume=True)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in weights(resumed.path / "model").items())
    assert not half.exists()


def test_finished_run_is_left_alone(tmp_path: Path, student: Path) -> None:
    config = tiny_config(tmp_path, student)
    run = go(config)
    before = figures(run.path, "metrics.jsonl")
    shutil.rmtree(run.path / "checkpoints")
    assert figures(go(config, resume=True).path, "metrics.jsonl") == before
