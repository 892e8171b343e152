"""Completions for GRPO, sampled as `generate` samples them; the prompt of a group is read once."""

from collections.abc import Sequence
from itertools import groupby

from torch import nn
from transformers import GenerationConfig

from realm.method.seeds import derive
from realm.student.decode import decode
from realm.student.sampling import Sampling
from realm.training.shared_prefix import causal_model

#: Settings of generation that `roll_out` follows, and those that change nothing of what is sampled.
_FOLLOWED = {"max_new_tokens", "do_sample", "temperature", "top_k", "top_p", "min_p"}
_NEUTRAL = {"pad_token_id", "bos_token_id", "eos_token_id", "max_length", "disable_compile", "use_cache"}
#: How the beginnings of the names of settings of assisted generation read, which takes an assistant to do anything.
_ASSISTED = ("num_assistant_", "assistant_", "target_lookbehind")


def resolved(config: GenerationConfig, model: nn.Module) -> GenerationConfig:
    """The settings that `generate` samples with: what `config` leaves None is the model directory's, then the default.

    Leans on transformers' private `_prepare_generation_config`, which is where `generate` does it.

    Args:
        config: TRL's.
        model: the model of transformers, with or without adapters.
    """
    found: GenerationConfig = causal_model(model)._prepare_generation_config(config)[0]
    return found


def foreign_settings(config: GenerationConfig, model: nn.Module) -> str | None:
    """Which settings of generation, TRL's or the model directory's, `roll_out` does not know; None: it knows all.

    Args: see `resolved`.
    """
    settings = resolved(config, model).to_dict()
    unknown = [
        f"{name}: {value}"
        for name, value in sorted(settings.items())
        if name not in _FOLLOWED | _NEUTRAL
        and not name.startswith(("_", "output_", "return_", "transformers_", *_ASSISTED))
        # 1 is what penalties and numbers of beams are when they do nothing.
        and value
        and (value != 1 or name.startswith("min_"))
    ]
    return f"it has the setting {', '.join(unknown)}" if unknown else None


def sampling(config: GenerationConfig) -> Sampling:
    """How tokens are chosen under these settings, which are `resolved`."""
    if not config.do_sample:
        return Sampling()
    temperature = 1.0 if config.temperature is None else config.temperature
    return Sampling(temperature, config.top_k, config.top_p, config.min_p)


def roll_out(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    config: GenerationConfig,
    *,
    seed: int,
    step: int,
    first_row: int = 0,
    turn: int = 0,
) -> list[list[int]]:
    """One completion (token ids, its end token included) for each prompt; equal neighbours are read as one prompt.

    The completion of row i depends on its prompt and on (seed, step, first_row + i, turn) alone, and no global random
    state is touched: a batch spread over several processes is sampled as it is in one.

    Args:
        model: free of distributed wrappers.
        prompts: token ids, members of a group side by side.
        config: `max_new_tokens`, `eos_token_id` (a list), `pad_token_id` and the settings that `sampling` follows, see
            `resolved`; without `do_sample` the likeliest token is taken.
        step: optimizer steps done.
        turn: number of this batch among those of one step.
        first_row: number of the first prompt in the whole batch.

    Raises:
        NotFiniteError: a probability is no number; the weights are spoilt.
    """
    config = resolved(config, model)
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    groups = [(list(prompt), len(list(members))) for prompt, members in groupby(prompts)]
    again = (turn,) if turn else ()
    seeds = [derive(seed, "rollout", step, first_row + i, *again) for i in range(len(prompts))]
    training = model.training
    # Dropout that is no module is not among what TRL turns off.
    model.eval()
    try:
        return decode(
            causal_model(model),
            [prompt for prompt, _ in groups],
            [count for _, count in groups],
            pad=config.pad_token_id,
            ends=set(ends),
            max_new_tokens=config.max_new_tokens,
            pick=sampling(config).pick(seeds, config.max_new_tokens),
        )
    finally:
        model.train(training)
