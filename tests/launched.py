"""Programs in processes of their own, which find realm and the tests as this one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

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
