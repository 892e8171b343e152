"""docs/howto/fading.md does what it says: every command of it, as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import read_rows
from tests.end_to_end.shell import bash
from tests.end_to_end.test_howto import ROOT, commands


@pytest.mark.slow
def test_every_command_of_fading_runs_as_written(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "howto" / "fading.md").read_text(encoding="utf-8")
    printed = bash(["-c", "\n".join(["set -eu", *commands(text)])], tmp_path, timeout=500)
    assert '"domain_weights": {' in printed
    adaptive, dynamic = (read_rows(tmp_path / "runs" / name / "metrics.jsonl") for name in ("adaptive", "dynamic"))
    assert all("route_free_success" in row and "domain_weights" not in row for row in adaptive[4:])
    assert all("route_free_success" not in row and sum(row["domain_weights"].values()) > 0.99 for row in dynamic)
    assert (tmp_path / "runs" / "adaptive" / "report.html").is_file()
