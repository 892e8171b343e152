"""Whether a run fits into the memory that is there, said before it starts; and the settings with which it would.

A run is refused whose weights, gradients and optimizer states together exceed the memory, and where what comes and goes
within a step is estimated far above it. Else the estimate is only printed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import reduce
from math import ceil
from typing import Any

from realm.config import Config
from realm.errors import ResourceError
from realm.recipes import plan
from realm.training.estimate import Lengths, Outline, estimate, has, outline
from realm.training.memory import Memory

#: Dotted keys and their new values.
Change = dict[str, Any]

#: How many times the memory an estimated peak must be to refuse a run: estimates err by less.
CLEARLY = 1.5
#: What gradient checkpointing costs beside the time of a second forward (see `frugal`).
UNSHARED = "(Under gradient_checkpointing the update reads a prompt once per completion, not once per group.)"


def _offloaded() -> bool:
    """Whether weights or states are moved to another memory on purpose, which is not counted."""
    return os.environ.get("FSDP_OFFLOAD_PARAMS") == "true" or os.environ.get(
        "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", "none"
    ) not in ("none", "")


def refuse_what_cannot_fit(config: Config, model: Outline, there: Memory) -> None:
    """Stop a run that has no room for weights, gradients and optimizer states even before its first token.

    Raises:
        ResourceError: says how much is needed, and with which settings less is.
    """

    def need(changed: Config) -> int:
        return estimate(changed, _outlined(config, model, changed), Lengths(0, 0.0, 0)).fixed

    if there.limit is not None and not _offloaded() and (needed := need(config)) > there.limit:
        raise _refusal(config, "weights, gradients and optimizer states need", needed, there, need)


def refuse_what_hardly_fits(config: Config, model: Outline, lengths: Lengths, there: Memory) -> None:
    """Stop a run whose estimated peak is far above the memory, even if every prompt is read once for its group.

    Raises:
        ResourceError: says how much is needed, and with which settings less is.
    """

    def need(changed: Config) -> int:
        return estimate(changed, _outlined(config, model, changed), _cut(config, lengths, changed), shared=True).peak

    if there.limit is not None and not _offloaded() and (needed := need(config)) > CLEARLY * there.limit:
        raise _refusal(config, "a step is estimated to need", needed, there, need)


def _refusal(config: Config, what: str, needed: int, there: Memory, need: Callable[[Config], int]) -> ResourceError:
    assert there.limit is not None
    found = [f"{text} ({size(need(changed))})" for text, changed in fitting(config, need, there.limit)]
    remedy = f"It would fit with {'; or '.join(found)}" if found else "Take a smaller model"
    return ResourceError(
        f"{config.model.path}: {what} {size(needed)}, the {there.kind} has {size(there.limit)} for each process.\n"
        f"{remedy}; or spread it over several GPUs (configs/accelerate/fsdp2.yaml).{_price(config, found)}"
    )


def _price(config: Config, told: list[str]) -> str:
    """What a setting that was told costs, beyond what its name says."""
    shared = config.training.rl.shared_prefix == "auto" and any("gradient_checkpointing" in text for text in told)
    return f" {UNSHARED}" if shared else ""


def advice(config: Config, model: Outline, lengths: Lengths, there: Memory) -> list[str]:
    """Settings that would bring the estimated peak within the memory, see `fitting`."""

    def need(changed: Config) -> int:
        return estimate(changed, _outlined(config, model, changed), _cut(config, lengths, changed)).peak

    if there.limit is None or need(config) <= there.limit:
        return []
    return [text for text, _ in fitting(config, need, there.limit)]


def _outlined(config: Config, model: Outline, changed: Config) -> Outline:
    """The outline of `changed`, given that of `config`."""
    same = changed.training.lora == config.training.lora and changed.model == config.model
    return model if same else outline(changed)


def _cut(config: Config, lengths: Lengths, changed: Config) -> Lengths:
    """The lengths under `changed`, given those under `config`."""
    before, after = config.training.rl.max_completion_length, changed.training.rl.max_completion_length
    return lengths if after == before else replace(lengths, completion=after)


def fitting(config: Config, need: Callable[[Config], int], limit: int) -> list[tuple[str, Config]]:
    """Settings each of which alone needs no more than `limit` bytes; where none does, some that together need no more.

    Args:
        need: bytes that a configuration needs.

    Returns:
        What to add to the command, and the configuration that it makes.
    """
    single, together = _smaller(config)
    found = [change for change in single if need(_with(config, change)) <= limit]
    if not found and (several := _combined(config, together, need, limit)):
        found = [several]
    return [(_command(change), _with(config, change)) for change in found]


def _combined(config: Config, changes: list[Change], need: Callable[[Config], int], limit: int) -> Change | None:
    """As many of the changes, taken in their order, as it takes; none that it does without."""
    taken: list[Change] = []
    for change in changes:
        taken.append(change)
        if need(_with(config, _union(taken))) <= limit:
            break
    else:
        return None
    for change in taken[:-1]:
        others = [other for other in taken if other is not change]
        if need(_with(config, _union(others))) <= limit:
            taken = others
    return _union(taken)


def _smaller(config: Config) -> tuple[list[Change], list[Change]]:
    """Changes that need less memory, from those that change least of what is learned to those that do most: each for
    itself, and those that can be put together."""
    rl, halves = config.training.rl, _halves(config)
    reference = rl.beta > 0 and not config.training.lora.r and has(config, "rl")
    checkpointing = [{"training.rl.gradient_checkpointing": True}] if not rl.gradient_checkpointing else []
    eight_bit = [{"training.rl.optimizer": "adamw_8bit"}] if rl.optimizer not in ("adamw_8bit", "adafactor") else []
    no_reference = [{"training.rl.beta": 0.0}] if reference else []
    adapters = [{"training.lora.r": 16}] if not config.training.lora.r else []
    half = [{"model.dtype": "bfloat16"}] if config.model.dtype == "float32" else []
    shorter = [{"training.rl.max_completion_length": ceil(rl.max_completion_length / 2)}]
    both = [halves[-1] | checkpointing[0]] if halves and checkpointing else []
    single = halves + checkpointing + both + eight_bit + no_reference + adapters + half + shorter
    return single, halves[-1:] + checkpointing + no_reference + adapters + half + shorter


def _halves(config: Config) -> list[Change]:
    """Ever smaller micro-batches, those of RL and of a cold start together: each is halved as long as it is even."""
    whole = {}
    if has(config, "rl"):
        whole["training.rl.micro_batch_size"] = config.training.rl.micro_batch_size
    if has(config, "sft"):
        whole["training.sft.micro_batch_size"] = config.training.sft.micro_batch_size
    halves: list[Change] = []
    now = whole
    while any(rows % 2 == 0 for rows in now.values()):
        now = {key: rows if rows % 2 else rows // 2 for key, rows in now.items()}
        halves.append({key: rows for key, rows in now.items() if rows != whole[key]})
    return halves


def _union(changes: Iterable[Change]) -> Change:
    return {key: value for change in changes for key, value in change.items()}


def _with(config: Config, change: Change) -> Config:
    changed = config.model_copy(deep=True)
    for key, value in change.items():
        *sections, name = key.split(".")
        setattr(reduce(getattr, sections, changed), name, value)
    return changed


def _command(change: Change) -> str:
    return " ".join(
        f"--set {key}={f'{value:g}' if isinstance(value, float) else str(value).lower()}"
        for key, value in change.items()
    )


def size(number: float) -> str:
    """Bytes as people read them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    return f"{number:,.0f} {unit}" if number >= 10 or unit == "bytes" else f"{number:.1f} {unit}"


