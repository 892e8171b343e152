from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from realm.errors import ConfigError
from realm.tasks import workers
from realm.tasks.verify import Verdict
from realm.tasks.workers import VerifierPool, needs_process

RIGHT, WRONG, TIMEOUT, DIED = (
    Verdict(True),
    Verdict(False),
    Verdict(False, "timeout"),
    Verdict(False, "error: the worker died"),
)

#: Seconds for a pair that hangs: enough for one that does not, on a machine that is busy with something else.
PATIENCE = 1.0
#: Seconds that a test of hanging pairs never takes, which would hang for hours otherwise.
LONG = 100.0


#: Processes that are there as a test begins: other tests' pools, which end when these are forgotten.
_BEFORE: set[psutil.Process] = set()


@pytest.fixture(autouse=True)
def before() -> None:
    _BEFORE.clear()
    _BEFORE.update(psutil.Process().children(recursive=True))


def children() -> list[psutil.Process]:
    """The processes that this test has started; those by which other tests fork are not meant."""
    found = psutil.Process().children(recursive=True)
    return [child for child in found if child not in _BEFORE and not _forks(child)]


def _forks(process: psutil.Process) -> bool:
    try:
        return any("multiprocessing" in part for part in process.cmdline())
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pools whose workers run hostile_worker.py; afterwards no process may be left."""
    monkeypatch.setattr(workers, "_PROGRAM", (str(Path(__file__).with_name("hostile_worker.py")),))
    yield
    assert children() == []


def test_which_verifiers_need_a_process() -> None:
    assert [name for name in ("exact", "number", "choice", "desk", "math", "python") if needs_process(name)] == [
        "math",
        "python",
    ]


def test_cheap_verifiers_run_without_a_process() -> None:
    with VerifierPool("number") as pool:
        assert pool.verify([("18 dollars", "18"), (None, "18"), ("x", "18"), ("17", "18")]) == [
            RIGHT,
            Verdict(False, "unreadable"),
            Verdict(False, "unreadable"),
            WRONG,
        ]
        assert children() == []


def test_choices_reach_the_verifier() -> None:
    with VerifierPool("choice", ("yes", "no")) as pool:
        assert pool.verify([("(Yes)", "yes"), ("maybe", "yes")]) == [RIGHT, Verdict(False, "unreadable")]
    with pytest.raises(ConfigError):
        VerifierPool("choice", ("yes",))


@pytest.mark.parametrize("n_workers", [1, 3])
def test_order_is_kept_and_workers_are_reused(hostile: None, n_workers: int) -> None:
    with VerifierPool("python", workers=n_workers) as pool:
        pairs = [(str(number % 7), str(number % 5)) for number in range(200)]
        assert pool.verify(pairs) == [Verdict(answer == gold) for answer, gold in pairs]
        first = {child.pid for child in children()}
        assert len(first) == n_workers
        assert pool.verify([("a", "a")]) == [RIGHT]
        assert {child.pid for child in children()} == first
        assert pool.verify([]) == []


@pytest.mark.parametrize("n_workers", [1, 2])
@pytest.mark.parametrize("what", ["hang", "spin"])
def test_a_hang_costs_its_worker_and_its_neighbours_are_answered(hostile: None, n_workers: int, what: str) -> None:
    with VerifierPool("python", timeout=PATIENCE, workers=n_workers) as pool:
        start = time.monotonic()
        assert pool.verify([("a", "a"), (what, "a"), ("b", "a"), (what, what), ("a", "a")]) == [
            RIGHT,
            TIMEOUT,
            WRONG,
            TIMEOUT,
            RIGHT,
        ]
        assert time.monotonic() - start < LONG


@pytest.mark.parametrize(
    ("what", "gold", "verdict"), [("half", "hang", TIMEOUT), ("half", "a", DIED), ("flood", "a", DIED)]
)
def test_half_a_line_costs_no_more_than_its_worker(hostile: None, what: str, gold: str, verdict: Verdict) -> None:
    """A flood has to be read before it is known for one, which takes a busy machine a while."""
    with VerifierPool("python", timeout=PATIENCE if verdict == TIMEOUT else LONG, workers=2) as pool:
        assert pool.verify([("a", "a"), (what, gold), ("b", "a"), (what, gold), ("a", "a")]) == [
            RIGHT, verdict, WRONG, verdict, RIGHT,
        ]  # fmt: skip


def test_a_worker_that_reads_nothing_is_given_up_at_its_deadline(
    hostile: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pair is longer than what a pipe holds."""
    with VerifierPool("python", timeout=PATIENCE) as pool:
        monkeypatch.setattr(pool, "_arguments", ["deaf", "[]", str(PATIENCE)])
        start = time.monotonic()
        assert pool.verify([("9" * (1 << 20), "a"), ("b", "a")]) == [TIMEOUT, TIMEOUT]
        assert time.monotonic() - start < LONG


