from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("tests.tiny")
# A busy machine is no failure: property tests have no time limit per example.
settings.register_profile("patient", settings.default, deadline=None)
settings.load_profile("patient")

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_finish() -> None:
    """What the imports have made stays, and trainers collect garbage by themselves: they need not look at it again."""
    gc.collect()
    gc.freeze()


def write_rows(path: Path, rows: Iterable[Any]) -> None:
    """A JSONL file of rows: objects, or text as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file, all of which are whole."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    path = Path(os.environ.get("REALM_DATA_DIR", ROOT.parent / "shared" / "data"))
    if not (path / "gsm8k_train.jsonl").exists():
        pytest.skip(f"no real data in {path}; set REALM_DATA_DIR")
    return path


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model directory of tests/tiny.py's student, taught once a session."""
    from tests.tiny import save_student

    return save_student(tmp_path_factory.mktemp("student"))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes rows (objects, or text as it is) to a JSONL file and returns its path."""

    def write(rows: Iterable[Any], name: str = "rows.jsonl") -> str:
        write_rows(tmp_path / name, rows)
        return str(tmp_path / name)

    return write
