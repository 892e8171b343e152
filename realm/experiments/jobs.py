"""Several commands of `realm` at once, each a process of its own, and what becomes of them.

A tiny model is fastest on one thread, and with one thread its arithmetic is exactly repeatable; the cores are used by
running as many commands side by side. Commands that need more (`Job.tiny`) have what this process has.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from rich.console import Console, RenderableType
from rich.live import Live

from realm.errors import UserError
from realm.stopping import stoppable

#: How a command is started.
COMMAND = (sys.executable, "-m", "realm")
#: Seconds between two looks at the processes.
TICK = 0.5
#: Printed at most this often (seconds) where the output is no terminal.
PLAIN_EVERY = 20.0
#: Seconds before SIGTERM: Ctrl-C reaches the jobs too, and one that came after SIGTERM would count as the second.
_PAUSE = 0.3
#: Seconds that a stopped process has to save what it has, and those of a training whose step or checkpoint is long.
GRACE, LONG_GRACE = 30.0, 600.0
#: Exit code of `realm collect` where samples are still owed.
_OWED = 3
#: One thread, and no GPU: what is promised is a run on the CPU that can be repeated exactly.
_CPU = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "CUDA_VISIBLE_DEVICES": "",
}


class JobError(RuntimeError):
    """A command of a batch failed; the message names it, its log, and the log's last lines."""


@dataclass
class Job:
    """One command: `realm ARGUMENTS`, its output in the file `log`; started when the job `after` is done.

    Attributes:
        tiny: it has one thread and no GPU; else those of this process.
        grace: seconds that it has to save what it has, once it is stopped.
        scratch: a folder that is deleted once it is done, for it serves only to go on from.
    """

    name: str
    arguments: Sequence[str]
    log: Path
    after: Job | None = None
    tiny: bool = True
    grace: float = GRACE
    scratch: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    ended: float = 0.0
    error: Exception | None = None

    @property
    def state(self) -> Literal["waiting", "running", "done", "failed"]:
        if self.error is not None or (self.after is not None and self.after.state == "failed"):
            return "failed"
        if self.process is None:
            return "waiting"
        return "done" if self.ended else "running"

    @property
    def ready(self) -> bool:
        """Whether it may be started."""
        return self.state == "waiting" and (self.after is None or self.after.state == "done")

    @property
    def seconds(self) -> float:
        """Seconds it has been running, or ran."""
        return (self.ended or time.monotonic()) - self.started if self.process else 0.0

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        output: IO[bytes]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*COMMAND, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(_CPU if self.tiny else {})},
            )
        self.started = time.monotonic()

    def poll(self) -> None:
        """Note the end of the process, and in `error` why it failed: a `UserError` where the user can mend it."""
        if self.process is None or self.ended or self.process.poll() is None:
            return
        self.ended = time.monotonic()
        if self.process.returncode:
            self.error = self._reason(self.process.returncode)
        elif self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def _reason(self, code: int) -> Exception:
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = max((n for n, line in enumerate(lines) if line.startswith("error: ")), default=None)
        if code == 2 and last is not None:
            return UserError("\n".join([f"{self.name}: {lines[last].removeprefix('error: ')}", *lines[last + 1 :][:1]]))
        tail = "\n".join(lines[-8:])
        if code == _OWED and self.arguments[0] == "collect":
            return UserError(f"{self.name}: samples are still owed; all of its output is in {self.log}:\n{tail}")
        return JobError(f"{self.name} failed with exit code {code}; all of its output is in {self.log}:\n{tail}")


def run_jobs(jobs: Sequence[Job], workers: int, on_tick: Callable[[], None] = lambda: None) -> None:
    """Run the jobs in order, at most `workers` at once; `on_tick` is called about twice a second.

    A job that fails says so in `Job.error`, and the others go on.

    Raises:
        Stopped: by Ctrl-C or SIGTERM; every job has been told, and had its `grace` to save what it has, or less where
            a second signal came.
    """
    with stoppable():
        try:
            while any(job.state in ("waiting", "running") for job in jobs):
                free = workers - sum(job.state == "running" for job in jobs)
                for job in [job for job in jobs if job.ready][:free]:
                    job.start()
                time.sleep(TICK)
                for job in jobs:
                    job.poll()
                on_tick()
        finally:
            _stop(jobs)


def run_shown(jobs: Sequence[Job], workers: int, render: Callable[[], RenderableType], console: Console) -> None:
    """`run_jobs` with what `render` gives shown live or, without a terminal, printed now and then."""
    if console.is_terminal:
        with Live(render(), console=console, refresh_per_second=2) as live:
            run_jobs(jobs, workers, lambda: live.update(render()))
        return
    printed = time.monotonic()

    def lines() -> None:
        nonlocal printed
        if time.monotonic() - printed >= PLAIN_EVERY:
            printed = time.monotonic()
            console.print(render())

    run_jobs(jobs, workers, lines)


def _stop(jobs: Sequence[Job]) -> None:
    """Let no process stay behind: all are asked to end at once, and those that do not are killed.

    A second Ctrl-C kills them at once.
    """
    running = [job for job in jobs if job.process is not None and job.process.poll() is None]
    try:
        if running:
            time.sleep(_PAUSE)
        began = time.monotonic()
        for job in running:
            assert job.process is not None
            job.process.terminate()
        for job in running:
            assert job.process is not None
            with suppress(subprocess.TimeoutExpired):
                job.process.wait(max(0.0, began + job.grace - time.monotonic()))
    finally:
        for job in running:
            assert job.process is not None
            if job.process.poll() is None:
                job.process.kill()
                job.process.wait()
            job.ended = time.monotonic()
