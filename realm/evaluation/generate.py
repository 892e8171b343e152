"""Completions of a causal LM, greedy or sampled, in batches of prompts of like length.

A plain decoding loop instead of `model.generate`: ended rows leave the batch, the prompt of several samples is read
once, generation settings that a model directory brings along (penalties, top-k) do not apply, and every draw is a
function of (seed, prompt, sample) alone, so that results do not depend on the size of the batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from realm.errors import ResourceError
from realm.evaluation.prompts import encode
from realm.method.prompt import Message
from realm.method.seeds import derive

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: Called with (prompts done, prompts in all).
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Generation:
    """One completion: its text without special tokens, its length in tokens (the end token included), and whether it
    was cut off by the limit before it ended."""

    text: str
    tokens: int
    truncated: bool


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids that end a completion: the tokenizer's and those of the model's generation settings."""
    settings = getattr(model, "generation_config", None)
    ends = settings.eos_token_id if settings is not None else None
    return {tokenizer.eos_token_id, *([ends] if isinstance(ends, int) else ends or [])} - {None}


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[Message]],
    *,
    max_new_tokens: int,
    batch_size: int,
    samples: int = 1,
    temperature: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[list[Generation]]:
    """`samples` completions for each prompt, in the order of the prompts.

    The model's mode is restored, and no global random state and nothing of the tokenizer is touched.

    Args:
        prompts: conversations; see `realm.method.prompt.messages`. They must leave `max_new_tokens` of the context.
        batch_size: completions that are generated side by side.
        temperature: of sampling; None is greedy.
        seed: of sampling; completion j of prompt i depends on (seed, i, j).

    Raises:
        ModelError: the chat template refuses a conversation.
        ResourceError: the batch does not fit into the accelerator's memory.
    """
    ids = [encode(tokenizer, messages) for messages in prompts]
    # Longest first: a batch that is too large for the memory fails at once, and like lengths need little padding.
    order = sorted(range(len(ids)), key=lambda i: (-len(ids[i]), i))
    ends = end_tokens(model, tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    width = max(1, batch_size // samples)
    results: list[list[Generation]] = [[] for _ in prompts]
    training = model.training
    model.eval()
    try:
        for start in range(0, len(order), width):
            chosen = order[start : start + width]
            draws = None
            if temperature is not None:
                draws = torch.stack([_uniform(seed, i, j, max_new_tokens) for i in chosen for j in range(samples)])
            tokens = _decode(model, [ids[i] for i in chosen], pad, ends, max_new_tokens, samples, temperature, draws)
            for row, found in enumerate(tokens):
                ended = bool(found) and found[-1] in ends
                text = tokenizer.decode(found, skip_special_tokens=True)
                results[chosen[row // samples]].append(Generation(str(text), len(found), not ended))
            if progress is not None:
                progress(min(start + width, len(order)), len(order))
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"out of memory while generating {batch_size} completions side by side; lower evaluation.batch_size."
        ) from error
    finally:
        model.train(training)
    return results


def _uniform(seed: int, prompt: int, sample: int, length: int) -> torch.Tensor:
    """The uniform numbers in [0, 1) that choose the tokens of one completion, shape (length,)."""
    source = torch.Generator().manual_seed(derive(seed, "generate", prompt, sample))
    return torch.rand(length, generator=source)


@torch.inference_mode()
def _decode(
    model: PreTrainedModel,
    prompts: list[list[int]],
    pad: int,
    ends: set[int],
    max_new_tokens: int,
    samples: int,
    temperature: float | None,
    draws: torch.Tensor | None,
) -> list[list[int]]:
    """Token ids of `samples` completions for each prompt (end token included), samples of a prompt side by side."""
    device = model.device
    longest = max(len(prompt) for prompt in prompts)
    batch = torch.tensor([[pad] * (longest - len(prompt)) + prompt for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    # Not every architecture takes both; those without position_ids read the mask.
    known = inspect.signature(model.forward).parameters
    cache = DynamicCache(config=model.config)
    cache.layers = [_GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    fixed: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
    if "logits_to_keep" in known:
        fixed["logits_to_keep"] = 1

    def logits(inputs: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        extra = {"position_ids": positions} if "position_ids" in known else {}
        last: torch.Tensor = model(input_ids=inputs, attention_mask=mask, **extra, **fixed).logits[:, -1]
        return last

    scores = logits(batch, positions)
    if samples > 1:
        cache.batch_repeat_interleave(samples)
        scores, mask = scores.repeat_interleave(samples, 0), mask.repeat_interleave(samples, 0)
        positions = positions.repeat_interleave(samples, 0)
    positions = positions[:, -1:]
    found: list[list[int]] = [[] for _ in range(len(prompts) * samples)]
    rows = torch.arange(len(found))
    for step in range(max_new_tokens):
        if temperature is None or draws is None:
            chosen = scores.argmax(-1)
        else:
            chosen = _pick(scores, temperature, draws[rows, step].to(device))
        tokens = chosen.tolist()
        for row, token in zip(rows.tolist(), tokens, strict=True):
            found[row].append(token)
        going = [i for i, token in enumerate(tokens) if token not in ends]
        if not going or step == max_new_tokens - 1:
            break
        if len(going) < len(tokens):
            kept = torch.tensor(going)
            rows, kept = rows[kept], kept.to(device)
            cache.batch_select_indices(kept)
            chosen, mask, positions = chosen[kept], mask[kept], positions[kept]
        positions = positions + 1
        mask = torch.cat([mask, mask.new_ones(len(going), 1)], 1)
        scores = logits(chosen[:, None], positions)
    return found


def _pick(scores: torch.Tensor, temperature: float, draws: torch.Tensor) -> torch.Tensor:
    """One token for each row of `scores` (rows, vocabulary): the distribution's quantile at the row's draw."""
    cumulative = torch.softmax(scores.float() / temperature, -1).cumsum(-1)
    total = cumulative[:, -1]
    # Rounding must not carry the draw to the total: behind it are only tokens of probability zero.
    points = torch.minimum(draws * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, points[:, None], right=True)[:, 0]


class _GrowingLayer(DynamicLayer):
    """A cache layer with spare room: the only change is that a new token does not copy the whole cache.

    On a CPU that copying takes half of the time of a tiny model's decoding (transformers concatenates).
    """

    _room = 64
    _store: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        old = self.get_seq_length()
        new = old + key_states.shape[-2]
        if self._store is None or self._store[0].shape[-2] < new:
            self._store = (self._roomy(key_states, self.keys, new), self._roomy(value_states, self.values, new))
        stored_keys, stored_values = self._store
        stored_keys[..., old:new, :] = key_states
        stored_values[..., old:new, :] = value_states
        self.keys, self.values = stored_keys[..., :new, :], stored_values[..., :new, :]
        return self.keys, self.values

    def _roomy(self, states: torch.Tensor, kept: torch.Tensor | None, length: int) -> torch.Tensor:
        store = states.new_empty(*states.shape[:-2], length + self._room, states.shape[-1])
        if kept is not None and kept.numel():
            store[..., : kept.shape[-2], :] = kept
        return store

    def batch_repeat_interleave(self, repeats: int) -> None:
        super().batch_repeat_interleave(repeats)
        self._store = None

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        super().batch_select_indices(indices)
        self._store = None
