"""Ctrl-C and SIGTERM in training: a checkpoint, how to go on, and a run that ends as the straight one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from realm.training.recorder import Recorder
from tests.cli.conftest import Realm
from tests.tiny import assert_same, figures

Trained = Callable[..., Path]
STEPS = ["--set", "training.rl.steps=6", "--set", "training.save_every=50", "--set", "training.eval_every=50"]


def at_step(step: int, *signals: int) -> Callable[..., None]:
    """`Recorder.on_step_end` that sends this process signals within a step."""
    original = Recorder.on_step_end

    def sending(self: Recorder, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        original(self, args, state, control, **kwargs)
        if state.global_step == step:
            for number in signals:
                os.kill(os.getpid(), number)

    return sending


@pytest.mark.parametrize(
    ("numbers", "code"),
    [((signal.SIGINT,), 130), ((signal.SIGTERM,), 143), ((signal.SIGINT, signal.SIGTERM, signal.SIGTERM), 130)],
    ids=["ctrl-c", "sigterm", "ctrl-c-that-the-launcher-passes-on"],
)
def test_a_signal_saves_and_says_how_to_go_on(
    work: Path, trained: Trained, realm: Realm, monkeypatch: pytest.MonkeyPatch, numbers: tuple[int, ...], code: int
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    straight = trained(*STEPS)
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_step_end", at_step(3, *numbers))
        stopped = realm("train", "config.yaml", *STEPS)
    run = work / "runs" / "first"
    assert stopped.exit_code == code, stopped.output
    assert "stopped. RL step 3 is saved. To go on where it was: realm train config.yaml" in stopped.stderr
    assert stopped.stderr.rstrip().endswith("--resume")
    assert json.loads((run / "meta.json").read_text())["status"] == "interrupted"
    assert [row["step"] for row in figures(run, "metrics.jsonl")] == [1, 2, 3]
    assert signal.getsignal(signal.SIGTERM) is before

    told = realm("doctor", "runs/first").stdout
    assert "was interrupted after RL step 3 of 6" in told and "realm train runs/first --resume" in told

    assert realm("train", "config.yaml", *STEPS, "--resume").exit_code == 0
    assert_same(run, straight)
    assert json.loads((run / "meta.json").read_text())["status"] == "done"


@pytest.mark.slow
def test_a_killed_command_goes_on_with_the_same_command(work: Path) -> None:
    """SIGKILL to `realm train` itself: the command again, with --resume, ends as the straight one, bit for bit."""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    often = ["--set", "training.rl.steps=30", "--set", "training.save_every=2", "--set", "training.eval_every=50"]
    command = [sys.executable, "-m", "realm", "train", "config.yaml", *often]
    output: dict[str, Any] = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*command, "--out", "runs/straight"], check=True, timeout=180, **output)
    run, straight = work / "runs/first", work / "runs/straight"
    with subprocess.Popen(command, **output) as killed:
        end = time.monotonic() + 120
        while not list(run.glob("checkpoints/rl/round-0/checkpoint-*/seal.json")):
            assert killed.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        killed.kill()
    assert killed.returncode == -signal.SIGKILL and not (run / "model").exists()
    assert json.loads((run / "meta.json").read_text())["status"] == "running", "it could not say that it ended"
    subprocess.run([*command, "--resume"], check=True, timeout=180, **output)
    assert_same(run, straight)


def test_a_second_ctrl_c_stops_at_once(work: Path, realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recorder, "on_step_end", at_step(3, signal.SIGINT, signal.SIGINT))
    stopped = realm("train", "config.yaml", *STEPS)
    assert stopped.exit_code == 130
    assert "is saved" not in stopped.stderr and "--resume" in stopped.stderr
    assert not list((work / "runs/first/checkpoints").rglob("seal.json"))
    assert json.loads((work / "runs/first/meta.json").read_text())["status"] == "interrupted"


def test_sigterm_in_the_last_evaluation_ends_as_ctrl_c_does(
    work: Path, trained: Trained, realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    from realm.evaluation import evaluate

    original, calls = evaluate.evaluate_model, 0

    def terminated(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*args, **kwargs)

    straight = trained()
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "evaluate_model", terminated)
        stopped = realm("train", "config.yaml")
    assert calls == 2, "without routes, and then with them"
    assert stopped.exit_code == 143
    assert "--resume" in stopped.stderr
    assert json.loads((work / "runs/first/meta.json").read_text())["status"] == "interrupted"
    assert realm("train", "config.yaml", "--resume").exit_code == 0
    assert_same(work / "runs/first", straight)


def test_a_batch_in_use_and_a_mean_in_the_making_are_finished_first(
    work: Path, trained: Trained, realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = ["--set", "training.rl.num_iterations=2", "--set", "training.log_every=2"]
    straight = trained(*STEPS, *often)
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_step_end", at_step(1, signal.SIGTERM))
        stopped = realm("train", "config.yaml", *STEPS, *often)
    assert stopped.exit_code == 143
    assert "RL step 2 is saved" in stopped.stderr
    assert realm("train", "config.yaml", *STEPS, *often, "--resume").exit_code == 0
    assert_same(work / "runs/first", straight)


def test_a_signal_at_the_last_step_leaves_the_model_to_the_resumed_run(
    work: Path, realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_step_end", at_step(6, signal.SIGTERM))
        stopped = realm("train", "config.yaml", *STEPS)
    assert stopped.exit_code == 143 and "RL step 6 is saved" in stopped.stderr
    assert not (work / "runs/first/model").exists()
    assert realm("train", "config.yaml", *STEPS, "--resume").exit_code == 0
    assert (work / "runs/first/model").is_dir()
