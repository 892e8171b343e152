"""benchmarks/gpu.sh: every part at small sizes, and what becomes of parts that fail or take too long."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import gpu

ROOT = Path(__file__).resolve().parents[2]
TIMED = {"P": 8, "C": 2, "G": 4, "trl s": 3.0, "ours s": 1.5, "ratio": 2.0, "bound": None}


def test_a_part_that_fails_is_recorded_and_the_next_goes_on(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps({"rows": [TIMED]}))
    (tmp_path / "torn.json").write_text('{"rows": [{"P"')
    (tmp_path / "suite.xml").write_text(
        '<testsuite><testcase name="a"/><testcase name="b"><failure/></testcase>'
        '<testcase name="c"><error/></testcase><testcase name="d"/></testsuite>'
    )
    quick = [sys.executable, "-c", "print('\\x1b[2J bro|ken'); raise SystemExit(3)"]
    parts = [
        gpu.Part("bad", 2000, quick, tmp_path / "torn.json"),
        gpu.Part("suite", 1000, quick, tmp_path / "suite.xml"),
        gpu.Part("late", 1e-3, ["sleep", "600"], tmp_path / "rows.json"),
        gpu.Part("good", 1000, ["true"], tmp_path / "rows.json"),
    ]
    result: dict[str, Any] = {"parts": {}, "machine": "here", "versions": {}, "command": "gpu.sh"}
    assert not gpu.conduct_all(parts, 20, tmp_path, result, tmp_path / "all.json")
    assert json.loads((tmp_path / "all.json").read_text()) == result
    found = result["parts"]
    assert {name: part["status"] for name, part in found.items()} == {
        "bad": "failed", "suite": "failed", "late": "out of time", "good": "done",
    }  # fmt: skip
    assert [len(part["rows"]) for part in found.values()] == [0, 1, 1, 1]
    assert found["bad"]["limit"] == pytest.approx(600, abs=1) and "says" not in found["good"]
    assert found["good"]["limit"] > 900, "what others have left"
    page = gpu.markdown(result)
    assert "| good: P 8, C 2, G 4 | 3.00 | 1.50 | 2.00 | – |" in page
    assert "| 2 of 4 tests pass |" in page
    assert "\\x1b[2J bro\\|ken" in page and "\x1b" not in page


def test_what_a_part_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid, wait = tmp_path / "pid", subprocess.Popen.wait

    def out_of_time(self: Any, timeout: float | None = None) -> int:
        if timeout is None:
            return wait(self)
        while not (pid.exists() and pid.read_text().endswith("\n")):
            time.sleep(0.01)
        raise subprocess.TimeoutExpired("", timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", out_of_time)
    part = gpu.Part("late", 1, ["sh", "-c", f"sleep 600 & echo $! > {pid}; wait"], tmp_path / "none.json")
    assert gpu.conduct(part, 1, tmp_path / "log")["status"] == "out of time"
    deadline = time.monotonic() + 60
    while psutil.pid_exists(int(pid.read_text())) and time.monotonic() < deadline:
        if psutil.Process(int(pid.read_text())).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.01)
    assert not psutil.pid_exists(int(pid.read_text()))


def test_the_wheels_are_pinned_and_the_parts_are_there(tmp_path: Path) -> None:
    names = re.search(r"carried='([^']+)'", (ROOT / "benchmarks/gpu.sh").read_text())
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert names and set(names[1].replace("\n", "").split("|")) <= pinned
    for part in gpu.parts_of("cuda", False, tmp_path):
        assert [word for word in part.command if "/benchmarks/" in word and not Path(word).is_file()] == []


@pytest.mark.slow
def test_every_part_at_small_sizes(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    options = ["--device", "cpu", "--small", "--minutes", "30", "--json", str(file), "--without", "run"]
    environment = {**os.environ, "PYTHON": sys.executable}
    ended = subprocess.run(
        ["bash", ROOT / "benchmarks/gpu.sh", *options], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    parts = json.loads(file.read_text())["parts"]
    assert list(parts) == ["exact", "suite", "update", "rollout", "step"]  # a run of the desk takes a minute
    assert all(part["status"] == "done" and part["rows"] for part in parts.values())
    assert [row["type"] for row in parts["exact"]["rows"] if row["holds"]] == ["float32", "bfloat16"]
    assert all(parts[name]["rows"][0]["ratio"] > 0 for name in ("update", "rollout", "step"))
    assert "| exact | done |" in ended.stdout and "| update: P 60, C 8, G 4 |" in ended.stdout
