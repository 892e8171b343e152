"""The engine on one GPU in under eight minutes: exactness, speed against TRL's path, and a run of the packaged base.

    bash benchmarks/gpu.sh [--minutes 7.5] [--json FILE] [--without PART ...] [--device cpu --small]

Each part is a process with a share of the minutes as its limit; one that fails or takes longer is recorded as such with
the rows that it had, and the next goes on. Everything goes to one JSON (benchmarks/results/gpu_cuda.json), written anew
after each part, tables of it as Markdown to stdout, and what is under way to stderr. Models have random weights and the
shape of Qwen2.5-0.5B, but for the run, which trains the desk's own student: nothing is fetched. It exits with 1 where
a part failed. `--device cpu --small` tries every part at small sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch

from realm.display import printable
from realm.files import write_atomic
from realm.pages.table import Table
from realm.run import machine, versions

HERE = Path(__file__).resolve().parent
SUITE = ("training/test_shared_prefix.py", "invariants/test_shared_equals_plain.py")
#: Columns of the rows of exact.py.
DISTANCES = ("TRL", "update", "rollout", "bound", "TRL's gradient", "gradient", "its bound")


@dataclass(frozen=True)
class Part:
    """`share`: of the time that all have, in any unit; `rows`: the JSON that the command writes, or JUnit's XML."""

    name: str
    share: float
    command: Sequence[str]
    rows: Path


def parts_of(device: str, small: bool, folder: Path) -> list[Part]:
    """What is run, in this order; the shares are seconds of 7.5 minutes on an H200, as estimated."""

    def script(name: str, share: float, *options: str, file: str = "") -> Part:
        command = [sys.executable, str(HERE / f"{file or name}.py"), *options, "--out", str(folder / name)]
        return Part(name, share, command, folder / f"{name}.json")

    def sizes(prompts: str, completion: int, group: int) -> list[str]:
        chosen = ("60", "8", "4") if small else (prompts, str(completion), str(group))
        named = zip(("--prompt", "--completion", "--group"), chosen, strict=True)
        return ["--device", device, *(word for name, values in named for word in (name, *values.split()))]

    repeats = ["--repeats", "1" if small else "2"]
    suite = [str(HERE.parent / "tests" / name) for name in SUITE]
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", f"--junitxml={folder / 'suite.xml'}", *suite]
    few = ["-k", "pairs-qwen3"] if small else []
    return [
        script("exact", 50, *sizes("400", 64, 4)),
        Part("suite", 80, [sys.executable, *tests, *few], folder / "suite.xml"),
        script("update", 55, *sizes("800 1600", 200, 8), *repeats),
        script("rollout", 65, *sizes("800 1600", 100, 8), *repeats),
        script("step", 55, *sizes("800", 100, 8), *repeats),
        script("run", 100, "--desk", "4" if small else "24", file="step"),
    ]


def rows_of(file: Path) -> list[dict[str, Any]]:
    """None where the part did not come to write any."""
    if not file.is_file():
        return []
    if file.suffix == ".json":
        return json.loads(file.read_text(encoding="utf-8"))["rows"]  # type: ignore[no-any-return]
    cases = list(ElementTree.parse(file).iter("testcase"))
    bad = [case.get("name", "") for case in cases if case.find("failure") is not None or case.find("error") is not None]
    return [{"tests": len(cases), "failed": bad}]


def conduct(part: Part, seconds: float, log: Path) -> dict[str, Any]:
    """One part, with what it started: how it ended, the seconds it took and had, its rows, and why it failed."""
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            part.command, cwd=HERE.parent, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            code = process.wait(seconds)
            status = "failed" if code else "done"
        except subprocess.TimeoutExpired:
            status = "out of time"
        finally:
            # Whatever it started in turn, too.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    found = {"status": status, "seconds": round(time.monotonic() - began, 1), "limit": round(seconds, 1)}
    try:
        rows = rows_of(part.rows)
    except (ValueError, KeyError, ElementTree.ParseError):  # killed while it wrote
        rows = []
    said = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return {**found, "rows": rows, **({} if status == "done" else {"says": [printable(one, 300) for one in said[-8:]]})}


