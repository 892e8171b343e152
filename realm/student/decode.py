"""A plain decoding loop: prompts are read once for all of their completions, and ended rows leave the batch.

Models whose past cannot be handled like that take another way, see `ways`; none of them changes what is sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache, GenerationConfig, LogitsProcessor, LogitsProcessorList
from transformers.cache_utils import DynamicLayer

from realm.errors import ModelError
from realm.student.cache import GrowingLayer, SharedCache, attending, shareable
from realm.student.sampling import Pick
from realm.student.ways import (
    Looks,
    Way,
    WayError,
    give_up,
    known,
    note,
    plain_scores,
    trying,
    ways,
    without_router_logits,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Rows that are looked at where the past is more than keys and values of every token.
_ROWS = 8
#: Tokens that prompts must begin with in common to have them read once: as many as a pass of its own costs.
_COMMON = 64


@dataclass(frozen=True)
class _Order:
    """What is to be decoded, see `decode`."""

    model: PreTrainedModel
    prompts: Sequence[Sequence[int]]
    repeats: Sequence[int]
    pad: int
    ends: set[int]
    max_new_tokens: int
    pick: Pick

    def owners(self) -> list[int]:
        """The prompt of each completion."""
        return [i for i, count in enumerate(self.repeats) for _ in range(count)]


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

    Where the past is keys and values of every token, a prompt's are held once for all of its completions.

    Args:
        prompts: token ids, none empty.
        pad: an id to fill up shorter prompts with.
        ends: ids that end a completion.
        max_new_tokens: at least 1.

    Raises:
        ModelError: the model fails in every way.
    """
    order = _Order(model, prompts, repeats, pad, ends, max_new_tokens, pick)
    reason: WayError | None = None
    with without_router_logits(model.config):
        for way in ways(model):
            if way == "shared" and all(count == 1 for count in repeats):
                continue
            try:
                found = _BY_WAY[way](order)
                note(model, way)
                return found
            except _UnfitError:
                continue
            except WayError as error:
                give_up(model, way, error)
                reason = error
    why = reason or "it failed before"
    raise ModelError(f"{type(model).__name__}: completions of this model cannot be decoded ({why}).") from reason


class _UnfitError(Exception):
    """What is known of the model, without a failure, speaks against a way."""


def _shared(order: _Order) -> list[list[int]]:
    return _side_by_side(order, "shared")


def _batch(order: _Order) -> list[list[int]]:
    return _side_by_side(order, "batch")


