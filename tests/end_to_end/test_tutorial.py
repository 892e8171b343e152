"""docs/tutorial.md does what it says, every command as it is written; and so does the notebook."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.test_howto import ROOT, commands, free_port

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("fastapi") is None, reason="needs transformers[serving]")
def test_every_command_of_the_tutorial_runs_as_written(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("runs", "student", "__pycache__")
    )
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    for port in ("8011", "8012"):
        text = text.replace(port, str(free_port()))
    found = subprocess.run(
        ["bash", "-c", "\n".join(["set -eu", "trap 'kill $(jobs -p)' EXIT", *commands(text)])],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "NO_PROXY": "127.0.0.1",
            "COLUMNS": "120",
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-3000:]
    parcels = tmp_path / "examples" / "parcels"
    reply = json.loads(found.stdout.splitlines()[-1])["choices"][0]["message"]
    asked = json.loads((parcels / "asked.json").read_text(encoding="utf-8"))
    served = "".join(str(reply.get(part) or "") for part in ("reasoning_content", "content"))
    assert asked["answer"] is None or asked["answer"] in served
    assert (parcels / "published" / "README.md").is_file()
    assert (parcels / "runs" / "tutorial" / "report.html").is_file()


def cells(kind: str) -> list[dict[str, object]]:
    return [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def test_the_notebook_shows_what_its_cells_print() -> None:
    """Run in order and without a failure: `jupyter nbconvert --execute --inplace` leaves it so."""
    code = cells("code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    shown = json.dumps([cell["outputs"] for cell in code])
    assert '"output_type": "error"' not in shown and "image/png" in shown and "right:" in shown
    links = re.findall(r"\]\((?!https?:)([^)#]+)", json.dumps([cell["source"] for cell in cells("markdown")]))
    assert links and all((NOTEBOOK.parent / link).is_file() for link in links)
    assert NOTEBOOK.stat().st_size < 60_000


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    """All cells in one process, from a folder of its own."""
    source = "\n".join("".join(map(str, cell["source"])) for cell in cells("code"))  # type: ignore[call-overload]
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "120 questions, 960 CoTs" in done.stdout
    # Before and after the training.
    assert len(re.findall(r"^\d+ of 24 right$", done.stdout, re.MULTILINE)) == 2
