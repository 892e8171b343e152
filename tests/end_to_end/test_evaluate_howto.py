"""docs/howto/evaluate.md does what it says: its command, as it is written, on the packaged base model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOWTO = ROOT / "docs" / "howto" / "evaluate.md"


@pytest.mark.slow
def test_the_command_runs_as_written(tmp_path: Path) -> None:
    text = HOWTO.read_text(encoding="utf-8")
    (command,) = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    found = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    (shown,) = re.findall(r"^```\n(split samples.*?)^```", text, re.MULTILINE | re.DOTALL)
    printed = found.stdout[found.stdout.index("split samples") :].splitlines()
    # Sampling may differ between machines in the last bit, and so in a figure: the form is compared.
    assert [line.split()[0] for line in printed[:3]] == [line.split()[0] for line in shown.splitlines()]
    assert printed[0].split() == shown.splitlines()[0].split()
    rows = [json.loads(line) for line in (tmp_path / "runs/desk-votes/evaluations.jsonl").read_text().splitlines()]
    assert [row["split"] for row in rows] == ["test", "ood"]
    for row in rows:
        assert row["vote_gain"] == pytest.approx(row["vote_accuracy"] - row["vote_majority"])
        assert row["vote_majority_tokens"] <= row["vote_tokens"]
        for name in re.findall(r"`(vote_\w+)`", text):
            assert name in row
