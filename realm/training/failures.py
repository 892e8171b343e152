"""What ends a training that cannot go on: figures that are no longer numbers, memory that does not suffice."""

import math
import traceback
from typing import Any

import torch
from transformers import Trainer

from realm.config import Config
from realm.errors import ResourceError, TrainingError, UserError
from realm.processes import command, launched
from realm.student.sampling import NotFiniteError
from realm.student.ways import is_memory

#: What `torch.multinomial` says of probabilities that are no numbers.
_SAMPLING_TEXT = "probability tensor contains either"
#: Functions that put a model where it is trained, before its first step.
_BUILDING = {"make_grpo_trainer", "make_pairs_trainer", "make_sft_trainer", "load_model"}


class Finite(Trainer):
    """A trainer that stops before an update that would spoil the weights.

    Overrides `training_step` (transformers' public method; its loss is looked at) and the private `_get_grad_norm`,
    which gives the norm over all processes, whatever shards the model, before the optimizer steps.
    """

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss).all():
            raise NotFiniteError("the loss")
        return loss

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        norm: Any = super()._get_grad_norm(*args, **kwargs)
        trainer: Any = self
        if trainer.accelerator.scaler is not None:
            return norm  # of float16: a step whose gradient overflows is left out, and the next scaled less
        if norm is not None and not math.isfinite(float(norm)):
            raise NotFiniteError("the gradient")
        return norm


def explain(error: Exception, config: Config, stage: str, step: int, folder: str | None) -> UserError | None:
    """What the user can do about an error of a training stage; None where it is no such error.

    Args:
        stage: `sft`, `pairs` or `rl`.
        step: optimizer steps that were done.
        folder: of the run; None where there is none yet.
    """
    where = f"{stage.upper()} step {step + 1}"
    if isinstance(error, NotFiniteError) or _SAMPLING_TEXT in str(error):
        return _not_finite(error, config, stage, where, folder)
    if is_memory(error):
        told, go_on = _memory(error, config, stage)
        if go_on and folder:
            again = command("train", folder, "--resume", launch=launched())
            told += f"\n{go_on.format(again=again)}"
        return ResourceError(f"{where}: out of memory {told}")
    return None


def _not_finite(error: Exception, config: Config, stage: str, where: str, folder: str | None) -> TrainingError:
    what = str(error) if isinstance(error, NotFiniteError) else "a probability of the next token"
    rate = getattr(config.training, stage).learning_rate
    kept = f"; the checkpoints below {folder} are good" if folder else ""
    precision = " or set model.dtype float32" if config.model.dtype == "float16" else ""
    return TrainingError(
        f"{where}: {what} is not a finite number. The update was not made{kept}.\n"
        f"The same settings would come here again: start a new run with a lower training.{stage}.learning_rate "
        f"({rate:g}) or training.rl.max_grad_norm ({config.training.rl.max_grad_norm:g}){precision}; --model takes a "
        "checkpoint."
    )


def _memory(error: Exception, config: Config, stage: str) -> tuple[str, str]:
    """Where memory ran out and the settings that need less of it, and how to go on, with a place for the command."""
    frames = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
    length = f"training.rl.max_completion_length ({config.training.rl.max_completion_length})"
    if _BUILDING & frames and "_precompute_ref_logps" not in frames:
        return (
            "before the first step: the model itself is too big for what is free. Train adapters (training.lora.r 16), "
            f"set model.dtype bfloat16 (now {config.model.dtype}), training.rl.beta 0 "
            f"({config.training.rl.beta:g}; above 0 a second model is kept), or spread it over several GPUs "
            "(configs/accelerate/fsdp2.yaml).",
            "These change what is learned, so they need a new run; with more memory this one goes on: {again}",
        )
    if "evaluate_model" in frames:
        size = config.evaluation.batch_size
        return (
            f"in an evaluation: lower evaluation.batch_size ({size}).",
            f"Go on with: {{again}} --set evaluation.batch_size={max(1, size // 2)}",
        )
    if any(name.startswith("_generate") and name != "_generate_and_score_completions" for name in frames):
        return (
            f"in generation: lower training.rl.batch_size ({config.training.rl.batch_size}), {length} or routes.k "
            f"({config.routes.k}).",
            "These change what is learned, so they need a new run; with more memory this one goes on: {again}",
        )
    micro = getattr(config.training, stage).micro_batch_size
    if micro == 1 and config.training.rl.gradient_checkpointing:
        return f"in the update, with one example at a time: allow fewer tokens ({length}), or take a smaller model.", ""
    half = next((size for size in range(micro // 2, 0, -1) if micro % size == 0), 1)
    change = f"training.{stage}.micro_batch_size={half}" if half < micro else "training.rl.gradient_checkpointing=true"
    return (
        f"in the update: lower training.{stage}.micro_batch_size ({micro}), set training.rl.gradient_checkpointing "
        f"(slower; prompts are not shared under it), or allow fewer tokens ({length}; a new run).",
        f"Go on with: {{again}} --set {change}",
    )
