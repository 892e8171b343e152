"""Fixtures of the training tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from realm.bank.store import Bank
from realm.training.grpo import RouteTrainer
from tests.tiny import TinyTask, save_student, tiny_bank, tiny_config, tiny_trainer


@pytest.fixture(scope="session")
def plain_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same student without a chat template."""
    return save_student(tmp_path_factory.mktemp("plain"), chat=False)


@pytest.fixture
def task() -> TinyTask:
    return TinyTask()


@pytest.fixture
def bank(task: TinyTask) -> Bank:
    return tiny_bank(task)


@pytest.fixture
def make(tmp_path: Path, student: Path) -> Callable[..., RouteTrainer]:
    """A trainer of three steps; arguments: `share`, and settings of `training.rl`."""

    def make(share: str = "auto", **rl: Any) -> RouteTrainer:
        config = tiny_config(tmp_path, student, rl={"steps": 3, "shared_prefix": share, **rl})
        return tiny_trainer(config, tmp_path / "out")

    return make
