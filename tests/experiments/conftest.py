"""Experiments whose commands are played by `stand_in.py`, so that a cell takes a fraction of a second."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from realm.desk import task
from realm.experiments import jobs, results

SPEC: dict[str, Any] = {
    "title": "Two arms",
    "question": "Which is better?",
    "arms": {"plain": {"set": {"training.recipe": "grpo"}}, "r1": {"set": {"training.recipe": "realm-r1"}}},
    "pairs": [["r1", "plain"]],
}


@pytest.fixture
def write_spec(tmp_path: Path) -> Callable[..., Path]:
    """Writes the YAML of the experiment above, changed as told, and returns its path."""

    def write(name: str = "mine.yaml", **changes: Any) -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump({**SPEC, **changes}, sort_keys=False))
        return path

    return write


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Lets the stand-in take the place of `realm`; gives the commands started since the last call."""
    log = tmp_path / "started.log"
    monkeypatch.setenv("STAND_IN_LOG", str(log))
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, str(Path(__file__).with_name("stand_in.py"))))
    monkeypatch.setattr(jobs, "TICK", 0.01)
    monkeypatch.setattr(results, "RESAMPLES", 100)  # for speed, as are the few questions that no stand-in looks at
    monkeypatch.setattr(task, "SIZES", dict.fromkeys(task.SIZES, 50))
    monkeypatch.chdir(tmp_path)

    def since() -> list[str]:
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    return since
