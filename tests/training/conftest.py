"""Fixtures of the training tests: the tiny student is taught once a session."""

from pathlib import Path

import pytest
from tiny import TinyTask, save_student, tiny_bank

from realm.bank.store import Bank


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
