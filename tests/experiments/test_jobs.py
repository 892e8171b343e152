"""Commands side by side: how many at once, what a failure says, and that nothing is left running."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from realm.errors import UserError
from realm.experiments import jobs
from realm.experiments.jobs import Job, JobError, run_jobs
from realm.stopping import Stopped

#: A command that takes minutes.
SLOW = ["collect", "--set", "bank.samples=5000"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "TICK", 0.01)


def test_all_are_run_no_more_than_allowed_at_once(tmp_path: Path) -> None:
    batch = [Job(str(number), ["--version"], tmp_path / f"{number}.log") for number in range(4)]
    most = 0

    def count() -> None:
        nonlocal most
        most = max(most, sum(job.state == "running" for job in batch))

    run_jobs(batch, 2, count)
    assert [job.state for job in batch] == ["done"] * 4
    assert most <= 2
    assert all("realm" in job.log.read_text() for job in batch)
    assert all(job.seconds > 0 for job in batch)


def failure(job: Job) -> Exception:
    """How a job failed that is run alone."""
    run_jobs([job], 1)
    assert job.error is not None
    return job.error


def test_a_users_mistake_stays_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^bad: .*none"):
        raise failure(Job("bad", ["report", str(tmp_path / "none")], tmp_path / "bad.log"))


def test_another_failure_names_its_log_and_its_last_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os\nos.write(2, b'no luck')\nos._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(JobError, match=r"(?s)bad failed with exit code 3.*bad\.log.*no luck"):
        raise failure(Job("bad", ["--version"], tmp_path / "bad.log"))


def test_the_others_go_on_but_not_what_waits_for_the_failed(tmp_path: Path) -> None:
    bad = Job("bad", ["report", str(tmp_path / "none")], tmp_path / "bad.log")
    after = Job("after", ["--version"], tmp_path / "after.log", after=bad)
    good = Job("good", ["--version"], tmp_path / "good.log")
    last = Job("last", ["--version"], tmp_path / "last.log", after=good)
    run_jobs([bad, after, last, good], 1)
    assert [job.state for job in (bad, after, good, last)] == ["failed", "failed", "done", "done"]
    assert isinstance(bad.error, UserError)
    assert after.process is None
    assert last.started >= good.ended


def test_only_tiny_commands_are_kept_from_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, "-c", "import os; print(dict(os.environ))"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    batch = [Job(str(tiny), [], tmp_path / f"{tiny}.log", tiny=tiny) for tiny in (True, False)]
    run_jobs(batch, 2)
    small, large = (job.log.read_text() for job in batch)
    assert "'CUDA_VISIBLE_DEVICES': ''" in small and "'OMP_NUM_THREADS': '1'" in small
    assert "'CUDA_VISIBLE_DEVICES': '5'" in large and "'OMP_NUM_THREADS': '7'" in large


def test_samples_that_are_owed_are_the_users_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, "-c", "print('stopped by the budget'); exit(3)"))
    with pytest.raises(UserError, match=r"(?s)^bank: samples are still owed.*stopped by the budget"):
        raise failure(Job("bank", ["collect"], tmp_path / "bank.log"))
    with pytest.raises(JobError, match="exit code 3"):
        raise failure(Job("run", ["train"], tmp_path / "run.log"))


DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


@pytest.mark.parametrize("again", [False, True])
def test_a_job_has_its_grace_and_a_second_signal_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, "-c", DEAF))
    job = Job("deaf", [], tmp_path / "deaf.log", grace=600.0 if again else 0.5)

    def stop() -> None:
        if job.log.read_text():
            if again:
                signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
                signal.setitimer(signal.ITIMER_REAL, 1.0)
            os.kill(os.getpid(), signal.SIGINT)

    began = time.monotonic()
    with pytest.raises(Stopped):
        run_jobs([job], 1, stop)
    assert 0.5 < time.monotonic() - began < 200
    assert job.process is not None and job.process.poll() == -signal.SIGKILL


def test_sigterm_leaves_nothing_running(tmp_path: Path) -> None:
    slow = Job("slow", [*SLOW, "--out", str(tmp_path / "bank")], tmp_path / "slow.log")
    with pytest.raises(Stopped):
        run_jobs([slow], 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert slow.process is not None and slow.process.poll() is not None
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
