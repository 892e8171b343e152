"""Checkpoints that a run can be resumed from, and models put in place whole.

A stage of training keeps its files below `checkpoints/<stage>/round-<n>/`: the trainer's `checkpoint-<step>/` folders
and, when the stage is over, `model/`. The model of the last stage is `<run>/model/`.

A checkpoint is whole when it has a seal: a file, written last, with the size of every other file. One without it was
killed while it was saved, one that differs from it was cut later (a crash of the machine, a copy to a full disk);
neither is ever loaded.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import PartialState
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from realm.errors import ResourceError, TrainingError
from realm.files import write_atomic, writing
from realm.processes import main_process
from realm.stopping import Request
from realm.training.adapters import below_adapters, merge
from realm.training.group import sharded
from realm.training.published import compare, scores

_SEAL = "seal.json"


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file below a checkpoint, by relative path; the seal is not among them."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(f".{_SEAL}"))
    return {str(path.relative_to(folder)): path.stat().st_size for path in files if path != folder / _SEAL}


def seal(folder: Path, step: int) -> None:
    """Mark a checkpoint whose files have all been written as whole.

    Raises:
        ResourceError: the disk refuses.
    """
    sizes = _sizes(folder)
    with writing(folder):
        for name in sizes:
            # A machine that crashes must not leave the seal without what it vouches for.
            handle = os.open(folder / name, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    write_atomic(folder / _SEAL, json.dumps({"step": step, "files": sizes}, indent=1))


def _step(folder: Path) -> int | None:
    """The step of a whole checkpoint; None for one that was killed while it was saved, or cut later."""
    try:
        found: Any = json.loads((folder / _SEAL).read_text(encoding="utf-8"))
        whole = isinstance(found, dict) and bool(found.get("files")) and found["files"] == _sizes(folder)
    except (OSError, ValueError, RecursionError):
        return None
    step = found.get("step") if whole else None
    return step if isinstance(step, int) and folder.name == f"{PREFIX_CHECKPOINT_DIR}-{step}" else None


def _whole(folder: Path) -> list[tuple[int, Path]]:
    """The whole checkpoints below `folder` by their steps; the main process removes the others.

    They are of no use, and would be taken for checkpoints by whatever else looks into the folder.
    """
    whole: list[tuple[int, Path]] = []
    for item in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        step = _step(item)
        if step is not None:
            whole.append((step, item))
        elif main_process():
            shutil.rmtree(item, ignore_errors=True)
    return sorted(whole)


def last_checkpoint(folder: Path) -> tuple[Path, int] | None:
    """The newest whole checkpoint below `folder` and its step; None where there is none."""
    whole = _whole(folder)
    return (whole[-1][1], whole[-1][0]) if whole else None


def step_of(checkpoint: Path) -> int:
    """The step that the name of a checkpoint's folder says."""
    return int(checkpoint.name.rpartition("-")[2])


def last_regular(folder: Path, every: int, steps: int, most: int) -> list[Path]:
    """The last checkpoints of a stage that is done, at most so many: `every` so many steps, and of its last step.

    One that a signal asked for between them is none of these, so that a run that was resumed has those of a straight
    one.

    Raises:
        TrainingError: one of them is not there, or not whole.
    """
    found, wanted = dict(_whole(folder)), [*range(every, steps, every), steps][-most:]
    if missing := [step for step in wanted if step not in found]:
        raise TrainingError(
            f"{folder}: the checkpoint of step {missing[0]} is not there, or not whole; training.average and "
            "training.best need it. Start anew with --overwrite, or average what is left: realm average"
        )
    return [found[step] for step in wanted]


