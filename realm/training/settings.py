"""What the two trainers share: quiet, offline settings whose run is a function of the seed."""

import importlib.util
import logging
import math
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import datasets
import numpy as np
import torch
from transformers import PrinterCallback, ProgressCallback, Trainer
from transformers.utils import logging as transformers_logging
from trl.kernels.chunked_logprob import TOKEN_CHUNK_SIZE
from trl.trainer import utils as trl_utils

from realm.config import Config
from realm.errors import ConfigError
from realm.method.seeds import derive
from realm.sections import PairsSettings, SFTSettings
from realm.student.head import TILE


def _not_unscored(record: logging.LogRecord) -> bool:
    """False for TRL's warning that a completion has no reward: it prints prompt and completion as they are, each step.

    The figure `verifier_failures` and `realm doctor` tell of it.
    """
    return "All reward functions returned None" not in str(record.msg)


def narrow_head() -> None:
    """Have TRL's head take fewer tokens of the vocabulary at a time than 32 768, in the whole process, on a CPU.

    There it has eight tensors of that width times up to 4096 places, and is slower with them; an accelerator has one,
    and is faster with few large tiles. Sets a private constant.
    """
    if not torch.accelerator.is_available():
        trl_utils._CHUNKED_LOGPROB_CHUNK_SIZE = TILE // TOKEN_CHUNK_SIZE


def drop_nothing(model: torch.nn.Module) -> None:
    """Set the rates of dropout to 0 that are no modules of their own: TRL's `disable_dropout` knows modules alone.

    Most decoders hand a rate (`attention_dropout`, by their configuration) to the function that attends. With it the
    update would score another model at each forward, and none of them the one that sampled, or the reference.
    """
    for module in model.modules():
        for name in [name for name, value in vars(module).items() if "dropout" in name and isinstance(value, float)]:
            setattr(module, name, 0.0)


class Quiet(Trainer):
    """A TRL trainer that keeps to itself: no telemetry, no model card in the checkpoints, nothing printed.

    Overrides TRL's private `_send_telemetry` and its public `create_model_card`. See `narrow_head`; where its settings
    have `disable_dropout`, also `drop_nothing`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        narrow_head()
        if getattr(kwargs["args"], "disable_dropout", False):
            drop_nothing(kwargs["model"])
        super().__init__(*args, **kwargs)

    def _send_telemetry(self) -> None:
        """Nothing is sent."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is written: a card of TRL's would say nothing of how the model came about."""

    def be_quiet(self) -> None:
        """Take away the callbacks that print each log; `Recorder` tells of progress instead."""
        logging.getLogger("trl.trainer.grpo_trainer").addFilter(_not_unscored)
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)


@contextmanager
def hushed() -> Iterator[None]:
    """Keep the libraries' progress bars, deprecations among themselves and hints off the user's terminal."""
    shown: Any = transformers_logging.is_progress_bar_enabled()
    maps = datasets.are_progress_bars_disabled()
    verbosity: Any = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    transformers_logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl|accelerate)\.")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if shown:
            transformers_logging.enable_progress_bar()
        if not maps:
            datasets.enable_progress_bars()


def common_arguments(config: Config, *, output: str, seed: int, steps: int, repeat: int = 1) -> dict[str, Any]:
    """Keyword arguments that GRPOConfig and SFTConfig take alike.

    `repeat`: optimizer steps per fetched batch (μ). A checkpoint falls only where a batch is used up and a row of
    metrics has just been written, because neither a batch in use nor a mean in the making is part of a checkpoint.
    """
    training = config.training
    whole = math.lcm(training.log_every, repeat)
    return {
        "output_dir": output,
        "seed": derive(seed, "torch") % 2**31,  # numpy takes 32 bits
        "max_steps": steps,
        "logging_steps": training.log_every,
        # A loss that is not a number is shown as such, not replaced by the mean of the earlier ones.
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": -(-training.save_every // whole) * whole,
        # `Checkpoints` removes the older ones, when the newest is known to be whole.
        "save_total_limit": None,
        "eval_strategy": "no",
        "optim": optimizer(config),
        "report_to": config.run.report_to or "none",
        "run_name": config.run.name,
        "push_to_hub": False,
        # Said outright, or several processes on a CPU would not know of each other.
        "use_cpu": not torch.accelerator.is_available(),
        "disable_tqdm": True,
        "ddp_find_unused_parameters": False,
        # Rows are made ahead of time or at generation: a worker process would only cost its start.
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": False,
    }


def one_pass(config: Config, kind: Literal["sft", "pairs"]) -> dict[str, Any]:
    """Keyword arguments of a stage that goes over its rows once, in their order, with linear decay of the rate.

    Raises:
        ConfigError: the batch does not divide over the processes.
    """
    stage: SFTSettings | PairsSettings = getattr(config.training, kind)
    rl = config.training.rl
    return {
        "gradient_accumulation_steps": accumulation(stage.batch_size, stage.micro_batch_size, f"training.{kind}"),
        "learning_rate": stage.learning_rate,
        "lr_scheduler_type": "linear",
        "max_grad_norm": rl.max_grad_norm,
        "weight_decay": rl.weight_decay,
        "gradient_checkpointing": rl.gradient_checkpointing,
        "bf16": rl.bf16,
        "train_sampling_strategy": "sequential",
    }


def optimizer(config: Config) -> str:
    """The optimizer by its name in transformers.

    Raises:
        ConfigError: it needs a package that is not installed.
    """
    name = config.training.rl.optimizer
    if name.endswith("_8bit") and importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            f"training.rl.optimizer: {name} needs bitsandbytes, which is not installed; `pip install bitsandbytes`, "
            "or take adamw_torch_fused or adafactor."
        )
    return name


@contextmanager
def untouched_randomness() -> Iterator[None]:
    """Leave every global random state as it is, so that what is done inside does not change the training."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(python)
    np.random.set_state(numpy)


def accumulation(batch: int, micro: int, section: str) -> int:
    """Forward and backward passes per optimizer step on each process.

    Raises:
        ConfigError: the batch is no multiple of micro-batch × processes.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if batch % (micro * processes):
        raise ConfigError(
            f"{section}.batch_size ({batch}) must be a multiple of "
            f"micro_batch_size ({micro}) x processes ({processes})."
        )
    return batch // (micro * processes)
