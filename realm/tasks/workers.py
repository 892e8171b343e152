"""Verification where a hang costs one worker, never the run; programs of models run likewise.

Verifiers that could take for ever (`math`, `python`), and programs, run in worker processes of their own: this module,
started as `python -m realm.tasks.workers`. A worker is a fresh interpreter and no fork, so it is safe beside torch's
threads, imports neither torch nor the caller's main module, and can be killed at any time. Parent and worker exchange
one line of JSON for a pair (or a program) and one for its verdict (or its result). POSIX only (it waits for pipes).
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from realm.plugins import trust
from realm.tasks.execute import Ran, run
from realm.tasks.verify import INLINE, UNREADABLE, Verdict, Verifier, judge, names, verifier

#: Seconds a worker may take to start and to import its verifier's library.
_START_LIMIT = 120.0
#: Bytes that a worker's line may have; a verdict has a few hundred.
_LINE_LIMIT = 1 << 16
#: Bytes of address space of a worker: a verification that wants more fails alone.
_MEMORY_LIMIT = 2 << 30
#: Limits of a worker that runs programs: no file can be written, none opened beside the streams and their copy, and no
#: process started. `realm.tasks.execute` bounds memory to less by far.
_PROGRAM_LIMITS = {"AS": 1 << 30, "FSIZE": 0, "NOFILE": 4, "NPROC": 0, "CORE": 0}
_PROGRAM = ("-m", "realm.tasks.workers")
#: What a worker that runs programs is started with in the place of a verifier's name, which no name begins like.
_RUNS = "-programs"
#: A pair that makes a verifier load what it rests on: an integral is for the library of `math`.
_FIRST = {"math": (r"\frac{1}{2}", r"\int_0^1 x \, dx")}

#: (answer, gold), and where they are known the text of the question and its kind.
Claim = tuple[str | None, str] | tuple[str | None, str, str] | tuple[str | None, str, str, str]


def needs_process(name: str) -> bool:
    """Whether the verifier of that name must run in a worker."""
    return not set(names(name).values()) <= set(INLINE)


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


class _Pool:
    """Workers that are started with `arguments` by the first request, and what becomes of those that fail.

    `timeout`: seconds one request may take before its worker is killed. Not for use by several threads at once.
    """

    def __init__(self, arguments: Sequence[str], timeout: float, workers: int) -> None:
        self._arguments = [*arguments, str(timeout)]
        self._timeout = timeout
        self._workers: list[_Worker | None] = [None] * workers

    def _ask(self, requests: Sequence[Sequence[Any]], wanted: Iterable[int]) -> list[tuple[Any, str]]:
        """The replies, each something and a reason; of those that are not `wanted` or failed None.

        A request that takes longer than the timeout is answered `timeout`, one that ends its worker `error: …`, and a
        fresh worker goes on with the next. Raises `RuntimeError` where workers do not start.
        """
        replies: list[tuple[Any, str]] = [(None, UNREADABLE)] * len(requests)
        waiting = deque(wanted)
        try:
            while waiting or any(worker and worker.index is not None for worker in self._workers):
                self._hand_out(waiting, requests, replies)
                self._collect(waiting, replies)
        except BaseException:
            # A worker that is still busy would hand its reply to the next call's request.
            self.close()
            raise
        return replies

    def _hand_out(self, waiting: deque[int], requests: Sequence[Sequence[Any]], replies: list[tuple[Any, str]]) -> None:
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
                worker.send(requests[worker.index])
            except (BrokenPipeError, TimeoutError) as error:
                died = isinstance(error, BrokenPipeError)
                replies[worker.index] = (None, "error: the worker died" if died else "timeout")
                self._drop(slot)

    def _collect(self, waiting: deque[int], replies: list[tuple[Any, str]]) -> None:
        """Wait for the first reply or the first deadline, and take in all there are.

        A worker without memory is replaced. Where earlier requests may have leaked it, this one goes to the new one.
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
                    replies[worker.index] = (None, "error: the worker died")
                    self._drop(slot)
                    continue
                replies[worker.index] = (message[0], message[1])
                if replies[worker.index][1].startswith("error: MemoryError"):
                    if not worker.fresh:
                        waiting.appendleft(worker.index)
                    self._drop(slot)
                    continue
                worker.index, worker.fresh = None, False
            elif time.monotonic() >= worker.deadline:
                replies[worker.index] = (None, "timeout")
                self._drop(slot)

    def _drop(self, slot: int) -> None:
        worker, self._workers[slot] = self._workers[slot], None
        if worker is not None:
            worker.kill()

    def close(self) -> None:
        """End the workers. The pool may be used again: it starts new ones."""
        for slot in range(len(self._workers)):
            self._drop(slot)


