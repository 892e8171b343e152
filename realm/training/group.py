"""The processes of a distributed run as one group: waiting for all, parting, weights that are spread over them."""

import gc
import json
import os
from contextlib import suppress
from pathlib import Path

import torch
from accelerate import PartialState


def wait_for_all() -> None:
    """Wait until every process of a distributed run has come here; a single process goes on at once."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        PartialState(cpu=not torch.accelerator.is_available()).wait_for_everyone()


def leave_group() -> None:
    """Close the connections of a distributed run, once every process has come here; a single process goes on at once.

    Left open, their threads can abort the interpreter as it exits ("terminate called without an active exception").
    The caller holds no trainer any more: what wrapped its model must not be the last to hold the group. It would wait
    for gloo's threads without giving up the interpreter's lock, and these may be waiting for just that.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        wait_for_all()
        gc.collect()  # a trainer is full of cycles
        torch.distributed.destroy_process_group()


def sharded() -> bool:
    """Whether the weights are spread over the processes (FSDP, ZeRO-3), so that a forward takes all of them."""
    names = ("USE_FSDP", "USE_DEEPSPEED", "DEEPSPEED_ZERO_STAGE", "DEEPSPEED_CONFIG_FILE")
    flags = {name: os.environ.get(f"ACCELERATE_{name}", "") for name in names}
    if flags["USE_FSDP"].lower() == "true" or flags["DEEPSPEED_ZERO_STAGE"] == "3":
        return True
    if flags["USE_DEEPSPEED"].lower() != "true" or flags["DEEPSPEED_CONFIG_FILE"].lower() in ("", "none"):
        return False
    with suppress(OSError, ValueError, KeyError, TypeError):  # what is wrong with it DeepSpeed says
        stated = json.loads(Path(flags["DEEPSPEED_CONFIG_FILE"]).read_text(encoding="utf-8"))
        return bool(stated["zero_optimization"]["stage"] == 3)
    return False
