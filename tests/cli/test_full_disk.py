"""A disk that fills up while a student is trained: the last checkpoint stays whole, and the run goes on from it."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers.modeling_utils
from safetensors import SafetensorError
from typer.testing import Result

from realm.training.checkpoints import last_checkpoint
from realm.training.recorder import Recorder
from tests.cli.conftest import Realm
from tests.tiny import assert_same

Trained = Callable[..., Path]
STEPS = ["--set", "training.rl.steps=4", "--set", "training.eval_every=50", "--set", "training.keep_checkpoints=1"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB of our own; skipped where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "realm-test", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, left: int) -> None:
    """Leave `left` bytes on the disk."""
    with (folder / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC
        filler.truncate(max(0, filler.tell() - left))


def at_step(step: int, act: Callable[[], None]) -> Callable[..., None]:
    original = Recorder.on_step_end

    def acting(self: Recorder, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == step:
            act()
        original(self, args, state, control, **kwargs)

    return acting


def assert_stopped(stopped: Result, run: Path, step: int) -> None:
    assert stopped.exit_code == 2, stopped.output
    last = stopped.stderr[stopped.stderr.index("error: ") :]
    assert last.count("\n") <= 2
    assert "disk is full" in last or "No space left" in last
    stage = run / "checkpoints/rl/round-0"
    newest = last_checkpoint(stage)
    assert newest == (stage / f"checkpoint-{step}", step)
    assert not (run / "model").exists()


@pytest.mark.parametrize("left", [0, 20_000, 60_000, 90_000], ids=["rows", "weights", "optimizer", "later"])
def test_a_disk_that_fills_up(
    trained: Trained, realm: Realm, monkeypatch: pytest.MonkeyPatch, disk: Path, left: int
) -> None:
    straight, run = trained(*STEPS), disk / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_step_end", at_step(3, lambda: fill(disk, left)))
        stopped = realm("train", "config.yaml", *STEPS, "--out", str(run))
    assert_stopped(stopped, run, 2)
    (disk / "filler").unlink()
    assert realm("train", "config.yaml", *STEPS, "--out", str(run), "--resume").exit_code == 0
    assert_same(run, straight)


def _full(*args: Any, **kwargs: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _torch_full(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("[enforce fail at inline_container.cc:870] . PytorchStreamWriter failed writing file data/1")


def _safetensors_full(*args: Any, **kwargs: Any) -> None:
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize(
    ("owner", "name", "failing"),
    [
        (torch, "save", _torch_full),
        (transformers.modeling_utils, "safe_save_file", _safetensors_full),
        (transformers.TrainerState, "save_to_json", _full),
        (os, "fsync", _full),
    ],
    ids=["optimizer", "weights", "state", "seal"],
)
def test_a_checkpoint_that_cannot_be_written(
    work: Path, trained: Trained, realm: Realm, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, failing: Any
) -> None:
    """The same where no file system can be mounted: what the libraries raise, at the third checkpoint."""
    straight = trained(*STEPS)
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_step_end", at_step(3, lambda: patch.setattr(owner, name, failing)))
        stopped = realm("train", "config.yaml", *STEPS)
    assert_stopped(stopped, work / "runs/first", 2)
    assert realm("train", "config.yaml", *STEPS, "--resume").exit_code == 0
    assert_same(work / "runs/first", straight)
