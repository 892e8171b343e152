"""Fixtures of the training tests: the tiny student is taught once a session."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from realm.bank.store import Bank
from realm.training.grpo import RouteTrainer
from tests.tiny import TinyTask, save_student, tiny_bank, tiny_config


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_student(tmp_path_factory.mktemp("student"))


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
def make(tmp_path: Path, student: Path, task: TinyTask, bank: Bank) -> Callable[..., RouteTrainer]:
    """A trainer of three steps; arguments: `share`, and settings of `training.rl`."""
    from tests.training.test_grpo import make_trainer

    def make(share: str = "auto", **rl: Any) -> RouteTrainer:
        config = tiny_config(tmp_path, student, rl={"steps": 3, "shared_prefix": share, **rl})
        return make_trainer(config, student, task, bank, tmp_path / "out")[0]

    return make
