"""Two processes (gloo) train as one does: same completions, same loss, same weights within rounding.

Completions are drawn by the row of the whole batch, so whole runs can be compared: gradients add up rightly also where
groups are cut in two and where one process has fewer rows to forward than the other, or none. What rounding may do to
a draw is kept out: the two learn from what the one has sampled, and must sample it themselves but for a row now and
then.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from realm.run import RunFolder
from realm.training.grpo import RouteTrainer
from tests.launched import launch_two
from tests.tiny import figures, go, tiny_config, weights
from tests.training.dictated import Recording

PROGRAM = """
import os, sys
from pathlib import Path
from tests.training.dictated import Recording
from tests.tiny import *
from realm.run import RunFolder
from realm.training.grpo import RouteTrainer
from realm.training.prepare import prepare
from realm.training.recipes import train
RouteTrainer._generate_single_turn = Recording.load(sys.argv[3]).replayed(sampled_too=True)
config = tiny_config(Path(sys.argv[1]), Path(sys.argv[2]), rl=RL)
task = TinyTask()
run = new_run(config) if os.environ["RANK"] == "0" else RunFolder(config.run_path)
train(prepare(config, task, tiny_bank(task)), run=run, pool=pool())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "rl",
    [
        {},
        {"micro_batch_size": 4, "batch_size": 24, "loss_type": "grpo"},
        {"micro_batch_size": 4, "num_iterations": 2, "beta": 0.05},
        {"shapes": ["mgpo", "cosine"], "companions": ["internalize", "red", "sdft"]},
    ],
    ids=["default", "groups-cut-in-two", "iterations-kl", "shapes-companions"],
)
def test_two_processes_train_as_one(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch, rl: dict[str, Any]
) -> None:
    """Six steps in float32: figures within 0.1 %, weights within 1e-4 of their norm."""
    recording = Recording()
    monkeypatch.setattr(RouteTrainer, "_generate_single_turn", recording.recorded())
    one = go(tiny_config(tmp_path / "one", student, rl=rl))
    recording.save(tmp_path / "completions.json")
    halved = {**rl, "micro_batch_size": rl.get("micro_batch_size", 16) // 2}
    folder, program = tmp_path / "two", PROGRAM.replace("RL", repr(halved))
    launch_two(program, folder, folder, student, tmp_path / "completions.json")
    two = RunFolder(tmp_path / "two" / "run")
    for alone, together in zip(figures(one.path, "metrics.jsonl"), figures(two.path, "metrics.jsonl"), strict=True):
        for name in ("loss", "grad_norm", "reward", "accuracy", "completion_tokens", "tokens"):
            # TRL logs a reward only at a step that generates.
            assert together[name] == (alone[name] and pytest.approx(alone[name], rel=1e-3, abs=1e-4)), name
        assert together["tokens_saved"] > 0
    wanted, found = weights(one.path / "model"), weights(two.path / "model")
    for name, tensor in wanted.items():
        assert (found[name] - tensor).norm() <= 1e-4 * tensor.norm(), name
    assert len({row["reward"] for row in figures(one.path, "metrics.jsonl")}) > 1
    assert not all(torch.equal(tensor, weights(student)[name]) for name, tensor in found.items())
