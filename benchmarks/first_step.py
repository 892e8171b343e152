"""Seconds from `realm train` to its first training step: of this tree and of others beside it, one after the other.

    OMP_NUM_THREADS=1 python benchmarks/first_step.py [--trees . ../older] [--repeats 5] [--bank BANK]
    OMP_NUM_THREADS=1 python benchmarks/first_step.py --whole --trees ../older . .,training.sft.padding=length \\
        --set training.sft.steps=10 training.rl.steps=16

Each run is `realm-r1` on the desk as it is by default, from a bank that `realm collect` fills first, and is ended when
metrics.jsonl has its first row, but for `--whole`. Settings after a tree are its own, those of `--set` are of all. Both
times are printed, the clock's and that of the processor, which others on the machine disturb less; the order of the
trees is turned round in every repeat.
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


def first_step(tree: Path, settings: list[str], *, whole: bool) -> tuple[float, float]:
    """Seconds by the clock and of the processor, of the whole run or up to its first row."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        words = [word for setting in settings for word in ("--set", setting)]
        process = realm(tree, "train", "--out", f"{folder}/run", *words)
        if whole:
            _, code, used = os.wait4(process.pid, 0)
            if code:
                raise SystemExit(f"{tree}: realm train failed")
            return time.monotonic() - began, used.ru_utime + used.ru_stime
        metrics = Path(folder) / "run" / "metrics.jsonl"
        watched = psutil.Process(process.pid)
        try:
            while not (metrics.is_file() and metrics.stat().st_size):
                if process.poll() is not None:
                    raise SystemExit(f"{tree}: realm train ended with {process.returncode}")
                time.sleep(0.02)
            times = watched.cpu_times()
            return time.monotonic() - began, times.user + times.system
        finally:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trees", nargs="+", default=[str(Path(__file__).resolve().parents[1])])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bank", type=Path, help="default: one that is collected now")
    parser.add_argument("--whole", action="store_true", help="the whole run")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of every tree")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bank = options.bank or Path(folder) / "bank"
        first = Path(options.trees[0].split(",")[0])
        if options.bank is None and realm(first, "collect", "--out", str(bank)).wait():
            raise SystemExit("realm collect failed")
        found: dict[str, list[tuple[float, float]]] = {tree: [] for tree in options.trees}
        # The first repeat warms the disk up, which counts little in a whole run.
        for repeat in range(options.whole, options.repeats + 1):
            for tree in options.trees[:: 1 if repeat % 2 else -1]:
                place, *own = tree.split(",")
                settings = [f"bank.path={bank.resolve()}", *options.set, *own]
                times = first_step(Path(place), settings, whole=options.whole)
                if repeat:
                    found[tree].append(times)
                    print(f"{tree}: {times[0]:.1f} s, {times[1]:.1f} s of the processor", file=sys.stderr, flush=True)
    for tree, all_times in found.items():
        clock, processor = (median(values) for values in zip(*all_times, strict=True))
        print(f"{tree}: {clock:.1f} s, {processor:.1f} s of the processor (medians of {len(all_times)})")


if __name__ == "__main__":
    main()
