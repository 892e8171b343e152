"""Two `realm train` on one run folder: one trains, the other says who does, and no row is written twice."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from realm.stopping import Request
from tests.cli.conftest import Realm
from tests.holding import another_holds
from tests.launched import FORKED
from tests.tiny import assert_same

STEPS = ["--set", "training.rl.steps=5", "--set", "training.save_every=2"]

#: Rounds of each: a few in every test run, thirty with REALM_ROUNDS=30 (nine minutes).
ROUNDS = int(os.environ.get("REALM_ROUNDS", "6"))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_run_under_way_is_neither_gone_on_with_nor_replaced(
    work: Path, realm: Realm, trained: Callable[..., Path]
) -> None:
    run = trained(out="runs/first")
    with another_holds(run) as process:
        before = tree(run)
        for way in ("--resume", "--overwrite", "", "--resume --overwrite"):
            refused = realm("train", "config.yaml", *way.split())
            assert (refused.exit_code, refused.exception.__class__) == (2, SystemExit), refused.output
            assert re.search(rf"runs/first: process {process.pid} on \S+ \(since 20", refused.stderr), refused.stderr
            assert tree(run) == before
        for looks in (["doctor", "runs/first"], ["report", "runs/first"], ["evaluate", "runs/first"]):
            assert realm(*looks).exit_code in (0, 1), looks
        assert realm("train", "config.yaml", "--resume", "--estimate").exit_code == 0
    assert realm("train", "config.yaml", "--resume").exit_code == 0
    assert not (work / "runs/first/.lock").exists()


def test_a_run_that_was_begun_meanwhile_is_not_mistaken_for_a_new_one(
    work: Path, realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process made the whole run while this one was still looking at its settings."""
    from realm.commands import training as module

    assert realm("train", "config.yaml", "--out", "other/first").exit_code == 0
    prepare = module.prepare

    def meanwhile(*args: Any) -> Any:
        shutil.copytree("other/first", "runs/first")
        return prepare(*args)

    monkeypatch.setattr(module, "prepare", meanwhile)
    late = realm("train", "config.yaml", "--resume")
    assert late.exit_code == 2 and "another process has changed this run meanwhile" in late.stderr
    assert [*tree(work / "runs/first").values()] == [*tree(work / "other/first").values()]


def start(output: str, *arguments: str) -> BaseProcess:
    """`realm ARGUMENTS` in a process that has everything imported; what it prints goes to a file."""
    process = FORKED.Process(target=_run, args=(output, arguments))
    process.start()
    return process


def _run(output: str, arguments: tuple[str, ...]) -> None:
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    import torch

    from realm.cli.app import app

    torch.set_num_threads(1)
    app(list(arguments), prog_name="realm")


def straight(work: Path, realm: Realm) -> float:
    """The run that nobody disturbs, in runs/straight; the seconds that it takes in a process of its own."""
    began = time.monotonic()
    process = start(f"{work}/warm", "train", "config.yaml", *STEPS, "--out", "runs/straight")
    process.join()
    assert process.exitcode == 0, (work / "warm").read_text()
    began = time.monotonic()
    process = start(f"{work}/warm", "train", "config.yaml", *STEPS, "--out", "runs/timed")
    process.join()
    return time.monotonic() - began


def as_straight(work: Path, name: str) -> None:
    assert_same(work / "runs" / name, work / "runs/straight")
    assert json.loads((work / "runs" / name / "meta.json").read_text())["status"] == "done", name


@pytest.mark.slow
def test_two_processes_at_random_offsets(work: Path, realm: Realm) -> None:
    """One is started while the other is at any point of its life: it is refused, or comes when all is done."""
    source, seconds, refused = random.Random(0), straight(work, realm), 0
    for number in range(ROUNDS):
        name = f"run-{number}"
        command = ["train", "config.yaml", *STEPS, "--resume", "--out", f"runs/{name}"]
        both = [start(f"{work}/{name}-0", *command)]
        time.sleep(source.uniform(0, 1.2 * seconds) if number else 0)
        both.append(start(f"{work}/{name}-1", *command))
        for process in both:
            process.join()
        codes = [process.exitcode for process in both]
        said = [(work / f"{name}-{i}").read_text() for i in (0, 1)]
        assert 0 in codes and set(codes) <= {0, 2}, (codes, said)
        for i in (0, 1):
            if codes[i] == 2:
                refused += 1
                holder, meanwhile = f"process {both[1 - i].pid} on ", "has changed this run meanwhile"
                assert holder in said[i] or meanwhile in said[i], said[i]
        as_straight(work, name)
    assert refused, "two that start at once meet"


@pytest.mark.slow
def test_a_requeued_job_waits_for_the_old_one_that_still_saves(work: Path, realm: Realm) -> None:
    source, seconds, went_on = random.Random(1), straight(work, realm), 0
    for number in range(1 + ROUNDS // 3):
        name = f"run-{number}"
        command = ["train", "config.yaml", *STEPS, "--resume", "--out", f"runs/{name}"]
        old = start(f"{work}/{name}-0", *command)
        time.sleep(source.uniform(0.2, 1.0) * seconds)
        if old.is_alive():
            os.kill(old.pid or 0, signal.SIGTERM)
        new = start(f"{work}/{name}-1", *command)
        for process in (old, new):
            process.join()
        assert old.exitcode in (0, 143, -signal.SIGTERM), (work / f"{name}-0").read_text()
        assert new.exitcode in (0, 2), (work / f"{name}-1").read_text()
        went_on += new.exitcode == 0
        last = start(f"{work}/{name}-2", *command)
        last.join()
        assert last.exitcode == 0, (work / f"{name}-2").read_text()
        as_straight(work, name)
    assert went_on


def test_a_signal_is_noted_for_those_who_wait(tmp_path: Path) -> None:
    from realm.locks import hold, holder
    from realm.stopping import patient

    held = hold(tmp_path)
    with patient(speak=False) as request:
        assert isinstance(request, Request) and "stopping" not in holder(tmp_path)
        os.kill(os.getpid(), signal.SIGTERM)
        assert holder(tmp_path)["stopping"] is True
    assert held.valid
