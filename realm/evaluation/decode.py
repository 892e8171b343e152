"""A plain decoding loop: prompts are read once for all of their completions, and ended rows leave the batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from realm.evaluation.cache import GrowingLayer, SharedCache, UnsharedError, attending, check, give_up, shareable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Chooses one token for each row: called with the scores (rows, vocabulary) of the next token, the numbers of the
#: completions that these rows are, (rows,) on the CPU, and the number of tokens that they have; gives (rows,).
Pick = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]


# Not inference_mode: weights that FSDP gathers in it cannot be trained afterwards.
@torch.no_grad()
def decode(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    repeats: Sequence[int],
    *,
    pad: int,
    ends: set[int],
    max_new_tokens: int,
    pick: Pick,
) -> list[list[int]]:
    """Token ids of `repeats[i]` completions for each prompt i (end token included), those of a prompt side by side.

    Works on every architecture with a dynamic cache, sliding windows and recurrent states included. Where the past is
    keys and values of every token, a prompt's are held once for all of its completions (`SharedCache`).

    Args:
        prompts: token ids, none empty.
        pad: an id to fill up shorter prompts with.
        ends: ids that end a completion.
        max_new_tokens: at least 1.
    """
    device = model.device
    longest = max(len(prompt) for prompt in prompts)
    batch = torch.tensor([[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    # Not every architecture takes both; those without position_ids read the mask.
    known = inspect.signature(model.forward).parameters
    cache = DynamicCache(config=model.config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    fixed: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in known else {}

    def logits(inputs: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        extra = {"position_ids": positions} if "position_ids" in known else {}
        # A shared cache knows itself where its prompts are padded.
        seen = None if isinstance(cache, SharedCache) else mask
        with attending(model, cache):
            found = model(
                input_ids=inputs, attention_mask=seen, past_key_values=cache, use_cache=True, **extra, **fixed
            )
        last: torch.Tensor = found.logits[:, -1]
        return last

    scores = logits(batch, positions)
    positions = positions[:, -1:]
    if any(count != 1 for count in repeats):
        owner = torch.tensor([i for i, count in enumerate(repeats) for _ in range(count)], device=device)
        if "position_ids" in known and shareable(model, cache):
            cache = SharedCache(cache, owner, mask)
        else:
            cache.batch_select_indices(owner)
        scores, mask, positions = scores[owner], mask[owner], positions[owner]
    found: list[list[int]] = [[] for _ in range(sum(repeats))]
    rows = torch.arange(len(found))
    for step in range(max_new_tokens):
        chosen = pick(scores, rows, step)
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
        try:
            scores = logits(chosen[:, None], positions)
            if isinstance(cache, SharedCache):
                first = int(rows[0])
                check(model, [*prompts[int(owner[first])], *found[first]], scores[0])
        except UnsharedError as error:
            give_up(model, error)
            return decode(model, prompts, repeats, pad=pad, ends=ends, max_new_tokens=max_new_tokens, pick=pick)
    return found


def quantile(probabilities: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """One token for each row of `probabilities` (rows, vocabulary): the quantile at the row's draw, uniform in [0, 1).

    The rows need not sum to 1. A token of probability zero is never chosen.
    """
    cumulative = probabilities.cumsum(-1)
    total = cumulative[:, -1]
    # Rounding must not carry the draw to the total: behind it are only tokens of probability zero.
    points = torch.minimum(draws * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, points[:, None], right=True)[:, 0]
