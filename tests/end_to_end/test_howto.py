"""docs/howto/bring-your-own-domain.md does what it says: every command of it, as it is written."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from realm.config import load_config
from tests.conftest import read_rows

ROOT = Path(__file__).resolve().parents[2]
HOWTO = ROOT / "docs" / "howto" / "bring-your-own-domain.md"


def commands(text: str) -> list[str]:
    """The blocks of commands, in order."""
    return re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_snippets_are_those_of_the_example(tmp_path: Path) -> None:
    text = HOWTO.read_text(encoding="utf-8")
    example = ROOT / "examples" / "parcels"
    for kind, name in (("csv", "questions.csv"), ("markdown", "rules.md"), ("yaml", "parcels.yaml")):
        for block in re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            if block.startswith("prompt:"):  # what a user may add
                (tmp_path / "own.yaml").write_text(block, encoding="utf-8")
                assert isinstance(load_config(tmp_path / "own.yaml").prompt.examples, list)
            else:
                assert block in (example / name).read_text(encoding="utf-8")


def test_the_gold_answers_follow_the_rules(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "parcels", tmp_path / "parcels")
    subprocess.run([sys.executable, "make_questions.py"], cwd=tmp_path / "parcels", check=True)
    made = (tmp_path / "parcels" / "questions.csv").read_text(encoding="utf-8")
    assert made == (ROOT / "examples" / "parcels" / "questions.csv").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_command_runs_as_written(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("runs", "student", "__pycache__")
    )
    parcels = tmp_path / "examples" / "parcels"
    port = str(free_port())
    blocks = [block.replace("8011", port) for block in commands(HOWTO.read_text(encoding="utf-8"))]
    settings = parcels / "parcels.yaml"
    settings.write_text(settings.read_text(encoding="utf-8").replace("8011", port), encoding="utf-8")
    script = "\n".join(["set -eu", "trap 'kill $(jobs -p)' EXIT", *blocks])
    found = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "120",
        },
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-3000:]

    bank = parcels / "runs" / "parcels" / "bank"
    cots = read_rows(bank / "cots.jsonl")
    assert len(cots) == 150 * 8
    assert len({cot["id"] for cot in cots}) == len(cots)
    right = {guided: [cot["label"] for cot in cots if cot["guided"] == guided] for guided in (True, False)}
    assert sum(right[True]) / len(right[True]) > 0.8 > 0.4 > sum(right[False]) / len(right[False])
    written = [path for path in (parcels / "runs").rglob("*") if path.is_file()]
    assert [path for path in written if b"any-key" in path.read_bytes()] == []
    assert (bank / "report.html").exists()
    assert (parcels / "runs" / "parcels" / "model" / "model.safetensors").exists()
    assert (parcels / "runs" / "parcels" / "report.html").exists()
    assert "Systematic: two wrong" in found.stdout
