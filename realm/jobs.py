"""Several commands of `realm` at once, each a process of its own with one thread, and what becomes of them.

A tiny model is fastest on one thread, and with one thread its arithmetic is exactly repeatable; the cores are used by
running as many commands side by side.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from realm.errors import UserError

#: Seconds between two looks at the processes.
TICK = 0.5
#: One thread, and no GPU: what is promised is a run on the CPU that can be repeated exactly.
_CPU = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "CUDA_VISIBLE_DEVICES": "",
}


class JobError(RuntimeError):
    """A command of a batch failed; the message names it, its log, and the log's last lines."""


@dataclass
class Job:
    """One command: `realm ARGUMENTS`, its output in the file `log`."""

    name: str
    arguments: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    ended: float = 0.0

    @property
    def state(self) -> str:
        if self.process is None:
            return "waiting"
        return "done" if self.ended else "running"

    @property
    def seconds(self) -> float:
        """Seconds it has been running, or ran."""
        return (self.ended or time.monotonic()) - self.started if self.process else 0.0

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        output: IO[bytes]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "realm", *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **_CPU},
            )
        self.started = time.monotonic()

    def poll(self) -> None:
        """Note the end of the process. Raises `JobError` where it failed, `UserError` where the user can mend it."""
        if self.process is None or self.ended or self.process.poll() is None:
            return
        self.ended = time.monotonic()
        if self.process.returncode:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            last = max((n for n, line in enumerate(lines) if line.startswith("error: ")), default=None)
            if self.process.returncode == 2 and last is not None:
                raise UserError(
                    "\n".join([f"{self.name}: {lines[last].removeprefix('error: ')}", *lines[last + 1 :][:1]])
                )
            tail = lines[-8:]
            raise JobError(
                f"{self.name} failed with exit code {self.process.returncode}; all of its output is in {self.log}:\n"
                + "\n".join(tail)
            )

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            self.process.kill()


def run_jobs(jobs: Sequence[Job], workers: int, on_tick: Callable[[], None] = lambda: None) -> None:
    """Run the jobs in order, at most `workers` at once; `on_tick` is called about twice a second.

    Raises:
        JobError, UserError: a job failed. The others are stopped, as on Ctrl-C and on SIGTERM.
    """
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        while any(job.state != "done" for job in jobs):
            free = workers - sum(job.state == "running" for job in jobs)
            for job in [job for job in jobs if job.state == "waiting"][:free]:
                job.start()
            time.sleep(TICK)
            for job in jobs:
                job.poll()
            on_tick()
    finally:
        for job in jobs:
            job.stop()
        signal.signal(signal.SIGTERM, before)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    """End as an exception does, so that no process is left behind."""
    raise SystemExit(128 + number)
