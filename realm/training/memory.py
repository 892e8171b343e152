"""The memory that a process may have: of its GPU, or of the machine as far as its container leaves it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from realm.config import Config

#: Bytes: more than any memory.
_NO_LIMIT = 1 << 62


@dataclass(frozen=True)
class Memory:
    """What there is for each process: bytes, and what kind. `limit` is None where nobody can tell."""

    limit: int | None
    kind: str


def memory(config: Config) -> Memory:
    """The memory that one process of this run may have, asked before anything of it is on a GPU.

    On a GPU that is what others left free, without the share of the whole that a colocated vLLM takes; on a CPU the
    processes share memory and swap of the machine, within the limits of their control groups (containers, Slurm).
    """
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info(int(os.environ.get("LOCAL_RANK", "0")))
        rl = config.training.rl
        taken = rl.vllm_memory * total if rl.vllm == "colocate" else 0
        return Memory(max(int(free - taken), 0), "GPU")
    if torch.accelerator.is_available():
        return Memory(None, "accelerator")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    own, swap = psutil.virtual_memory().total, psutil.swap_memory().total
    for limit, swap_limit in group_limits():
        own, swap = min(own, limit), min(swap, swap_limit)
    return Memory((own + swap) // local, "RAM")


def group_limits(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> Iterator[tuple[int, int]]:
    """Limits of memory and swap in bytes of this process's control groups, each group and those above it.

    Formats: cgroups(7) of Linux. Elsewhere, and where there is no limit, there are none.
    """
    try:
        lines = own.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "memory" if controllers else root
        # In a container the path may be the host's, and what the container sees of it begins at the root.
        inner = base / path.lstrip("/")
        for folder in (inner, *inner.parents):
            if folder != base and base not in folder.parents:
                continue
            if controllers:  # version 1
                yield _bytes(folder / "memory.limit_in_bytes"), _NO_LIMIT
            else:
                yield _bytes(folder / "memory.max"), _bytes(folder / "memory.swap.max")


def _bytes(file: Path) -> int:
    """The number in a file of limits; there may be no file, or the word `max` in it."""
    with suppress(OSError, ValueError):
        return int(file.read_text())
    return _NO_LIMIT
