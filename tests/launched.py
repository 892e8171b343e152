"""Programs in processes of their own, which find realm and the tests as this one does."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.conftest import ROOT

#: Starts processes at once: they are forked from a server that has imported everything already. All tests of a session
#: have the same server, so that what it imports is named here and nowhere else.
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(
    [
        *("realm.cli.app", "realm.evaluation.evaluate", "realm.teacher.client", "realm.teacher.collect"),
        *("realm.training.recipes", "rich.console", "tests.tiny"),
    ]
)
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def forked(target: Callable[..., None], folder: Path, *arguments: object) -> BaseProcess:
    """A process that runs `target(*arguments)`, a function of a module, at once; its output goes to `folder/output`."""
    folder.mkdir(exist_ok=True)
    process = FORKED.Process(target=_run, args=(f"{folder}/output", target, arguments))
    process.start()
    return process


def _run(output: str, target: Callable[..., None], arguments: tuple[object, ...]) -> None:
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    import torch

    torch.set_num_threads(1)
    target(*arguments)


def lived(process: BaseProcess, folder: Path, seconds: float | None = None) -> bool:
    """Whether a forked process came to its end, be it that it is killed after so many seconds or kills itself."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
    process.join()
    assert process.exitcode in (0, -9), (process.exitcode, (folder / "output").read_text())
    return process.exitcode == 0


def launch(program: str, folder: Path, *arguments: object, before: tuple[str, ...] = (), **environment: str) -> str:
    """What the text of a program, run with these arguments, prints; its file lies in `folder`, which it may make.

    `before`: options of Python; TWO runs the program in two processes.
    """
    folder.mkdir(exist_ok=True)
    file = folder / "program.py"
    file.write_text(program)
    return subprocess.run(
        [sys.executable, *before, str(file), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        check=True,
        timeout=300,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
