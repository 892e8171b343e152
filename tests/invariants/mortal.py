"""Training runs in processes of their own that start at once and may be killed: forked, everything imported already."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.launched import forked

#: Where a process kills itself: in what, the how-manieth time, and with how much of the file written.
Death = tuple[str, int, float]


def start(folder: Path, student: Path, death: Death | None = None, **training: Any) -> BaseProcess:
    """Train in `folder`, or go on with what is there; output goes to `folder/output`."""
    return forked(_run, folder, str(folder), str(student), death, training)


def _run(folder: str, student: str, death: Death | None, training: dict[str, Any]) -> None:
    from tests.tiny import go, tiny_config

    if death is not None:
        _arrange(*death)
    config = tiny_config(Path(folder), Path(student), **training)
    go(config, resume=(config.run_path / "meta.json").exists()).finish()


def _arrange(what: str, number: int, part: float) -> None:
    """Let this process die in its `number`-th doing of that kind, with `part` of the bytes in the file."""
    left = number

    def due() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def mortal(owner: Any, name: str, cut: Callable[..., None] | None = None) -> None:
        original = getattr(owner, name)

        def dying(*args: Any, **kwargs: Any) -> Any:
            now = due()
            if now and cut is None and part < 0.5:
                die()
            result = original(*args, **kwargs)
            if now:
                if cut is not None:
                    cut(*args)
                die()
            return result

        setattr(owner, name, dying)

    def torn(path: Any) -> None:
        os.truncate(path, int(part * Path(path).stat().st_size))

    if what == "rollout":
        from realm.training.grpo import RouteTrainer

        mortal(RouteTrainer, "_generate_and_score_completions")
    elif what == "backward":
        import torch

        mortal(torch.Tensor, "backward")
    elif what == "save":
        import torch
        import transformers.modeling_utils
        from transformers import TrainerState

        mortal(transformers.modeling_utils, "safe_save_file", lambda _, path, *rest: torn(path))
        mortal(torch, "save", lambda _, path, *rest: torn(path))
        mortal(TrainerState, "save_to_json", lambda _, path: torn(path))
        mortal(Path, "replace")
    elif what == "remove":
        rmtree = shutil.rmtree

        def halved(path: Any, *args: Any, **kwargs: Any) -> None:
            if Path(path).is_dir() and due():
                files = sorted(item for item in Path(path).rglob("*") if item.is_file())
                for item in random.Random(0).sample(files, int(part * len(files))):
                    item.unlink()
                die()
            rmtree(path, *args, **kwargs)

        shutil.rmtree = halved  # type: ignore[assignment]
    else:
        raise ValueError(what)
