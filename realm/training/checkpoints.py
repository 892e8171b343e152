"""Checkpoints that a run can be resumed from, and models put in place whole.

A stage of training keeps its files below `checkpoints/<stage>/round-<n>/`: the trainer's `checkpoint-<step>/` folders
and, when the stage is over, `model/`. The model of the last stage is `<run>/model/`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from transformers import Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from realm.files import writing
from realm.training.settings import main_process

#: What `Trainer` writes into a checkpoint, in this order; the state comes last, before older checkpoints are removed.
_STATE = "trainer_state.json"


def _step(folder: Path) -> int | None:
    """The step of a complete checkpoint; None for one that was killed while it was saved."""
    try:
        state: Any = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    step = state.get("global_step") if isinstance(state, dict) else None
    return step if folder.name == f"{PREFIX_CHECKPOINT_DIR}-{step}" else None


def last_checkpoint(folder: Path) -> tuple[Path, int] | None:
    """The newest complete checkpoint below `folder` and its step; None where there is none.

    The main process removes half-written ones: they are of no use, and would count among the checkpoints to keep.
    """
    complete: list[tuple[int, Path]] = []
    for item in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        step = _step(item)
        if step is not None:
            complete.append((step, item))
        elif main_process():
            shutil.rmtree(item, ignore_errors=True)
    if not complete:
        return None
    step, path = max(complete)
    return path, step


def publish(trainer: Trainer, folder: Path) -> None:
    """Save the trainer's model and tokenizer in the Hugging Face format: `folder` appears whole or not at all.

    Raises:
        ResourceError: the disk refuses.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    with writing(folder):
        if trainer.is_world_process_zero():
            shutil.rmtree(temporary, ignore_errors=True)
        # Trainer turns it off for training; left so, whoever generates with the model would wait for hours.
        model: Any = trainer.model
        model.config.use_cache = True
        trainer.accelerator.wait_for_everyone()
        trainer.save_model(str(temporary))
        if trainer.is_world_process_zero():
            # A pickle of this machine's settings; a model directory needs none, and nobody should load one.
            (temporary / "training_args.bin").unlink(missing_ok=True)
            temporary.rename(folder)
        trainer.accelerator.wait_for_everyone()
