"""How much of an endpoint's throughput `realm collect` uses, and how fast its client can be at all.

    python benchmarks/collect.py [--samples 2560] [--slots 64] [--latency 0.5] [--repeats 3]

The server (tests/teacher/wire.py, a process of its own) answers `--slots` requests at a time, each after `--latency`
seconds, as an endpoint with an LLM behind it does. What it can give is measured in the same run by a bare load
generator: as many sockets as slots, each sends the same request again and again and reads the answer's bytes. The
client's time is that of a whole `collect`: planning, asking, the ledger, one fsync for each group of answers, judging,
and folding the labels into the bank. `ceiling` is the same against a server without latency. `together` holds eight
samples of a question in one request (`teachers.NAME.batch_size`, the default) against one a request, for a server that
writes the answers of a request one after the other: what is left of the throughput where nothing is gained by it.

Writes benchmarks/results/collect.json and prints the table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from realm.bank.folder import BankFolder
from realm.config import Config, load_config
from realm.run import machine, versions
from realm.tasks.registry import load_task
from realm.tasks.workers import VerifierPool
from realm.teacher.collect import bank_info, collect, make_plan

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


@contextmanager
def endpoint(slots: int, latency: float) -> Iterator[int]:
    """The port of a server in a process of its own."""
    command = [sys.executable, ROOT / "tests" / "teacher" / "wire.py", "--slots", str(slots), "--latency", str(latency)]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def make_config(folder: Path, port: int, samples: int, concurrency: int, each: int = 1, together: int = 1) -> Config:
    """A task of so many questions of ordinary length that `each` of them has so many samples, asked for together."""
    path = folder / "rows.jsonl"
    story = "A shop sells pens at three prices and gives a discount on every tenth. " * 5
    with path.open("w", encoding="utf-8") as file:
        for number in range(samples // each):
            row = {"id": f"q{number}", "question": f"{story}What is {number} + 1?", "answer": str(number % 10)}
            file.write(json.dumps(row) + "\n")
    teacher = {
        "kind": "openai",
        "model": "wire-model",
        "base_url": f"http://127.0.0.1:{port}/v1",
        "api_key_env": None,
        "price": {"input": 1, "output": 2},
        "batch_size": together,
    }
    return load_config(
        None,
        [
            "task.name=jsonl", f"task.path={path}", "task.verifier=number", "task.test_size=1",
            "teachers.scripted-clerk.share=0", f"teachers.wire={json.dumps(teacher)}", f"bank.samples={each}",
            "routes.k=1", "guidance.probability=0", f"collect.concurrency={concurrency}",
        ],
    )  # fmt: skip


def client(config: Config, folder: Path) -> float:
    """Samples a second of one whole collection."""
    task = load_task(config)
    started = time.perf_counter()
    bank = BankFolder.create(folder, bank_info(config, task))
    with VerifierPool(task.verifier.name) as pool:
        tally = collect(config, task, bank, pool)
    seconds = time.perf_counter() - started
    assert tally.done == tally.owed >= tally.requests
    return tally.done / seconds


def bare(config: Config, port: int, samples: int, sockets: int) -> float:
    """Samples a second of the load generator: what the server gives to a client that does nothing else."""
    plan = make_plan(config, load_task(config))
    messages = next(plan.jobs(plan.sources[0])).messages
    body = json.dumps({"model": "wire-model", "messages": messages, "temperature": 0.8, "max_tokens": 2048}).encode()
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        + f"content-length: {len(body)}\r\n\r\n".encode()
        + body
    )
    left = samples

    async def ask() -> None:
        nonlocal left
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while left > 0:
            left -= 1
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    async def run() -> None:
        await asyncio.gather(*(ask() for _ in range(sockets)))

    started = time.perf_counter()
    asyncio.run(run())
    return samples / (time.perf_counter() - started)


def measure(name: str, samples: int, slots: int, latency: float, repeats: int) -> dict[str, Any]:
    """One line of the table: the two taken by turns, so that what else the machine does meets both."""
    found: dict[str, list[float]] = {"server": [], "client": []}
    with tempfile.TemporaryDirectory() as root, endpoint(slots, latency) as port:
        config = make_config(Path(root), port, samples, slots)
        runs: dict[str, Callable[[int], float]] = {
            "server": lambda number: bare(config, port, samples, slots),
            "client": lambda number: client(config, Path(root) / f"bank-{number}"),
        }
        for number in range(repeats):
            for kind, run in runs.items():
                found[kind].append(round(run(number), 1))
    shares = [round(mine / its, 3) for mine, its in zip(found["client"], found["server"], strict=True)]
    return {
        "name": name, "samples": samples, "slots": slots, "latency": latency, "repeats": repeats, **found,
        "share": shares, "median_share": statistics.median(shares),
    }  # fmt: skip


def together(samples: int, slots: int, latency: float, repeats: int) -> dict[str, Any]:
    """As `measure`, of one sample a request and of eight."""
    found: dict[int, list[float]] = {1: [], 8: []}
    with tempfile.TemporaryDirectory() as root, endpoint(slots, latency) as port:
        for number in range(repeats):
            for size, each in found.items():
                folder = Path(root) / f"{size}-{number}"
                folder.mkdir()
                config = make_config(folder, port, samples, slots, 8, size)
                each.append(round(client(config, folder / "bank"), 1))
    shares = [round(eight / one, 3) for one, eight in zip(*found.values(), strict=True)]
    return {
        "name": "together", "samples": samples, "slots": slots, "latency": latency, "repeats": repeats,
        "server": found[1], "client": found[8], "share": shares, "median_share": statistics.median(shares),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Throughput of `realm collect` against what the endpoint can give.")
    parser.add_argument("--samples", type=int, default=2560)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.5, help="seconds per answer")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    rows = [
        measure("endpoint", arguments.samples, arguments.slots, arguments.latency, arguments.repeats),
        measure("ceiling", arguments.samples, arguments.slots, 0.0, arguments.repeats),
        together(arguments.samples, arguments.slots, arguments.latency, arguments.repeats),
    ]
    result = {"machine": machine(), "versions": versions(), "rows": rows}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "collect.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(
        f"{'':10} {'server, samples/s':>20} {'client, samples/s':>20} {'client / server':>20}   (medians; all repeats)"
    )
    for row in rows:
        server, mine = statistics.median(row["server"]), statistics.median(row["client"])
        print(f"{row['name']:10} {server:20.1f} {mine:20.1f} {row['median_share']:20.1%}   {row['share']}")


if __name__ == "__main__":
    main()