class Remembering(TrainerCallback, ABC):
    """What a stage learned besides weights, in a file of every checkpoint.

    It must come before `Checkpoints`, whose seal covers what it saves.

    Attributes:
        FILE: name of that file.
        WHAT: is in it, in words.
    """

    FILE: ClassVar[str]
    WHAT: ClassVar[str]

    @abstractmethod
    def state(self) -> Any:
        """What is kept, as JSON holds it."""

    @abstractmethod
    def take(self, found: Any) -> None:
        """Go on with what a checkpoint holds; raises `ValueError`, `KeyError`, `TypeError` or `AttributeError`."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Put it into the checkpoint of this step."""
        if state.is_world_process_zero:
            write_atomic(self._place(args, state), json.dumps(self.state(), indent=1) + "\n")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take that of the checkpoint that is resumed from, if any.

        Raises:
            ResourceError: the checkpoint holds none, or another's.
        """
        if not state.global_step:
            return
        path = self._place(args, state)
        try:
            self.take(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ResourceError(
                f"{path}: expected {self.WHAT} ({error}). Start the run anew, or remove this checkpoint to resume from "
                "an older one."
            ) from error

    def _place(self, args: TrainingArguments, state: TrainerState) -> Path:
        return Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}" / self.FILE


class Checkpoints(TrainerCallback):
    """Seals what the trainer has saved, removes what is older, and saves and stops when a signal has asked for it.

    A checkpoint falls only where a batch is used up and a row of metrics has just been written (see
    `common_arguments`); the processes of a distributed run agree on the step.

    Args:
        keep: how many checkpoints stay, of those that are due and of all.
        request: what a signal sets.
    """

    def __init__(self, keep: int, request: Request) -> None:
        self._keep = keep
        self._request = request

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask the trainer to save and to stop, at the first step at which it may."""
        number = agreed(self._request.number or 0, args.device)
        whole = math.lcm(int(args.logging_steps), getattr(args, "num_iterations", 1))
        if number and (state.global_step % whole == 0 or state.global_step >= state.max_steps):
            self._request.number = number
            control.should_save = control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Seal the checkpoint of this step, then remove the oldest ones."""
        PartialState().wait_for_everyone()  # each process writes files of its own
        if not state.is_world_process_zero:
            return
        folder = Path(str(args.output_dir))
        seal(folder / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}", state.global_step)
        whole = _whole(folder)
        due = [one for one in whole if one[0] % int(args.save_steps) == 0 or one[0] >= state.max_steps]
        with writing(folder):
            for _, old in sorted({*whole[: -self._keep]} - {*due[-self._keep :]}):
                (old / _SEAL).unlink()  # first: what is left of a deletion that is cut short is no checkpoint
                shutil.rmtree(old)


def agreed(number: int, device: torch.device) -> int:
    """The largest `number` of all processes; each of them must call it."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return number
    found = torch.tensor([number], device=device)
    torch.distributed.all_reduce(found, op=torch.distributed.ReduceOp.MAX)
    return int(found.item())


def publish(
    trainer: Trainer, folder: Path, *, base: str, dtype: str, settle: Callable[[Path], None] | None = None
) -> None:
    """Save the trainer's model and tokenizer in the Hugging Face format: `folder` appears whole or not at all.

    Adapters (LoRA) are merged into the weights of the model at `base` that they were trained on; none are left behind.
    What was written is loaded again and compared with what was trained before it is put in place.

    Args:
        settle: gets the directory then, and may put other weights there; in the main process alone.

    Raises:
        ResourceError: the disk refuses.
        TrainingError: the written model is not the trained one.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    adapters = folder.with_name(f".{folder.name}.adapters.tmp")
    adapted = hasattr(trainer.model, "get_base_model")
    with writing(folder):
        if trainer.is_world_process_zero():
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(adapters, ignore_errors=True)
        # Trainer turns it off for training; left so, whoever generates with the model would wait for hours.
        model: Any = trainer.model
        model.config.use_cache = True
        trainer.accelerator.wait_for_everyone()
        trained = None
        if sharded() or trainer.is_world_process_zero():  # spread weights are forwarded by all processes or by none
            trained = scores(below_adapters(model))
        trainer.save_model(str(adapters if adapted else temporary))
        if trainer.is_world_process_zero():
            if adapted:
                merge(base, dtype, adapters, temporary)
                tokenizer: Any = trainer.processing_class
                tokenizer.save_pretrained(temporary)
                shutil.rmtree(adapters)
            # A pickle of this machine's settings; a model directory needs none, and nobody should load one.
            (temporary / "training_args.bin").unlink(missing_ok=True)
            assert trained is not None
            compare(trained, temporary, dtype, "bfloat16" if trainer.args.bf16 else dtype)
            if settle is not None:
                settle(temporary)
            temporary.rename(folder)
        while settle is not None and not folder.is_dir():  # it may take longer than processes wait for each other
            time.sleep(1)
        trainer.accelerator.wait_for_everyone()