class VerifierPool(_Pool):
    """Judges (answer, gold) pairs by the verifier of one name; use it as a context manager, or `close` it.

    Cheap verifiers run here; the others in `workers` processes, which are started by the first pair, and so are
    programs. `timeout`: seconds one pair, or program, may take before its worker is killed. Not for use by several
    threads at once.
    """

    def __init__(self, name: str, choices: Sequence[str] = (), timeout: float = 5.0, workers: int = 1) -> None:
        super().__init__([name, json.dumps(list(choices))], timeout, workers)
        self._verifier = verifier(name, choices)
        self._inline = not needs_process(name)
        self._programs = _Pool([_RUNS, ""], timeout, workers)

    @property
    def verifier(self) -> Verifier:
        """The verifier that the pool applies."""
        return self._verifier

    def verify(self, pairs: Sequence[Claim]) -> list[Verdict]:
        """One verdict for each claim, in order.

        An answer that is None or empty is `unreadable`. Never raises for what an answer holds: a pair that takes longer
        than the timeout is answered `timeout`, one that ends its worker `error: …`, and a fresh worker goes on with the
        next. Raises `RuntimeError` where workers do not start.
        """
        if self._inline:
            return [judge(self._verifier, *pair) for pair in pairs]
        wanted = (index for index, (answer, *_) in enumerate(pairs) if answer is not None and answer.strip())
        return [Verdict(bool(correct), reason) for correct, reason in self._ask(pairs, wanted)]

    def run(self, programs: Sequence[str]) -> list[Ran]:
        """The result of each program (`realm.tasks.execute`), in order; equal ones run once. Never raises for what a
        program holds. None starts no worker."""
        asked = list(dict.fromkeys(programs))
        found = dict(zip(asked, self._programs._ask([[one] for one in asked], range(len(asked))), strict=True))
        return [Ran(*found[one]) for one in programs]

    def close(self) -> None:
        super().close()
        self._programs.close()

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

    def verdict(*pair: Any) -> tuple[bool, str]:
        found = judge(check, *pair)
        return found.correct, found.reason

    _serve(verdict, timeout)


def _serve(reply: Callable[..., tuple[Any, str]], timeout: float, **limits: int) -> None:
    # What a library prints must not end up among the replies.
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    _limit(**limits)
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        # The parent kills at `timeout`. Should the parent be gone, the kernel does it: SIGALRM, not handled, ends us.
        signal.setitimer(signal.ITIMER_REAL, 2 * timeout + 5)
        found = reply(*request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(found), file=answers, flush=True)


def _ran(program: str) -> tuple[str | None, str]:
    found = run(program)
    return found.value, found.reason


def _limit(**most: int) -> None:
    """Limits of this process and its children by their names in `resource`: AS is bytes of address space."""
    with contextlib.suppress(ImportError):
        import resource

        for name, value in most.items():
            with contextlib.suppress(ValueError, OSError, AttributeError):
                resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


if __name__ == "__main__":
    _name, _choices, _timeout = sys.argv[1:]
    if _name == _RUNS:
        run("print(date(2000, 1, 1) + timedelta(days=1))")
        _serve(_ran, float(_timeout), **_PROGRAM_LIMITS)
    else:
        _limit(AS=_MEMORY_LIMIT)
        trust(list(names(_name).values()))
        _check = verifier(_name, json.loads(_choices))
        # What a library does on its first use must not count against the first pair.
        for _kind, _one in names(_name).items():
            judge(_check, *_FIRST.get(_one, ("1", "1")), kind=_kind)
        serve(_check, float(_timeout))
