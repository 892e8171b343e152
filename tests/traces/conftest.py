"""Fixtures of the tests of traces."""

import pytest

from tests.tiny import TinyTask


@pytest.fixture
def task() -> TinyTask:
    return TinyTask()
