"""The toys of tests/tiny.py serve the invariants too."""

from pathlib import Path

import pytest

from tests.tiny import save_student


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_student(tmp_path_factory.mktemp("student"))
