"""What a run is going to need, before it needs it: memory by its parts, and tokens.

Weights, gradients and optimizer states are counted, from the model's own configuration; a run whose sum of these three
exceeds the memory is refused. What comes and goes within a step is estimated for a decoder of the Llama kind and
printed beside it; it refuses a run only where it is far above the memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import reduce
from math import ceil
from statistics import fmean
from typing import Any

from realm.config import Config
from realm.errors import ModelError, ResourceError
from realm.evaluation.models import load_outline
from realm.evaluation.prompts import encode
from realm.method.schedule import Schedule
from realm.recipes import plan
from realm.training.adapters import with_adapters
from realm.training.memory import Memory
from realm.training.renderer import Renderer
from realm.training.settings import hushed, sharded

#: Dotted keys and their new values.
Change = dict[str, Any]

#: How many times the memory an estimated peak must be to refuse a run: estimates err by less.
CLEARLY = 1.5
#: What gradient checkpointing costs beside the time of a second forward (see `frugal`).
UNSHARED = "(Under gradient_checkpointing the update reads a prompt once per completion, not once per group.)"
#: Questions whose prompts are rendered to learn how long prompts are.
SAMPLE = 64
#: Numbers that one layer keeps of each token for the backward pass, per unit of hidden size, query, key and inner
#: width: counted on Qwen3 with saved_tensors_hooks. Llama and Qwen2 keep up to a fifth less, Gemma 2 a quarter more.
_KEPT = {"hidden": 6.5, "queries": 6.0, "keys": 3.0, "inner": 4.0}
#: Bytes of a kept number under bf16 autocast: the wide ones are halved, norms and sums stay in float32.
_MIXED = 3.4
#: Bytes of optimizer states for each byte of a trained parameter; 8-bit states take one byte for a number each.
_STATES = {"adamw_torch_fused": 2.0, "adamw_torch": 2.0, "adafactor": 0.1}


@dataclass(frozen=True)
class Outline:
    """The size of a model in numbers. `weights` and `trained_bytes` are bytes, everything else counts or widths."""

    parameters: int
    trained: int
    weights: int
    trained_bytes: int
    layers: int
    hidden: int
    queries: int
    keys: int
    inner: int


@dataclass(frozen=True)
class Lengths:
    """Tokens: the longest and the mean prompt of a sample with every route shown, and what a completion may have."""

    longest: int
    mean: float
    completion: int


@dataclass(frozen=True)
class Estimate:
    """Bytes on one process; `update` and `rollout` come and go, never both at once. `rows`: of the update."""

    weights: int
    gradients: int
    optimizer: int
    reference: int
    update: int
    rows: int
    rollout: int
    tokens_per_step: int

    @property
    def fixed(self) -> int:
        """What is there during a whole step."""
        return self.weights + self.gradients + self.optimizer + self.reference

    @property
    def peak(self) -> int:
        return self.fixed + max(self.update, self.rollout)


def outline(config: Config) -> Outline:
    """The size of the configured student with its adapters, if any; no weights are read.

    Raises:
        ModelError: there is no such model, or its configuration does not tell its layers and their width.
        ConfigError: see `with_adapters`.
    """
    with hushed():
        model: Any = with_adapters(load_outline(config.model.path, config.model.dtype), config)
    text = model.config.get_text_config()
    if not hasattr(text, "hidden_size") or not hasattr(text, "num_hidden_layers"):
        raise ModelError(f"{config.model.path}: its config.json does not tell hidden_size and num_hidden_layers.")
    heads = getattr(text, "num_attention_heads", 1)
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return Outline(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        trained=sum(parameter.numel() for parameter in trained),
        weights=sum(parameter.nbytes for parameter in model.parameters()),
        trained_bytes=sum(parameter.nbytes for parameter in trained),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        queries=heads * width,
        keys=(getattr(text, "num_key_value_heads", None) or heads) * width,
        inner=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
    )


def prompt_lengths(config: Config, renderer: Renderer) -> Lengths:
    """Measured on the first questions with all their routes, as at the first step of a fade from p = 1."""
    ids, always = list(renderer.questions)[:SAMPLE], Schedule("constant")
    shown = [renderer.render(id_, 0, 0.0, schedule=always) for id_ in ids]
    tokens = [len(encode(renderer.tokenizer, found.messages)) for found in shown]
    return Lengths(max(tokens), fmean(tokens), config.training.rl.max_completion_length)


def estimate(config: Config, model: Outline, lengths: Lengths, *, shared: bool = False) -> Estimate:
    """What each process needs for a step of RL or, where the recipe has SFT and that needs more, for one of SFT.

    Without RL nothing is sampled, and tokens are those of a step of SFT. The second forward of `internalize` is not
    counted.

    The distribution is read from the environment of the process, as `accelerate launch` leaves it.

    Args:
        shared: prompts are read once for their groups wherever the settings allow it, whatever the model allows: the
            least that the run may need. Otherwise TRL's own path. SFT shares none.
    """
    rl, sft = config.training.rl, config.training.sft
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    zero2 = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "2"
    parts = processes if sharded() else 1
    state_parts = processes if sharded() or zero2 else 1
    eight_bit = rl.optimizer == "adamw_8bit"
    optimizer = 2 * model.trained if eight_bit else int(_STATES[rl.optimizer] * model.trained_bytes)
    # DDP sends gradients in buckets of their own.
    copies = 2 if processes > 1 and state_parts == 1 else 1
    trains_by_rl = _has(config, "rl")
    reference = model.weights if trains_by_rl and rl.beta > 0 and not config.training.lora.r else 0
    shared = shared and rl.shared_prefix == "auto" and not sharded()
    sharing = shared and not rl.gradient_checkpointing
    micro = [(rl.micro_batch_size, sharing)] if trains_by_rl else []
    micro += [(sft.micro_batch_size, False)] if _has(config, "sft") else []
    update, rows = max((_update(config, model, lengths, rows, sharing), rows) for rows, sharing in micro)
    batch = rl.batch_size if trains_by_rl else sft.batch_size
    return Estimate(
        weights=model.weights // parts,
        gradients=copies * model.trained_bytes // state_parts,
        optimizer=optimizer // state_parts,
        reference=reference // parts,
        update=update,
        rows=rows,
        rollout=_rollout(config, model, batch // processes, lengths, shared) if trains_by_rl else 0,
        tokens_per_step=int(batch * (lengths.mean + lengths.completion)),
    )


def _number(config: Config) -> int:
    return 4 if config.model.dtype == "float32" else 2


def _has(config: Config, kind: str) -> bool:
    """Whether the recipe has a stage of this kind, `sft` or `rl`."""
    return any(stage.kind == kind for stage in plan(config))


def _update(config: Config, model: Outline, lengths: Lengths, rows: int, shared: bool) -> int:
    """Bytes kept for the backward pass of one micro-batch of so many rows."""
    rl = config.training.rl
    length = lengths.longest + lengths.completion
    size = _MIXED if rl.bf16 and config.model.dtype == "float32" else _number(config)
    layer = sum(factor * getattr(model, name) for name, factor in _KEPT.items())
    # Going back, one layer's gradients are there too. Under checkpointing every layer keeps its input, and one at a
    # time is computed again.
    kept = model.layers * model.hidden + 2 * layer if rl.gradient_checkpointing else (model.layers + 1) * layer
    tokens, copies, mask = rows * length, 0, rows * length * length
    if shared:
        tokens = ceil(rows / rl.num_generations) * lengths.longest + rows * lengths.completion
        # Keys and values of the prompt beside those of each completion, in every layer.
        copies = 2 * model.layers * model.keys * rows * length
        mask = rows * lengths.completion * length
    # Autocast keeps each weight in bf16 for the step.
    cast = 2 * model.parameters if rl.bf16 and config.model.dtype == "float32" else 0
    return int((tokens * kept + copies) * size + mask + cast)


def _rollout(config: Config, model: Outline, rows: int, lengths: Lengths, shared: bool) -> int:
    """Bytes of the KV cache of all completions of a process, and of one layer reading the prompts."""
    if config.training.rl.vllm != "off":
        return 0
    reading = lengths.longest * (4 * model.hidden + 3 * model.inner)
    prompts = ceil(rows / config.training.rl.num_generations) if shared else rows
    cached = prompts * lengths.longest + rows * lengths.completion
    return (2 * model.layers * model.keys * cached + prompts * reading) * _number(config)


def _offloaded() -> bool:
    """Whether weights or states are moved to another memory on purpose, which is not counted."""
    return os.environ.get("FSDP_OFFLOAD_PARAMS") == "true" or os.environ.get(
        "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", "none"
    ) not in ("none", "")


def refuse_what_cannot_fit(config: Config, there: Memory) -> None:
    """Stop a run that has no room for weights, gradients and optimizer states even before its first token.

    Raises:
        ResourceError: says how much is needed, and with which settings less is.
    """

    def need(changed: Config) -> int:
        return estimate(changed, outline(changed), Lengths(0, 0.0, 0)).fixed

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
    reference = rl.beta > 0 and not config.training.lora.r and _has(config, "rl")
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
    if _has(config, "rl"):
        whole["training.rl.micro_batch_size"] = config.training.rl.micro_batch_size
    if _has(config, "sft"):
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
    steps = sum(stage.steps for stage in plan(config) if stage.kind == ("rl" if _has(config, "rl") else "sft"))
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
        *([f"rollout  {rollout}"] if _has(config, "rl") else []),
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