def conduct_all(parts: Sequence[Part], minutes: float, folder: Path, result: dict[str, Any], file: Path) -> bool:
    """Fill `result["parts"]`, written to the file after each; whether all were done.

    The time that one part leaves is that of those behind it.
    """
    end, left = time.monotonic() + 60 * minutes, sum(part.share for part in parts)
    for part in parts:
        seconds = (end - time.monotonic()) * part.share / left
        left -= part.share
        print(f"{part.name} … at most {seconds:.0f} s", file=sys.stderr, flush=True)
        found = result["parts"][part.name] = conduct(part, seconds, folder / f"{part.name}.log")
        print(f"{part.name}: {found['status']} after {found['seconds']:.0f} s", file=sys.stderr, flush=True)
        write_atomic(file, json.dumps(result, indent=1) + "\n")
    return all(found["status"] == "done" for found in result["parts"].values())


def markdown(result: dict[str, Any]) -> str:
    """The tables: what became of the parts, distances from the truth, and times."""
    ended, exact, times = [], [], []
    for name, found in result["parts"].items():
        says = (found.get("says") or [""])[-1]
        for row in found["rows"]:
            place = str(
                row.get("what") or row.get("steps") or ", ".join(f"{key} {row[key]}" for key in "PCG" if key in row)
            )
            if "tests" in row:
                says = f"{row['tests'] - len(row['failed'])} of {row['tests']} tests pass"
            elif "holds" in row:
                figures = [f"{row[key]:.1e}" for key in DISTANCES]
                exact.append((None, f"{row['type']}, {place}", [*figures, "yes" if row["holds"] else "**no**"]))
            elif "ratio" in row:
                cells = [
                    f"{row[key]:.2f}" if row[key] is not None else "–" for key in ("trl s", "ours s", "ratio", "bound")
                ]
                times.append((None, f"{name}: {place}", cells))
        ended.append((None, name, [found["status"], f"{found['seconds']:.0f} of {found['limit']:.0f}", says]))
    tables = (
        (("part", "ended", "seconds", "says"), ended),
        (("log-probabilities", *DISTANCES, "holds"), exact),
        (("seconds", "TRL", "realm", "ratio", "bound"), times),
    )
    head = f"{result['machine']}; torch {result['versions'].get('torch')}; `{result['command']}`"
    texts = ["\n".join(Table(columns, [("", rows)]).to_markdown()) for columns, rows in tables if rows]
    return "\n\n".join([head, *texts])


def main() -> None:
    parser = argparse.ArgumentParser("gpu.sh", description=__doc__.partition("\n")[0])
    parser.epilog = "gpu.sh --wheels [PYTHON], where there is a network, fetches what a machine without one may lack."
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--small", action="store_true", help="small sizes, to try the parts")
    parser.add_argument("--minutes", type=float, default=7.5, help="for all parts together")
    parser.add_argument("--without", nargs="+", default=[], metavar="PART", help="parts that are left out")
    parser.add_argument("--json", type=Path, help="default: benchmarks/results/gpu_DEVICE.json")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU here; `--device cpu --small` tries the parts without one")
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ |= {"REALM_TEST_DEVICE": options.device, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    file = (options.json or HERE / "results" / f"gpu_{options.device}.json").resolve()
    result = {"command": " ".join(["benchmarks/gpu.sh", *sys.argv[1:]]), "machine": machine(), "versions": versions(),
              "parts": {}}  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = [part for part in parts_of(options.device, options.small, folder) if part.name not in options.without]
        done = conduct_all(parts, options.minutes, folder, result, file)
    print(markdown(result))
    print(f"\n{file}", file=sys.stderr)
    sys.exit(not done)


if __name__ == "__main__":
    main()
