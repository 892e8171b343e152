"""Caches to decode from: one that grows cheaply, and one that holds a prompt once for all of its completions.

A plain cache holds a prompt once for each of its completions, and every new token reads every copy, which is most of
what decoding after a long prompt costs. Here

    prompts     (U, H, L, D)   are read once for all rows that share them, in one matrix product
    own tokens  (N, H, T, D)   are each row's own

and the softmax is taken over both, so that the result is that of the plain cache up to rounding. In shapes: N rows, U
distinct prompts of L tokens, T tokens decoded so far, H heads of keys, D their size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from realm.student.ways import WayError

#: Name of `_attend` among the attention functions of transformers.
_NAME = "realm_shared_prompts"
#: Arguments of an attention function that change what it computes, and that this one does not know.
_FOREIGN = ("softcap", "position_bias", "s_aux", "sliding_window")


class GrowingLayer(DynamicLayer):
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

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        super().reorder_cache(beam_idx)  # type: ignore[arg-type]
        self._store = None


class _OwnLayer(GrowingLayer):
    """Keys and values of the rows' own tokens, and those of the prompts, which `_attend` finds on the keys it gets."""

    def __init__(self, layer: DynamicLayer, places: _Places) -> None:
        super().__init__()
        assert layer.keys is not None and layer.values is not None, "a layer that no prompt went through"
        self.prompt_keys, self.prompt_values, self.places = layer.keys, layer.values, places

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = super().update(key_states, value_states, *args, **kwargs)
        # On a view that nothing keeps: a layer that its own keys refer to would outlive the rollout.
        keys = keys.view_as(keys)
        keys.realm_layer = self  # type: ignore[attr-defined]
        return keys, values


class _Places:
    """Which prompt each row belongs to, and how the rows of a prompt are laid side by side.

    Args:
        owner: (N,) the prompt of each row; rows of a prompt are neighbours.
        mask: (U, L) 1 where a prompt has a token, 0 where it is padded.
    """

    def __init__(self, owner: torch.Tensor, mask: torch.Tensor) -> None:
        self.owner = owner
        self.hidden = None if bool(mask.all()) else (mask == 0)[:, None, None, :]
        counts = torch.bincount(owner, minlength=len(mask))
        self.prompts, self.most = len(mask), int(counts.max())
        starts = counts.cumsum(0) - counts
        self.flat = owner * self.most + torch.arange(len(owner), device=owner.device) - starts[owner]
        self.full = len(owner) == self.prompts * self.most

    def gather(self, states: torch.Tensor) -> torch.Tensor:
        """(N, H, R, X) -> (U, H, most · R, X): the rows of every prompt side by side, zeros where it has fewer."""
        heads, each, size = states.shape[1:]
        if not self.full:
            spread = states.new_zeros(self.prompts * self.most, heads, each, size)
            spread[self.flat] = states
            states = spread
        return states.view(self.prompts, self.most, heads, each, size).transpose(1, 2).flatten(2, 3)

    def scatter(self, states: torch.Tensor) -> torch.Tensor:
        """The way back: (U, H, most · R, X) -> (N, H, R, X)."""
        rows = states.unflatten(2, (self.most, -1)).transpose(1, 2).flatten(0, 1)
        return rows if self.full else rows[self.flat]


class SharedCache(DynamicCache):
    """A cache of prompts that were read once each, to be decoded from by `owner`'s rows.

    Args:
        read: the cache after the prompts, (U, H, L, D) a layer; keys and values of every token, nothing else.
        owner: (N,) the prompt of each row; rows of a prompt are neighbours.
        mask: (U, L) 1 where a prompt has a token, 0 where it is padded.
    """

    def __init__(self, read: DynamicCache, owner: torch.Tensor, mask: torch.Tensor) -> None:
        super().__init__()
        self._mask = mask
        places = _Places(owner, mask)
        self._own = [_OwnLayer(layer, places) for layer in read.layers if isinstance(layer, DynamicLayer)]
        self.layers = list(self._own)

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Keep these rows; a prompt without any leaves too."""
        super().reorder_cache(beam_idx)  # type: ignore[arg-type]
        owner = self._own[0].places.owner[beam_idx]
        left = owner.unique()
        if len(left) < len(self._mask):
            owner, self._mask = torch.searchsorted(left, owner), self._mask[left]
            for layer in self._own:
                layer.prompt_keys, layer.prompt_values = layer.prompt_keys[left], layer.prompt_values[left]
        places = _Places(owner, self._mask)
        for layer in self._own:
            layer.places = places


def _attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one new token a row, (N, heads, 1, D) -> (N, 1, heads, D), as transformers calls it."""
    layer = getattr(key, "realm_layer", None)
    unknown = [name for name in _FOREIGN if kwargs.get(name) is not None]
    if layer is None or dropout or unknown or attention_mask is not None or query.shape[2] != 1:
        what = ", ".join(unknown) or "keys changed after the cache, dropout, or a mask of its own"
        raise WayError(f"the model's attention has what shared prompts do not know ({what})")
    places, held = layer.places, key.shape[1]
    # The query heads that share a head of keys, side by side; scaled first, which float16 may need.
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    folded = (query * scale).unflatten(1, (held, -1)).squeeze(3)
    of_prompt = places.gather(folded) @ layer.prompt_keys.transpose(-1, -2)
    if places.hidden is not None:
        of_prompt = of_prompt.masked_fill(places.hidden, float("-inf"))
    scores = torch.cat([places.scatter(of_prompt), folded @ key.transpose(-1, -2)], -1)
    weights = torch.softmax(scores, -1, dtype=torch.float32).to(value.dtype)
    prompt, own = weights.split([of_prompt.shape[-1], key.shape[2]], -1)
    mixed = places.scatter(places.gather(prompt) @ layer.prompt_values) + own @ value
    return mixed.flatten(1, 2)[:, None], None


AttentionInterface.register(_NAME, _attend)


def shareable(model: PreTrainedModel, cache: DynamicCache) -> bool:
    """Whether the model's past is keys and values of every token, and its attention SDPA.

    By the exact type: layers that hold more than keys and values inherit from those that hold nothing else.
    """
    plain = bool(cache.layers) and all(type(layer) is GrowingLayer for layer in cache.layers)
    return plain and model.config._attn_implementation == "sdpa"


@contextmanager
def attending(model: PreTrainedModel, cache: DynamicCache) -> Iterator[None]:
    """Forwards within compute their attention here if the cache is a `SharedCache`, else as always."""
    config = model.config
    before = config._attn_implementation
    if isinstance(cache, SharedCache):
        config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = before