def test_a_worker_that_dies_is_an_error_of_its_pair_alone(hostile: None) -> None:
    with VerifierPool("python") as pool:
        assert pool.verify([("die", "a"), ("a", "a"), ("die", "die"), ("a", "b")]) == [DIED, RIGHT, DIED, WRONG]


def test_a_worker_killed_between_two_calls_is_replaced(hostile: None) -> None:
    with VerifierPool("python") as pool:
        pool.verify([("a", "a")])
        [child] = children()
        child.kill()
        child.wait()
        assert pool.verify([("a", "a")]) == [RIGHT]


def test_a_worker_without_memory_is_replaced_and_what_others_leaked_is_held_against_nobody(hostile: None) -> None:
    """2 GB are its limit: the third leak finds no room in the old worker, and room in a new one."""
    with VerifierPool("python", timeout=60) as pool:
        pairs = [("leak", "leak"), ("leak", "leak"), ("leak", "leak"), ("a", "a"), ("eat", "eat"), ("a", "a")]
        verdicts = pool.verify(pairs)
    assert [verdict.correct for verdict in verdicts] == [True, True, True, True, False, True]
    assert verdicts[4].reason.startswith("error: MemoryError")


def test_what_a_verifier_raises_or_prints_does_no_harm(hostile: None) -> None:
    with VerifierPool("python") as pool:
        assert pool.verify([("raise", "a"), ("print", "a"), ("a", "b"), ("a", "a")]) == [
            Verdict(False, "error: ZeroDivisionError: division"),
            WRONG,
            WRONG,
            RIGHT,
        ]


def test_any_text_gets_through(hostile: None) -> None:
    texts = ["\n", "a\nb", "\ud800", "a\u2028b", '"]', "9" * 10**6, "\x00", "ß"]
    with VerifierPool("python") as pool:
        assert pool.verify([(text, text) for text in texts]) == [Verdict(False, "unreadable")] + [RIGHT] * 7


def test_workers_do_not_import_torch_nor_the_callers_main(hostile: None) -> None:
    with VerifierPool("python") as pool:
        assert pool.verify([("torch", "")]) == [WRONG]


def test_an_interrupted_call_leaves_no_stale_verdict(hostile: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with VerifierPool("python") as pool:
        with monkeypatch.context() as patch:
            patch.setattr(pool, "_collect", interrupt)
            with pytest.raises(KeyboardInterrupt):
                pool.verify([("a", "a")])
        assert children() == []
        assert pool.verify([("a", "b")]) == [WRONG]


def test_a_worker_that_cannot_start_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_PROGRAM", ("-c", "raise SystemExit(1)"))
    with VerifierPool("python") as pool, pytest.raises(RuntimeError, match="did not start"):
        pool.verify([("a", "a")])
    assert children() == []


def test_a_hanging_worker_does_not_outlive_a_killed_parent() -> None:
    """Nobody closes its input nor kills it: the kernel's timer ends it (2 x timeout + 5 s)."""
    program = [sys.executable, str(Path(__file__).with_name("hostile_worker.py")), "python", "[]", "0.05"]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], env={"PYTHONPATH": "."}
    ) as worker:
        assert worker.stdin and worker.stdout
        assert worker.stdout.readline() == b'"ready"\n'
        worker.stdin.write(json.dumps(["hang", "a"]).encode() + b"\n")
        worker.stdin.flush()
        assert worker.wait(timeout=LONG) != 0


@pytest.mark.parametrize("bomb", ["9^{9^{9^{9^9}}}", "10^{10^{10}}", "(" * 300 + "1" + ")" * 300])
def test_a_pathological_expression_is_stopped_and_the_run_goes_on(bomb: str) -> None:
    with VerifierPool("math", timeout=3) as pool:
        first, bad, last = pool.verify([("1/2", "0.5"), (bomb, "5"), ("3", "3")])
    assert first == last == RIGHT
    assert not bad.correct
    assert bad.reason
    assert children() == []


def test_python_literals_that_exhaust_the_parser_are_only_wrong() -> None:
    bombs = ["-" * 9000 + "1", "[" * 9000, "(" * 4000 + ")" * 4000, "9" * 9000, "{}" * 4000, "'" * 9999]
    with VerifierPool("python") as pool:
        verdicts = pool.verify([*((bomb, "1") for bomb in bombs), ("1", "1")])
    assert verdicts[-1] == RIGHT
    assert not any(verdict.correct for verdict in verdicts[:-1])
