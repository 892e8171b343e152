"""Completions of a causal LM, greedy or sampled, in batches of prompts of like length.

A plain decoding loop instead of `model.generate`: ended rows leave the batch, the prompt of several samples is read
once, generation settings that a model directory brings along (penalties, top-k) do not apply, and every draw is a
function of (seed, prompt, sample) alone, so that results do not depend on the size of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from realm.config import Config
from realm.errors import ConfigError, ModelError, ResourceError
from realm.method.seeds import derive
from realm.student.decode import decode
from realm.student.sampling import NotFiniteError, Sampling, recording, stopping

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


#: Called with (prompts done, prompts in all).
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Generation:
    """One completion: its text (see `completion_text`), its length in tokens (the end token included), whether it was
    cut off by the limit before it ended, its token ids, and their mean log-probability where it was asked for."""

    text: str
    tokens: int
    truncated: bool
    ids: tuple[int, ...] = field(default=(), compare=False, repr=False)
    log_prob: float | None = None


def to_accelerator(model: PreTrainedModel) -> PreTrainedModel:
    """The model, moved to where one in training computes: this machine's accelerator, where there is one."""
    return model.to(torch.accelerator.current_accelerator(check_available=True) or "cpu")  # type: ignore[arg-type]


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids that end a completion: the tokenizer's and those of the model's generation settings."""
    settings = getattr(model, "generation_config", None)
    ends = settings.eos_token_id if settings is not None else None
    return {tokenizer.eos_token_id, *([ends] if isinstance(ends, int) else ends or [])} - {None}


def stop_of(config: Config, tokenizer: PreTrainedTokenizerBase) -> tuple[int, float] | None:
    """The token that closes the thinking and `evaluation.stop_temperature`; None where that is neutral.

    Raises:
        ConfigError: the tag is no token of its own, and how it begins may begin something else too.
    """
    temperature = config.evaluation.stop_temperature
    if temperature in (None, 1.0):
        return None
    tag = f"</{config.prompt.tags().think}>"
    ids = tokenizer(tag, add_special_tokens=False)["input_ids"]
    if len(ids) != 1 or str(tokenizer.decode(ids)).strip() != tag:  # one that is unknown is one token too
        raise ConfigError(
            f"evaluation.stop_temperature: expected a tokenizer with {tag} as one token, this one has none; leave the "
            "setting out, or choose a student whose vocabulary has the tag (prompt.think_tag names another)."
        )
    return int(ids[0]), float(temperature)


def completion_text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], ends: set[int]) -> str:
    """What a completion says: all of its tokens but those that end it or pad it.

    Other special tokens are text: in many tokenizers the tags of the answer are among them.

    Args:
        ends: see `end_tokens`.
    """
    cut = ends | {tokenizer.pad_token_id}
    return str(tokenizer.decode([token for token in ids if token not in cut], skip_special_tokens=False))


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    ids: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch_size: int,
    samples: int = 1,
    temperature: float | None = None,
    seed: int = 0,
    likelihood: bool = False,
    stop: tuple[int, float] | None = None,
    progress: Progress | None = None,
) -> list[list[Generation]]:
    """`samples` completions for each prompt, in the order of the prompts.

    The model's mode is restored, and no global random state and nothing of the tokenizer is touched.

    Args:
        ids: token ids of the prompts, none empty. They must leave `max_new_tokens` of the context.
        batch_size: completions that are generated side by side.
        temperature: of sampling; None is greedy.
        seed: of sampling; completion j of prompt i depends on (seed, i, j).
        likelihood: tell the log-probability that the model itself gives to each completion.
        stop: a token and its own temperature, see `stop_of`.

    Raises:
        ModelError: a probability is no number.
        ResourceError: the batch does not fit into the accelerator's memory.
    """
    # Longest first: a batch that is too large for the memory fails at once, and like lengths need little padding.
    order = sorted(range(len(ids)), key=lambda i: (-len(ids[i]), i))
    ends = end_tokens(model, tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    width = max(1, batch_size // samples)
    results: list[list[Generation]] = [[] for _ in ids]
    training = model.training
    model.eval()
    try:
        for start in range(0, len(order), width):
            chosen = order[start : start + width]
            seeds = [derive(seed, "generate", i, j) for i in chosen for j in range(samples)]
            pick = Sampling(temperature).pick(seeds, max_new_tokens)
            pick = stopping(pick, *stop) if stop is not None else pick
            kept = torch.zeros(len(seeds), max_new_tokens) if likelihood else None
            tokens = decode(
                model,
                [ids[i] for i in chosen],
                [samples] * len(chosen),
                pad=pad,
                ends=ends,
                max_new_tokens=max_new_tokens,
                pick=pick if kept is None else recording(pick, kept),
            )
            for row, found in enumerate(tokens):
                ended = bool(found) and found[-1] in ends
                text = completion_text(tokenizer, found, ends)
                mean = None if kept is None else float(kept[row, : len(found)].mean())
                results[chosen[row // samples]].append(Generation(text, len(found), not ended, tuple(found), mean))
            if progress is not None:
                progress(min(start + width, len(order)), len(order))
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"out of memory while generating {batch_size} completions side by side; lower evaluation.batch_size."
        ) from error
    except NotFiniteError as error:
        raise ModelError(f"{error} is not a finite number: the model's weights are spoilt.") from error
    finally:
        model.train(training)
    return results
