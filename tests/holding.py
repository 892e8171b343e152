"""Another process that holds a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HOLDER = """
import os, sys, time
from pathlib import Path
from realm import locks
held = locks.hold(Path(sys.argv[1]))
if sys.argv[2] == "with-a-child" and os.fork() == 0:
    os.close(1)
    time.sleep(30)
    os._exit(0)
print("held", flush=True)
if sys.argv[2] == "stopping":
    locks.note_stopping()
time.sleep(float(sys.argv[3]))
"""


@contextmanager
def another_holds(folder: Path, how: str = "", seconds: float = 60) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a folder."""
    command = [sys.executable, "-c", HOLDER, str(folder), how, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
