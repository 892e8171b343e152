"""Commands of this interpreter's `realm` in a shell, as a reader of the docs would type them."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def bash(arguments: Sequence[str], folder: Path, *, timeout: float) -> str:
    """Run bash in a folder, without a hub, and return what it printed; fails with the end of both streams."""
    found = subprocess.run(
        ["bash", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-3000:]
    return found.stdout
