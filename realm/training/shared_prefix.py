"""Log-probabilities of completions with each distinct prompt forwarded once, with gradients.

Plain GRPO forwards every prompt as often as it has completions, G (P + C) tokens a group. Here a group costs P + G C:

    prompts      [ P1 ]  [ P2      ]                 one row each, a causal forward that leaves keys and values
                  |  |    |   |   |
    completions  c1 c2   c3  c4  c5                  one row each, a forward against a copy of its prompt's

Autograd adds up what the completions send back into the keys and values of their prompt, so that the gradient is that
of the plain forward (up to rounding). It works on every decoder of transformers whose whole past is keys and values in
a dynamic cache; `unfit` says why another one is not such a decoder.

Both forwards happen inside one call of the model, whose backbone is exchanged for the time of the call. So the wrappers
around the model (DistributedDataParallel, autocast, peft) see one forward, as for the plain path, and the head that TRL
gave the model (temperature, logit scaling and softcapping, no logits of batch x length x vocabulary) is used as it is.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from realm.student.head import exchanged

#: The shared forward is taken where the plain one would forward this many times as many tokens: below, what is saved
#: does not pay for going through the layers twice.
MARGIN = 1.2


@dataclass(frozen=True)
class SharedBatch:
    """Rows of one micro-batch, taken apart into distinct prompts and completions.

    The last token of a prompt goes with the completions, because the first token of a completion is read off there.
    In shapes: B completions, U distinct prompts, L = longest prompt - 1, C' = longest completion.

    Attributes:
        prefixes: (U, L) prompts without their last token, padded on the right: causal attention needs no mask then.
        lengths: (U,) how much of each is no padding.
        owner: (B,) the row of `prefixes` that a completion belongs to.
        inputs: (B, C') the last token of the prompt and the completion without its last token.
        labels: (B, C') the completion; -100 where it is padded.
        forwarded, plain: token positions that go through the layers here, and on the plain path.
    """

    prefixes: torch.Tensor
    lengths: torch.Tensor
    owner: torch.Tensor
    inputs: torch.Tensor
    labels: torch.Tensor
    forwarded: int
    plain: int

    @property
    def pays(self) -> bool:
        """Whether so many tokens are saved that two passes through the layers are faster than one."""
        return int(self.lengths.min()) >= 0 and self.prefixes.shape[1] > 0 and self.plain > MARGIN * self.forwarded

    def positions(self) -> torch.Tensor:
        """Position of every token of `inputs` in its row, (B, C')."""
        steps = torch.arange(self.inputs.shape[1], device=self.inputs.device)
        return self.lengths[self.owner][:, None] + steps

    def mask(self) -> torch.Tensor | None:
        """(B, L + C'): 0 between a shorter prompt and its completion; None where there are no such gaps.

        Padding behind a completion needs no mask: nothing that counts comes after it.
        """
        width = self.prefixes.shape[1]
        if bool((self.lengths == width).all()):
            return None
        prompt = torch.arange(width, device=self.inputs.device) < self.lengths[self.owner][:, None]
        return torch.cat([prompt, prompt.new_ones(self.inputs.shape)], 1).long()


def take_apart(input_ids: torch.Tensor, attention_mask: torch.Tensor, completion: int) -> SharedBatch:
    """A micro-batch as TRL makes it: prompts padded on the left, completions of width `completion` on the right.

    Args:
        input_ids, attention_mask: (B, P + C).
        completion: C, at least 1.
    """
    start = input_ids.shape[1] - completion
    device = input_ids.device
    lengths = attention_mask[:, :start].sum(1)
    longest = max(int(attention_mask[:, start:].sum(1).max()), 1)
    found: dict[bytes, int] = {}
    first: list[int] = []
    owner = []
    rows = input_ids[:, :start].cpu().numpy()
    for i, length in enumerate(lengths.tolist()):
        key = rows[i, start - length :].tobytes()
        if key not in found:
            found[key] = len(first)
            first.append(i)
        owner.append(found[key])
    chosen = torch.tensor(first, device=device)
    shorter = lengths[chosen] - 1
    width = int(shorter.max())
    places = (start - 1 - shorter)[:, None] + torch.arange(width, device=device)
    prefixes = input_ids[chosen].gather(1, places.clamp(max=max(start - 1, 0)))
    labels = input_ids[:, start : start + longest]
    return SharedBatch(
        prefixes=prefixes,
        lengths=shorter,
        owner=torch.tensor(owner, device=device),
        inputs=input_ids[:, start - 1 : start - 1 + longest],
        labels=labels.masked_fill(attention_mask[:, start : start + longest] == 0, -100),
        forwarded=prefixes.numel() + labels.numel(),
        plain=input_ids.numel(),
    )


def causal_model(model: Any) -> Any:
    """The model of transformers below the adapters of peft; `model` is free of distributed wrappers."""
    below = getattr(model, "get_base_model", None)
    return below() if callable(below) else model


def virtual_tokens(model: nn.Module) -> str | None:
    """That adapters of peft put tokens of their own before the prompt, as half a sentence; None: they do not."""
    adapters = getattr(model, "peft_config", {})
    if any(getattr(adapter, "is_prompt_learning", False) for adapter in adapters.values()):
        return "its adapter puts virtual tokens before the prompt"
    return None


def unfit(model: nn.Module) -> str | None:
    """Why prompts cannot be shared in this model (free of distributed wrappers), as half a sentence; None: they can."""
    if reason := virtual_tokens(model):
        return reason
    causal = causal_model(model)
    config = causal.config
    if getattr(config, "is_encoder_decoder", False):
        return "it is no decoder"
    known = inspect.signature(causal.base_model.forward).parameters
    if causal.base_model is causal or not {"position_ids", "past_key_values", "use_cache"} <= known.keys():
        return "its forward takes no cache together with positions"
    layers = DynamicCache(config=config).layers
    if getattr(causal, "_is_stateful", False) or any(type(layer) is not DynamicLayer for layer in layers):
        return "its past is more than keys and values of every token (a sliding window, a recurrent state)"
    rotary = _rope_types(config.get_text_config().to_dict())
    if not rotary:
        # TRL lets the left padding shift the positions, which only a relative embedding does not see.
        return "its positions are absolute, so that TRL's path depends on the padding"
    if rotary & {"dynamic", "longrope"}:
        return "its rotary embedding depends on the length of the sequence"
    return None


def _rope_types(settings: Any) -> set[str]:
    """Every `rope_type` anywhere in a configuration."""
    if not isinstance(settings, dict):
        return set()
    own = {settings["rope_type"]} if isinstance(settings.get("rope_type"), str) else set()
    return own.union(*map(_rope_types, settings.values()))


def shared_outputs(model: Callable[..., Any], bare: nn.Module, batch: SharedBatch) -> Any:
    """TRL's `FusedCausalLMOutput` for the completions of `batch`; per-token fields are (B, C'), zero on padding.

    Args:
        model: to be called, with its wrappers. TRL's `add_fused_lm_head` has given the model in it a head.
        bare: the same model without distributed wrappers.
    """
    with two_passes(causal_model(bare), batch):
        return model(input_ids=batch.inputs, shift_labels=batch.labels, fused_lm_head=True)


@contextmanager
def two_passes(model: Any, batch: SharedBatch) -> Iterator[None]:
    """Within, the backbone of `model` forwards the prompts of the batch before its completions."""
    backbone = model.base_model
    forward = backbone.forward

    def two_passes(*, input_ids: torch.Tensor, **options: Any) -> Any:
        for name in ("attention_mask", "position_ids", "past_key_values", "inputs_embeds", "use_cache"):
            options.pop(name, None)
        cache = DynamicCache(config=model.config)
        forward(input_ids=batch.prefixes, past_key_values=cache, use_cache=True, **options)
        layers: list[Any] = cache.layers
        for layer in layers:
            layer.keys, layer.values = _repeat(layer.keys, batch), _repeat(layer.values, batch)
        return forward(
            input_ids=input_ids,
            attention_mask=batch.mask(),
            position_ids=batch.positions(),
            past_key_values=cache,
            use_cache=True,
            **options,
        )

    with exchanged(backbone, two_passes):
        yield


def _repeat(states: torch.Tensor, batch: SharedBatch) -> torch.Tensor:
    """Keys or values (U, heads, L, size) for every completion, (B, heads, L, size); no copy for a single prompt."""
    if len(states) == 1:
        return states.expand(len(batch.owner), -1, -1, -1)
    return states.index_select(0, batch.owner)