def _side_by_side(order: _Order, way: Way) -> list[list[int]]:
    """All prompts in one batch, padded on the left of where they begin to differ."""
    model, prompts = order.model, order.prompts
    takes = known(model)
    if "past_key_values" not in takes:
        raise WayError("the model's forward takes no cache of keys and values")
    cache: Any
    with trying():
        cache = DynamicCache(config=model.config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    if way == "shared" and not ("position_ids" in takes and shareable(model, cache)):
        raise _UnfitError
    device = model.device
    # A past that is more than keys and values of every token may be right for some tokens, and wrong beyond a window.
    simple = all(type(layer) is GrowingLayer for layer in cache.layers)
    common = _in_common(prompts) if simple and "position_ids" in takes else 0
    longest = max(len(prompt) for prompt in prompts)
    gaps = [longest - len(prompt) for prompt in prompts]
    rests = [[order.pad] * gap + list(prompt[common:]) for gap, prompt in zip(gaps, prompts, strict=True)]
    batch = torch.tensor(rests, device=device)
    mask = torch.ones(len(prompts), longest, dtype=torch.long, device=device)
    for row, gap in enumerate(gaps):
        mask[row, common : common + gap] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    situation = frozenset({"padded prompts"} if any(gaps) else ())
    fixed: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

    def logits(inputs: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        extra = {"position_ids": positions} if "position_ids" in takes else {}
        # A shared cache knows itself where its prompts are padded.
        seen = None if isinstance(cache, SharedCache) else mask
        with trying(), attending(model, cache):
            found = model(
                input_ids=inputs, attention_mask=seen, past_key_values=cache, use_cache=True, **extra, **fixed
            )
            last: torch.Tensor = found.logits[:, -1]
        return last

    if common:
        with trying():
            start = torch.tensor([prompts[0][:common]], device=device)
            model(input_ids=start, past_key_values=cache, use_cache=True, **fixed)
            cache.reorder_cache(torch.zeros(len(prompts), dtype=torch.long, device=device))
    scores = logits(batch, positions[:, common:])
    positions = positions[:, -1:]
    if any(count != 1 for count in order.repeats):
        owner = torch.tensor(order.owners(), device=device)
        with trying():
            if way == "shared":
                cache = SharedCache(cache, owner, mask)
            else:
                # `reorder_cache` is what every kind of layer has.
                cache.reorder_cache(owner)
        scores, mask, positions = scores[owner], mask[owner], positions[owner]
        situation |= {"several completions a prompt"}
    owners = order.owners()
    found: list[list[int]] = [[] for _ in owners]
    rows = torch.arange(len(found))
    looks = Looks(model, way)
    for step in range(order.max_new_tokens):
        chosen = order.pick(scores, rows, step)
        tokens = chosen.tolist()
        for row, token in zip(rows.tolist(), tokens, strict=True):
            found[row].append(token)
        going = [i for i, token in enumerate(tokens) if token not in order.ends]
        if not going or step == order.max_new_tokens - 1:
            break
        if len(going) < len(tokens):
            kept = torch.tensor(going)
            rows, kept = rows[kept], kept.to(device)
            with trying():
                cache.reorder_cache(kept)
            chosen, mask, positions = chosen[kept], mask[kept], positions[kept]
            situation |= {"ended rows left"}
        positions = positions + 1
        mask = torch.cat([mask, mask.new_ones(len(going), 1)], 1)
        scores = logits(chosen[:, None], positions)
        now = situation if simple else situation | {f"{2 ** mask.shape[1].bit_length()} tokens"}
        if looks.wanted(now):
            # From the row with most padding to the longest, which windows and sparse attention cut.
            by_length = sorted(range(len(rows)), key=lambda i: len(prompts[owners[int(rows[i])]]))
            count = min(len(rows), 2 if simple else _ROWS)
            for number in range(count):
                i = by_length[number * (len(rows) - 1) // max(1, count - 1)]
                row = int(rows[i])
                looks.take(now, [*prompts[owners[row]], *found[row]], scores[i])
    with trying():
        looks.compare()
    return found


def _in_common(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that all prompts begin with, without anyone's last; 0 where they are too few for a pass of their own."""
    most = min(map(len, prompts)) - 1
    alike = next((place for place in range(most) if len({prompt[place] for prompt in prompts}) > 1), most)
    return alike if len(prompts) > 1 and alike >= _COMMON else 0


class _Picker(LogitsProcessor):
    """Has `generate` take the tokens that `pick` chooses, and takes them down.

    Args:
        rows: the numbers of the completions.
    """

    def __init__(self, order: _Order, looks: Looks, rows: list[int], found: list[list[int]]) -> None:
        self.order, self.looks, self.rows, self.found = order, looks, rows, found
        self.error: Exception | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        order, found = self.order, self.found
        live = [i for i, row in enumerate(self.rows) if not found[row] or found[row][-1] not in order.ends]
        step = max(len(found[row]) for row in self.rows)
        situation = frozenset({"several rows"} if len(self.rows) > 1 else ())
        if step and self.looks.wanted(situation):
            self.looks.take(situation, input_ids[live[0]].tolist(), scores[live[0]])
        try:
            chosen = order.pick(scores[live], torch.tensor([self.rows[i] for i in live]), step)
        except Exception as error:
            self.error = error
            raise
        forced = torch.full_like(scores, float("-inf"))
        forced[:, order.pad] = 0.0
        for i, token in zip(live, chosen.tolist(), strict=True):
            found[self.rows[i]].append(token)
            forced[i] = float("-inf")
            forced[i, token] = 0.0
        return forced


def _like_lengths(order: _Order) -> list[list[int]]:
    """The numbers of the completions whose prompts are equally long, so that none needs padding."""
    owners = order.owners()

    def length(row: int) -> int:
        return len(order.prompts[owners[row]])

    return [list(rows) for _, rows in groupby(sorted(range(len(owners)), key=length), key=length)]


def _generate(order: _Order) -> list[list[int]]:
    """transformers' `generate`, which knows what a model calls its past."""
    model, owners = order.model, order.owners()
    found: list[list[int]] = [[] for _ in owners]
    settings = GenerationConfig(
        max_new_tokens=order.max_new_tokens,
        do_sample=False,
        eos_token_id=sorted(order.ends) or None,
        pad_token_id=order.pad,
        disable_compile=True,
    )
    own = model.generation_config
    for rows in _like_lengths(order):
        batch = torch.tensor([list(order.prompts[owners[row]]) for row in rows], device=model.device)
        looks = Looks(model, "generate")
        picker = _Picker(order, looks, rows, found)
        # What the model's directory adds (penalties, ends of its own) does not apply, as in the loop.
        model.generation_config = GenerationConfig()
        try:
            with trying():
                masks = {"attention_mask": torch.ones_like(batch)} if "attention_mask" in known(model) else {}
                generate: Any = model.generate
                generate(
                    input_ids=batch, generation_config=settings, logits_processor=LogitsProcessorList([picker]), **masks
                )
        except WayError:
            if picker.error is not None:
                raise picker.error from None
            raise
        finally:
            model.generation_config = own
        if any(not found[row] for row in rows):
            raise WayError("generate has chosen tokens of its own")
        with trying():
            looks.compare()
    return found


def _whole(order: _Order) -> list[list[int]]:
    """No cache at all: what the model itself says of whole rows."""
    model, owners = order.model, order.owners()
    found: list[list[int]] = [[] for _ in owners]
    for rows in _like_lengths(order):
        live = rows
        for step in range(order.max_new_tokens):
            whole = [[*order.prompts[owners[row]], *found[row]] for row in live]
            with trying():
                scores = plain_scores(model, torch.tensor(whole, device=model.device))
            for row, token in zip(live, order.pick(scores, torch.tensor(live), step).tolist(), strict=True):
                found[row].append(token)
            live = [row for row in live if found[row][-1] not in order.ends]
            if not live:
                break
    return found


_BY_WAY: dict[Way, Callable[[_Order], list[list[int]]]] = {
    "shared": _shared,
    "batch": _batch,
    "generate": _generate,
    "whole": _whole,
}
