"""Programs in processes of their own, which find realm and the tests as this one does."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
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
