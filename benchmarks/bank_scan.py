"""How long it takes to read a bank, and how much memory: `python benchmarks/bank_scan.py [--cots 100000,1000000]`.

Makes banks of CoTs of about 1 KB each (ten a question, in the order in which many questions are answered side by side)
in a temporary folder. Every measurement is a process of its own, so that its peak memory (resident set) is its own:

- write: the bank itself, streamed;
- scan: every row read and checked;
- groups: every question with all its CoTs;
- stats: what `realm bank stats` computes;
- compact: from JSONL into Parquet; after it the three reading ones again.

Prints a table and writes benchmarks/results/bank_scan.json.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from realm.analysis.stats import statistics
from realm.bank.compact import compact
from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.bank.scan import groups
from realm.run import machine, versions
from realm.tasks.base import Question

RESULTS = Path(__file__).parent / "results"
PER_QUESTION = 10
#: Questions that are answered side by side.
ABREAST = 50
BYTES_EACH = 1100
WORDS = "so we add the first number then half of it to get that what is left over we multiply by three".split(" ")  # noqa: SIM905


def cots(number: int) -> Iterator[CoT]:
    """CoTs with texts of 150 words; half of them wrong, with few different wrong answers."""
    source = random.Random(0)
    for start in range(0, number // PER_QUESTION, ABREAST):
        for sample in range(PER_QUESTION):
            for question in range(start, min(start + ABREAST, number // PER_QUESTION)):
                answer = str(source.choice((question, question, question + 1, 2 * question)))
                text = " ".join(source.choices(WORDS, k=150))
                yield CoT(
                    f"q{question}", text, answer, int(answer == str(question)), teacher=f"m{sample % 3}",
                    guided=sample % 2 == 0, sample=sample, prompt_tokens=120, completion_tokens=200, seconds=2.5,
                )  # fmt: skip


def write(path: Path, number: int) -> int:
    questions = (Question(f"q{i}", f"What is {i}?", str(i), tags=("sum",)) for i in range(number // PER_QUESTION))
    folder = BankFolder.create(path, {}, questions)
    batch: list[CoT] = []
    with folder.lock(), folder.writer() as writer:
        for cot in cots(number):
            batch.append(cot)
            if len(batch) == 500:
                writer.write(batch)
                batch = []
        writer.write(batch)
    return number


def work(what: str, path: Path, number: int) -> int:
    """Do one of the things that are measured; returns the number of CoTs it saw."""
    if what == "write":
        return write(path, number)
    folder = BankFolder.open(path)
    if what == "scan":
        return sum(1 for _ in folder.scan())
    if what == "groups":
        return sum(len(members) for _, members in groups(folder))
    if what == "stats":
        return int(statistics(groups(folder))["cots"])
    with folder.lock():
        return compact(folder)


def measured(what: str, path: Path, number: int) -> dict[str, float]:
    """Seconds and peak memory (MB) of one measurement in a process of its own."""
    command = [sys.executable, __file__, "--one", what, str(path), str(number)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def one(what: str, path: Path, number: int) -> None:
    started = time.perf_counter()
    seen = work(what, path, number)
    assert seen == number, f"{what}: {seen} of {number}"
    # Linux tells kilobytes, macOS bytes.
    unit = 1e6 if sys.platform == "darwin" else 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(json.dumps({"seconds": round(time.perf_counter() - started, 2), "peak_mb": round(peak, 1)}))


def measure(sizes: list[int]) -> Iterator[dict[str, Any]]:
    for number in sizes:
        with tempfile.TemporaryDirectory(prefix="realm-bank-scan-") as name:
            # The bank, its parts while it is grouped, and its Parquet file.
            need, free = 3 * number * BYTES_EACH, shutil.disk_usage(name).free
            if free < need:
                sys.exit(f"{name}: {need / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free; set TMPDIR to another disk.")
            path = Path(name) / "bank"
            for form, tasks in (
                ("jsonl", ("write", "scan", "groups", "stats", "compact")),
                ("parquet", ("scan", "groups", "stats")),
            ):
                for what in tasks:
                    found = measured(what, path, number)
                    size = sum(file.stat().st_size for file in path.iterdir())
                    yield {"cots": number, "form": form, "work": what, **found, "bank_mb": round(size / 1e6, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cots", default="100000,1000000", help="sizes of the banks, with commas")
    parser.add_argument("--one", nargs=3, metavar=("WORK", "BANK", "COTS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        what, path, number = arguments.one
        one(what, Path(path), int(number))
        return
    rows = []
    print(f"{'CoTs':>9}  {'form':8}{'work':9}{'seconds':>9}{'CoTs/s':>10}{'peak MB':>9}{'bank MB':>9}", flush=True)
    for row in measure([int(size) for size in arguments.cots.split(",")]):
        rows.append(row)
        speed = row["cots"] / max(row["seconds"], 1e-9)
        print(
            f"{row['cots']:>9}  {row['form']:8}{row['work']:9}{row['seconds']:>9.1f}{speed:>10.0f}"
            f"{row['peak_mb']:>9.0f}{row['bank_mb']:>9.0f}",
            flush=True,
        )
    result = {"machine": machine(), "versions": versions(), "rows": rows}
    (RESULTS / "bank_scan.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
