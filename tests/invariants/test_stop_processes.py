"""A signal that reaches one of two processes stops both at the same step, and both go on from there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from realm.run import RunFolder
from realm.training.checkpoints import last_checkpoint
from tests.launched import launch_two
from tests.tiny import figures, weights

PROGRAM = """
import os, signal, sys
from pathlib import Path
from tests.tiny import *
from realm.run import RunFolder
from realm.stopping import Stopped
from realm.training.prepare import prepare
from realm.training.recipes import train
from realm.training.recorder import Recorder
original = Recorder.on_step_end
def sending(self, args, state, control, **kwargs):
    original(self, args, state, control, **kwargs)
    if os.environ["RANK"] == os.environ.get("STOP") and state.global_step == 3:
        os.kill(os.getpid(), signal.SIGTERM)
Recorder.on_step_end = sending
resume = (Path(sys.argv[1]) / "run" / "meta.json").exists()
config = tiny_config(Path(sys.argv[1]), Path(sys.argv[2]), rl={"micro_batch_size": 2, "steps": 5}, save_every=50)
task = TinyTask()
run = new_run(config, resume=resume) if os.environ["RANK"] == "0" else RunFolder(config.run_path)
try:
    train(prepare(config, task, tiny_bank(task)), run=run, pool=pool(), resume=resume)
except Stopped as error:
    line = f"{os.environ['RANK']} stopped {error.number} {error}\\n"
    os.write(1, line.encode())  # in one piece: both processes say it at the same moment
"""


@pytest.mark.slow
def test_both_processes_stop_at_one_step_and_go_on(tmp_path: Path, student: Path) -> None:
    def trained(folder: Path, **environment: str) -> str:
        return launch_two(PROGRAM, folder, folder, student, **environment)

    straight = RunFolder(tmp_path / "straight" / "run")
    assert "stopped" not in trained(straight.path.parent)
    stopped = RunFolder(tmp_path / "stopped" / "run")
    said = trained(stopped.path.parent, STOP="1")
    assert sorted(said.splitlines()) == [f"{rank} stopped 15 RL step 3 is saved." for rank in (0, 1)]
    newest = last_checkpoint(stopped.path / "checkpoints/rl/round-0")
    assert newest is not None and newest[1] == 3
    assert {file.name for file in newest[0].glob("rng_state*")} == {"rng_state_0.pth", "rng_state_1.pth"}
    trained(stopped.path.parent)
    assert figures(stopped.path, "metrics.jsonl") == figures(straight.path, "metrics.jsonl")
    wanted = weights(straight.path / "model")
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in weights(stopped.path / "model").items())
