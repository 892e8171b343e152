"""A run killed by SIGKILL at any moment and started again ends as the straight run does, bit for bit."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from realm.run import RunFolder
from realm.training.checkpoints import last_checkpoint
from tests.invariants.mortal import Death, start
from tests.launched import lived
from tests.tiny import assert_same

OPTIONS: dict[str, Any] = {"recipe": "realm-r1", "save_every": 1, "eval_questions": 2, "sft": {"steps": 2}}


class Life:
    """One run that is killed again and again."""

    def __init__(self, folder: Path, student: Path) -> None:
        self.folder, self.student = folder, student
        self.run = RunFolder(folder / "run")
        self.kills = 0

    def live(self, *, seconds: float | None = None, death: Death | None = None) -> bool:
        """Train until the end, or for `seconds`, or until `death`; whether it came to its end."""
        ended = lived(start(self.folder, self.student, death, **OPTIONS), self.folder, seconds)
        self.kills += not ended
        return ended

    def finish(self, straight: RunFolder) -> None:
        assert self.live(), "killed by itself"
        assert_same(self.run.path, straight.path)
        assert self.run.meta.status == "done"
        assert not list(self.run.path.rglob("*.tmp"))


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, student: Path) -> RunFolder:
    """The run that nobody disturbs."""
    life = Life(tmp_path_factory.mktemp("straight"), student)
    assert life.live()
    return life.run


def deaths(source: random.Random) -> Any:
    """Moments of death, one after the other: by the clock, in a rollout, in a backward pass, within a write."""
    while True:
        kind = source.choice(["clock", "clock", "rollout", "backward", "save", "save", "save", "remove"])
        if kind == "clock":
            yield {"seconds": source.uniform(0.1, 1.2)}
        else:
            most = {"rollout": 6, "backward": 8, "save": 30, "remove": 6}[kind]
            yield {"death": (kind, source.randint(1, most), source.random())}


@pytest.mark.slow
def test_killed_at_thirty_random_moments(tmp_path: Path, student: Path, straight: RunFolder) -> None:
    moments, kills, runs = deaths(random.Random(0)), 0, 0
    while kills < 30:
        life = Life(tmp_path / str(runs), student)
        runs += 1
        while life.kills < 6 and not life.live(**next(moments)):
            pass
        life.finish(straight)
        kills += life.kills
    assert runs > 3


@pytest.mark.parametrize(
    ("what", "part"),
    [("rollout", 0.6), ("backward", 0.0), ("save", 0.6), ("remove", 0.6)],
    ids=lambda value: str(value),
)
def test_killed_in_each_part_of_a_step(
    tmp_path: Path, student: Path, straight: RunFolder, what: str, part: float
) -> None:
    life = Life(tmp_path, student)
    assert not life.live(death=(what, 3, part))
    life.finish(straight)


def test_a_checkpoint_that_is_cut_anywhere_is_never_taken(tmp_path: Path, straight: RunFolder) -> None:
    whole = straight.path / "checkpoints/rl/round-0/checkpoint-6"
    files = [path.relative_to(whole) for path in whole.rglob("*") if path.is_file()]
    assert {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "seal.json"} <= {*map(str, files)}
    for number, file in enumerate(files):
        size = (whole / file).stat().st_size
        for length in sorted({0, 1, size // 3, size // 2, size - 1} - {size}):
            folder = tmp_path / f"{number}-{length}"
            shutil.copytree(whole, folder / "checkpoint-6")
            assert last_checkpoint(folder) == (folder / "checkpoint-6", 6), "whole so far"
            with (folder / "checkpoint-6" / file).open("r+b") as cut:
                cut.truncate(length)
            assert last_checkpoint(folder) is None, (file, length)
            assert not (folder / "checkpoint-6").exists()
        folder = tmp_path / f"{number}-missing"
        shutil.copytree(whole, folder / "checkpoint-6")
        (folder / "checkpoint-6" / file).unlink()
        assert last_checkpoint(folder) is None, file
