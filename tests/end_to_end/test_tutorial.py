"""docs/tutorial.md and the README do what they say, every command as it is written; and so does the notebook."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import write_rows
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


def section(title: str) -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.slow
def test_what_the_readme_types_runs(tmp_path: Path) -> None:
    """Its own domain from questions to an answer, and its screen of Python, with a tiny student instead of Qwen."""
    parcels, student, port = ROOT / "examples" / "parcels", tmp_path / "student", free_port()
    shutil.copy(parcels / "questions.csv", tmp_path)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "NO_PROXY": "127.0.0.1",
    }

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    run(sys.executable, str(parcels / "tiny_student.py"), "questions.csv", "student")
    [block] = commands(section("Your own domain"))
    first, dry_run, *rest = [line.split("  #")[0].strip() for line in block.splitlines()]
    run("bash", "-c", first)
    file = tmp_path / "my-task" / "my-task.yaml"
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    # What its user fills in.
    settings["teachers"] = {
        "big": {"kind": "openai", "model": "practice", "base_url": f"http://127.0.0.1:{port}/v1", "api_key_env": None}
    }
    settings["model"] = {"path": "student", "context": 2048}
    settings["bank"], settings["routes"] = {"samples": 2}, {"k": 2}
    settings["task"] |= {"max_test": 8}
    settings["training"] = {
        "eval_questions": 0,
        "sft": {"steps": 2, "batch_size": 4, "micro_batch_size": 4},
        "rl": {"steps": 1, "batch_size": 8, "micro_batch_size": 8, "max_completion_length": 96},
    }
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    endpoint = subprocess.Popen([sys.executable, str(parcels / "practice_endpoint.py"), "--port", str(port)])
    try:
        assert "248 are owed" in run("bash", "-c", dry_run)
        run("bash", "-c", dry_run.removesuffix(" --dry-run"))
    finally:
        endpoint.kill()
        endpoint.wait()
    for line in rest:
        run("bash", "-c", line)

    [screen] = re.findall(r"^```python\n(.*?)^```", section("From Python"), re.MULTILINE | re.DOTALL)
    with (tmp_path / "questions.csv").open(encoding="utf-8") as table:
        write_rows(tmp_path / "questions.jsonl", list(csv.DictReader(table)))
    for there, here in (
        ("Qwen/Qwen2.5-0.5B-Instruct", str(student)),
        ("max_steps=200", "max_steps=1, bf16=False, use_cpu=True, max_completion_length=8, report_to=[]"),
    ):
        assert there in screen
        screen = screen.replace(there, here)
    run(sys.executable, "-c", screen)


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
