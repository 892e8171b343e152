"""Verification where a hang costs one worker, never the run.

Verifiers that could take for ever (`math`, `python`) run in worker processes of their own: this module, started as
`python -m realm.tasks.workers`. A worker is a fresh interpreter and no fork, so it is safe beside torch's threads,
imports neither torch nor the caller's main module, and can be killed at any time. Parent and worker exchange one line
of JSON for a pair and one for its verdict. POSIX only (it waits for pipes).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from realm.plugins import trust
from realm.tasks.verify import INLINE, UNREADABLE, Verdict, Verifier, judge, verifier

#: Seconds a worker may take to start and to import its verifier's library.
_START_LIMIT = 120.0
#: Bytes that a worker's line may have; a verdict has a few hundred.
_LINE_LIMIT = 1 << 16
#: Bytes of address space of a worker: a verification that wants more fails alone.
_MEMORY_LIMIT = 2 << 30
_PROGRAM = ("-m", "realm.tasks.workers")
#: A pair that makes a verifier load what it rests on: an integral is for the library of `math`.
_FIRST = {"math": (r"\frac{1}{2}", r"\int_0^1 x \, dx")}

#: (answer, gold), and where it is known the text of the question.
Claim = tuple[str | None, str] | tuple[str | None, str, str]


def needs_process(name: str) -> bool:
    """Whether the verifier of that name must run in a worker."""
    return name not in INLINE


class _Worker:
    """One worker process. `index` is the pair it is at work on, `deadline` when (monotonic clock) it is killed, `fresh`
    whether it has answered none yet. Its pipes never block: a worker that stops in the middle of a line, or reads none,
    costs no more than its deadline."""

    def __init__(self, arguments: Sequence[str]) -> None:
        package_parent = str(Path(__file__).resolve().parents[2])
        paths = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
        self.index: int | None = None
        self.fresh = True
        self.deadline = 0.0
        self.process = subprocess.Popen(
            # -P: the working directory, which may hold anything, is no place to import from.
            [sys.executable, "-P", *_PROGRAM, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            # Ctrl-C is the parent's to handle; a worker ends when its input does.
            start_new_session=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.number = self.stdout.fileno()
        os.set_blocking(self.number, False)
        os.set_blocking(self.stdin.fileno(), False)
        self._line = b""
        try:
            ready = self._starts()
        except BaseException:
            self.kill()
            raise
        if not ready:
            self.kill()
            raise RuntimeError(f"the verifier's worker did not start: {' '.join([*_PROGRAM, *arguments])}")

    def _starts(self) -> bool:
        end = time.monotonic() + _START_LIMIT
        while (left := end - time.monotonic()) > 0 and wait([self.number], left):
            with contextlib.suppress(BlockingIOError):
                return bool(self.receive() == "ready")
        return False

    def send(self, message: Any) -> None:
        """Raises `TimeoutError` where the worker has not read it at its deadline, `BrokenPipeError` where it died."""
        data = memoryview(json.dumps(message).encode("ascii") + b"\n")
        pipe = select.poll()
        pipe.register(self.stdin, select.POLLOUT)
        while data:
            left = self.deadline - time.monotonic()
            if left <= 0 or not pipe.poll(1000 * left):
                raise TimeoutError
            data = data[self.stdin.write(data) or 0 :]

    def receive(self) -> Any:
        """The next message, or None where the worker has died or talks nonsense.

        Raises `BlockingIOError` while the message is not whole.
        """
        found = self.stdout.read(_LINE_LIMIT)
        if found:
            self._line += found
        line, end, rest = self._line.partition(b"\n")
        if end:
            self._line = rest
            try:
                return json.loads(line)
            except ValueError:
                return None
        if found == b"" or len(line) > _LINE_LIMIT:
            return None
        raise BlockingIOError

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.stdin.close()
        self.stdout.close()


class VerifierPool:
    """Judges (answer, gold) pairs by the verifier of one name; use it as a context manager, or `close` it.

    Cheap verifiers run here; the others in `workers` processes, which are started by the first pair. `timeout`:
    seconds one pair may take before its worker is killed. Not for use by several threads at once.
    """

    def __init__(self, name: str, choices: Sequence[str] = (), timeout: float = 5.0, workers: int = 1) -> None:
        self._verifier = verifier(name, choices)
        self._inline = not needs_process(name)
        self._arguments = [name, json.dumps(list(choices)), str(timeout)]
        self._timeout = timeout
        self._workers: list[_Worker | None] = [None] * workers

    @property
    def verifier(self) -> Verifier:
        """The verifier that the pool applies."""
        return self._verifier

    def verify(self, pairs: Sequence[Claim]) -> list[Verdict]:
        """One verdict for each (answer, gold) or (answer, gold, question), in order.

        An answer that is None or empty is `unreadable`. Never raises for what an answer holds: a pair that takes longer
        than the timeout is answered `timeout`, one that ends its worker `error: …`, and a fresh worker goes on with the
        next. Raises `RuntimeError` where workers do not start.
        """
        if self._inline:
            return [judge(self._verifier, *pair) for pair in pairs]
        verdicts = [Verdict(False, UNREADABLE)] * len(pairs)
        waiting = deque(index for index, (answer, *_) in enumerate(pairs) if answer is not None and answer.strip())
        try:
            while waiting or any(worker and worker.index is not None for worker in self._workers):
                self._hand_out(waiting, pairs, verdicts)
                self._collect(waiting, verdicts)
        except BaseException:
            # A worker that is still busy would hand its verdict to the next call's pair.
            self.close()
            raise
        return verdicts

    def _hand_out(self, waiting: deque[int], pairs: Sequence[Claim], verdicts: list[Verdict]) -> None:
        for slot, worker in enumerate(self._workers):
            if not waiting:
                return
            if worker is not None and worker.index is not None:
                continue
            if worker is None or worker.process.poll() is not None:
                self._drop(slot)
                worker = self._workers[slot] = _Worker(self._arguments)
            worker.index = waiting.popleft()
            worker.deadline = time.monotonic() + self._timeout
            try:
                worker.send(pairs[worker.index])
            except (BrokenPipeError, TimeoutError) as error:
                died = isinstance(error, BrokenPipeError)
                verdicts[worker.index] = Verdict(False, "error: the worker died" if died else "timeout")
                self._drop(slot)

    def _collect(self, waiting: deque[int], verdicts: list[Verdict]) -> None:
        """Wait for the first verdict or the first deadline, and take in all there are.

        A worker without memory is replaced. Where earlier pairs may have leaked it, the pair is given to the new one.
        """
        busy = [(slot, worker) for slot, worker in enumerate(self._workers) if worker and worker.index is not None]
        if not busy:
            return
        patience = max(0.0, min(worker.deadline for _, worker in busy) - time.monotonic())
        answered = wait([worker.number for _, worker in busy], patience)
        for slot, worker in busy:
            assert worker.index is not None
            whole, message = worker.number in answered, None
            if whole:
                try:
                    message = worker.receive()
                except BlockingIOError:
                    whole = False
            if whole:
                if message is None:
                    verdicts[worker.index] = Verdict(False, "error: the worker died")
                    self._drop(slot)
                    continue
                verdicts[worker.index] = Verdict(*message)
                if verdicts[worker.index].reason.startswith("error: MemoryError"):
                    if not worker.fresh:
                        waiting.appendleft(worker.index)
                    self._drop(slot)
                    continue
                worker.index, worker.fresh = None, False
            elif time.monotonic() >= worker.deadline:
                verdicts[worker.index] = Verdict(False, "timeout")
                self._drop(slot)

    def _drop(self, slot: int) -> None:
        worker, self._workers[slot] = self._workers[slot], None
        if worker is not None:
            worker.kill()

    def close(self) -> None:
        """End the workers. The pool may be used again: it starts new ones."""
        for slot in range(len(self._workers)):
            self._drop(slot)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def verify_once(pool: VerifierPool, pairs: Sequence[Claim]) -> list[Verdict]:
    """One verdict for each (answer, gold, question), in order; equal ones are judged once. None starts no worker."""
    asked = list(dict.fromkeys(pairs))
    verdicts = dict(zip(asked, pool.verify(asked) if asked else (), strict=True))
    return [verdicts[pair] for pair in pairs]


def serve(check: Verifier, timeout: float) -> None:
    """The worker's loop: a pair a line on standard input, a verdict a line on standard output, until the input ends."""
    # What a library prints must not end up among the verdicts.
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin.buffer:
        pair = json.loads(line)
        # The parent kills at `timeout`. Should the parent be gone, the kernel does it: SIGALRM, not handled, ends us.
        signal.setitimer(signal.ITIMER_REAL, 2 * timeout + 5)
        verdict = judge(check, *pair)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps([verdict.correct, verdict.reason]), file=answers, flush=True)


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT, _MEMORY_LIMIT))


if __name__ == "__main__":
    _name, _choices, _timeout = sys.argv[1:]
    _limit_memory()
    trust(_name)
    _check = verifier(_name, json.loads(_choices))
    # What a library does on its first use must not count against the first pair.
    judge(_check, *_FIRST.get(_name, ("1", "1")))
    serve(_check, float(_timeout))
