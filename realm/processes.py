"""The processes of one run: which of them writes it, and how they were launched."""

import os
import shlex

#: The variable by which `--launch` tells its processes what it was given.
LAUNCH = "REALM_LAUNCH"


def rank() -> int:
    """The number of this process among those of a distributed run (torchrun, accelerate); 0 for a single one."""
    return int(os.environ.get("RANK", "0"))


def main_process() -> bool:
    """Whether this is the process that writes; the others of a distributed run only train."""
    return rank() == 0


def launched() -> str | None:
    """What `--launch` was given where it started this process; None where it did not."""
    return os.environ.get(LAUNCH)


def command(*arguments: str, launch: str | None) -> str:
    """`realm ARGUMENTS` as it is typed in a shell, with its `--launch` where there is one."""
    return shlex.join(["realm", *arguments, *(["--launch", launch] if launch is not None else [])])
