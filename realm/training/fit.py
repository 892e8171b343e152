"""Whether a run fits into the memory that is there, said before it starts.

A run is refused whose weights, gradients and optimizer states together exceed the memory, and where what comes and goes
within a step is estimated far above it. Else the estimate is only printed; `realm.training.failures` says what to
change where memory does run out.
"""

import os

from realm.config import Config
from realm.errors import ResourceError
from realm.recipes import plan
from realm.training.estimate import Lengths, Outline, estimate, figured, sharing
from realm.training.memory import Memory

#: How many times the memory an estimated peak must be to refuse a run: estimates err by less.
CLEARLY = 1.5
#: What takes less memory: of what is there during a whole step, and of what comes and goes in it.
LESS_FIXED = (
    "Train adapters (training.lora.r 16), set model.dtype bfloat16, training.rl.optimizer adamw_8bit or "
    "training.rl.beta 0, take a smaller model, or spread it over several GPUs (configs/accelerate/fsdp2.yaml)."
)
LESS_IN_A_STEP = (
    "Lower training.rl.micro_batch_size (in SFT training.sft.micro_batch_size, with pairs "
    "training.pairs.micro_batch_size), training.rl.batch_size or "
    "training.rl.max_completion_length, or set training.rl.gradient_checkpointing (slower; prompts are not shared "
    "under it)."
)


def _refuse(config: Config, what: str, needed: int, there: Memory, factor: float, advice: str) -> None:
    """Raise `ResourceError` where `needed` bytes are above `factor` times the memory.

    Weights or states that are moved to another memory on purpose are not counted, so nothing is refused then.
    """
    offload = os.environ.get("ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", "none")
    offloaded = os.environ.get("FSDP_OFFLOAD_PARAMS") == "true" or offload not in ("none", "")
    if there.limit is not None and not offloaded and needed > factor * there.limit:
        raise ResourceError(
            f"{config.model.path}: {what} {size(needed)}, the {there.kind} has {size(there.limit)} for each process.\n"
            f"{advice}"
        )


def refuse_what_cannot_fit(config: Config, model: Outline, there: Memory) -> None:
    """Stop a run that has no room for weights, gradients and optimizer states even before its first token.

    Raises:
        ResourceError: says how much is needed, and what needs less.
    """
    needed = estimate(config, model, Lengths(0, 0.0, 0)).fixed
    _refuse(config, "weights, gradients and optimizer states need", needed, there, 1, LESS_FIXED)


def refuse_what_hardly_fits(config: Config, model: Outline, lengths: Lengths, there: Memory) -> None:
    """Stop a run whose estimated peak is far above the memory.

    Raises:
        ResourceError: says how much is needed, and what needs less.
    """
    needed = estimate(config, model, lengths).peak
    _refuse(config, "a step is estimated to need", needed, there, CLEARLY, f"{LESS_IN_A_STEP} {LESS_FIXED}")


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
    kind = figured(config)
    steps = sum(stage.steps for stage in plan(config) if stage.kind == kind)
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
        *([f"rollout  {rollout}"] if kind == "rl" else []),
        f"peak     about {size(found.peak)}{limit}{' for each process' if processes > 1 else ''}, estimated for the "
        f"longest prompts{', each read once for its group' if kind == 'rl' and sharing(config, model) else ''}",
        f"tokens   at most {found.tokens_per_step:,} a step (prompts have {lengths.mean:.0f} on average), "
        f"{found.tokens_per_step * steps:,} over {steps} steps",
    ]
    if lengths.dropped:
        drawn = lengths.routes + lengths.dropped
        lines.append(
            f"routes   {lengths.dropped:,} of {drawn:,} in a sample of prompts do not fit and are left out"
            f"{'; the student will see none' if not lengths.routes else ''}: raise model.context (null: what the model "
            "allows), or lower training.rl.max_completion_length or routes.k"
        )
    if there.limit is not None and found.peak > there.limit:
        lines.append(f"this may not fit; by this estimate less is needed so: {LESS_IN_A_STEP} {LESS_FIXED}")
    return lines
