"""Seconds from `realm train` to its first training step: of this tree and of others beside it, one after the other.

    OMP_NUM_THREADS=1 python benchmarks/first_step.py [--trees . ../older] [--repeats 5] [--bank BANK]

Each run is `realm-r1` on the desk as it is by default, from a bank that `realm collect` fills first, and is ended when
metrics.jsonl has its first row. Both times are printed, the clock's and that of the processor, which others on the
machine disturb less; the order of the trees is turned round in every repeat.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil


def realm(tree: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(tree.resolve()), "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "realm", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tempfile.gettempdir(),
    )


def first_step(tree: Path, bank: Path) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        process = realm(tree, "train", "--out", f"{folder}/run", "--set", f"bank.path={bank.resolve()}")
        metrics = Path(folder) / "run" / "metrics.jsonl"
        watched = psutil.Process(process.pid)
        try:
            while not (metrics.is_file() and metrics.stat().st_size):
                if process.poll() is not None:
                    raise SystemExit(f"{tree}: realm train ended with {process.returncode}")
                time.sleep(0.02)
            used = watched.cpu_times()
            return time.monotonic() - began, used.user + used.system
        finally:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trees", type=Path, nargs="+", default=[Path(__file__).resolve().parents[1]])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bank", type=Path, help="default: one that is collected now")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bank = options.bank or Path(folder) / "bank"
        if options.bank is None and realm(options.trees[0], "collect", "--out", str(bank)).wait():
            raise SystemExit("realm collect failed")
        found: dict[Path, list[tuple[float, float]]] = {tree: [] for tree in options.trees}
        for repeat in range(options.repeats + 1):
            for tree in options.trees[:: 1 if repeat % 2 else -1]:
                times = first_step(tree, bank)
                if repeat:  # the first warms the disk up
                    found[tree].append(times)
    for tree, times in found.items():
        clock, processor = (median(values) for values in zip(*times, strict=True))
        print(f"{tree}: {clock:.1f} s, {processor:.1f} s of the processor (medians of {len(times)})")


if __name__ == "__main__":
    main()
