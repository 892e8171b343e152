"""The head of a model, for a part of its places at a time.

With tens of thousands of tokens the logits of a batch, (B, C, V), would be most of what a step needs. Where there would
be more than `TILE` of them, the head is applied to some places after the other, and applied again in the backward pass;
below, nothing is cut, and sums are taken in their order without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint

from realm.student.ways import known

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Logits that are there at once: 32 MiB in float32, and a handful of tensors of that size that are made of them.
TILE = 2**23

#: States (n, H) of n places to their logits (n, V).
Head = Callable[[torch.Tensor], torch.Tensor]


@contextmanager
def exchanged(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """Within, the module's forward is this one."""
    before, own = module.forward, "forward" in vars(module)
    module.forward = forward
    try:
        yield
    finally:
        if own:
            module.forward = before
        else:
            del module.forward


@torch.no_grad()
@torch.random.fork_rng()
def goes_through_backbone(causal: PreTrainedModel) -> bool:
    """Whether the model calls its backbone: some (OPT) call what is in it, past the backbone's own forward."""
    seen: list[bool] = []
    forward = causal.base_model.forward

    def noted(*args: Any, **given: Any) -> Any:
        seen.append(True)
        return forward(*args, **given)

    with exchanged(causal.base_model, noted):
        causal(input_ids=torch.zeros((1, 1), dtype=torch.long, device=causal.device))
    return bool(seen)


def vocabulary(model: PreTrainedModel) -> int:
    """Tokens that the head of a model scores; 0 where its configuration does not tell."""
    return int(getattr(model.config.get_text_config(), "vocab_size", 0))


def states_and_head(
    model: Any, causal: PreTrainedModel, places: torch.Tensor, *, whole: bool = False, **inputs: Any
) -> tuple[Any, torch.Tensor, Head]:
    """What `model` gives for a batch, the states (B, n, H) of some places of it, and the head that reads them.

    Where few logits are to be made the states are the logits themselves, and so they are where the backbone of the
    model cannot be told from its head.

    Args:
        model: to be called, with its wrappers.
        causal: the model of transformers in it.
        places: (n,) numbers of the places.
        whole: make all logits at once however many they are.
        inputs: of the model's forward, `input_ids` (B, L) among them. The result scores the last place at most.
    """
    ids, backbone = inputs["input_ids"], causal.base_model
    options: dict[str, Any] = {"logits_to_keep": places} if "logits_to_keep" in known(causal) else {}
    if whole or len(ids) * len(places) * vocabulary(causal) <= TILE or backbone is causal:
        outputs = model(**inputs, **options)
        return outputs, outputs.logits if options else outputs.logits[:, places], lambda logits: logits
    forward = backbone.forward
    kept: list[Any] = []

    def with_states(states: torch.Tensor) -> Any:
        return type(kept[0])(**{**kept[0], "last_hidden_state": states})

    def last_place(*args: Any, **given: Any) -> Any:
        kept.append(forward(*args, **given))
        return with_states(kept[0].last_hidden_state[:, -1:])

    def head(states: torch.Tensor) -> torch.Tensor:
        with exchanged(backbone, lambda *_, **__: with_states(states[None])):
            logits: torch.Tensor = causal(input_ids=ids[:1, :1]).logits[0]
        return logits

    with exchanged(backbone, last_place):
        outputs = model(**inputs)
    if not kept:
        return outputs, outputs.logits[:, places], lambda logits: logits
    return outputs, kept[0].last_hidden_state[:, places], head


def by_parts(function: Callable[..., torch.Tensor], tokens: int, *places: torch.Tensor) -> torch.Tensor:
    """(B, n, …) what a function makes of the places of tensors (B, n, …); it is called with some of them, (m, …) each.

    Args:
        tokens: V; the function makes (m, V) logits.
    """
    shape, flat = places[0].shape[:2], [one.flatten(0, 1) for one in places]
    size = max(1, TILE // max(1, tokens))
    if len(flat[0]) <= size:
        found = function(*flat)
    else:
        parts = zip(*(one.split(size) for one in flat), strict=True)
        found = torch.cat(
            [checkpoint(function, *part, use_reentrant=False, preserve_rng_state=False) for part in parts]
        )
    return found.unflatten(0, shape)