def describe(config: Config, model: Outline, lengths: Lengths, there: Memory) -> list[str]:
    """The estimate as lines of text."""
    rl, found = config.training.rl, estimate(config, model, lengths)
    steps = sum(stage.steps for stage in plan(config) if stage.kind == ("rl" if has(config, "rl") else "sft"))
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    what = "all trained" if model.trained == model.parameters else f"{model.trained / 1e6:,.1f} M of them adapters"
    fixed = [
        f"{name} {size(getattr(found, name))}"
        for name in ("weights", "gradients", "optimizer", "reference")
        if getattr(found, name)
    ]
    rollout = f"{size(found.rollout)} for the caches of {rl.batch_size // processes} completions"
    if rl.vllm != "off":
        rollout = f"by vLLM ({rl.vllm}), not counted"
    limit = f" of {size(there.limit)} {there.kind}" if there.limit else ""
    lines = [
        f"model    {model.parameters / 1e6:,.1f} M parameters ({config.model.dtype}), {what}",
        f"fixed    {' · '.join(fixed)}",
        f"update   {size(found.update)} for {found.rows} x ({lengths.longest} + {lengths.completion}) tokens",
        *([f"rollout  {rollout}"] if has(config, "rl") else []),
        f"peak     about {size(found.peak)}{limit}{' for each process' if processes > 1 else ''}",
        f"tokens   at most {found.tokens_per_step:,} a step (prompts have {lengths.mean:.0f} on average), "
        f"{found.tokens_per_step * steps:,} over {steps} steps",
    ]
    fitting = advice(config, model, lengths, there)
    if there.limit is not None and found.peak > there.limit:
        remedy = (
            f"by this estimate it would with any of: {'; '.join(fitting)}.{_price(config, fitting)}"
            if fitting
            else "take a smaller model, or spread it over several GPUs (configs/accelerate/fsdp2.yaml)"
        )
        lines.append(f"this may not fit; {remedy}")
    return lines
