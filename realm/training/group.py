"""The processes of a distributed run as one group: waiting for all, parting, weights that are spread over them."""

import gc
import os

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
    flags = {name: os.environ.get(f"ACCELERATE_{name}", "").lower() for name in ("USE_FSDP", "DEEPSPEED_ZERO_STAGE")}
    return flags["USE_FSDP"] == "true" or flags["DEEPSPEED_ZERO_STAGE"] == "3"
