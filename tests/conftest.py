from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    path = Path(os.environ.get("REALM_DATA_DIR", ROOT.parent / "shared" / "data"))
    if not (path / "gsm8k_train.jsonl").exists():
        pytest.skip(f"no real data in {path}; set REALM_DATA_DIR")
    return path


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes rows (objects, or text as it is) to a JSONL file and returns its path."""

    def write(rows: Iterable[Any], name: str = "rows.jsonl") -> str:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return str(tmp_path / name)

    return write
