"""Which way a model is decoded: the fastest that was seen to give its own scores.

A model of transformers says nothing reliable of how its past may be handled: some take a cache under another name and
swallow ours, some keep states that padding spoils, some compute attention where nobody can reach it. So each way is
looked at when it is first used, against the model's forward without any cache, and again at the first use in which
prompts are padded, rows share a prompt, or rows have left. Whatever fails there gives way to the next one:

    shared     a prompt's keys and values are held once for all of its completions (`cache`)
    batch      transformers' cache, prompts padded on the left, ended rows leave
    generate   transformers' `generate`, with its own kind of cache, prompts of equal length side by side
    whole      no cache: every token is read anew for each new one
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args
from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from realm.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_LOG = logging.getLogger(__name__)

Way = Literal["shared", "batch", "generate", "whole"]
_WAYS: tuple[Way, ...] = get_args(Way)
_SAID: dict[Way, str] = {
    "shared": "with their prompts held once",
    "batch": "with their prompts repeated, which is slower",
    "generate": "by transformers' generate, which is slower",
    "whole": "without a cache, which is much slower",
}
#: Largest difference of a score from that without a cache, relative to the largest score, in float32.
TOLERANCE = 1e-3
#: Below float32: the largest difference where only attention is computed otherwise; and, where a token may go to
#: another expert by rounding, the mean one (root of squares), relative to the spread of the scores.
COARSE_TOLERANCE, COARSE_MEAN = 5e-2, 0.2

#: What the allocators of CUDA, cuBLAS and the CPU say where they raise a bare RuntimeError.
_MEMORY_TEXTS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


class WayError(Exception):
    """This model cannot be decoded this way."""


@dataclass
class _State:
    """What is known of a model: the ways given up, and in which situations each of the others was looked at."""

    refused: set[Way] = field(default_factory=set)
    checked: dict[Way, list[frozenset[str]]] = field(default_factory=dict)
    taken: Way | None = None


_STATES: WeakKeyDictionary[PreTrainedModel, _State] = WeakKeyDictionary()


def _state(model: PreTrainedModel) -> _State:
    return _STATES.setdefault(model, _State())


def ways(model: PreTrainedModel) -> list[Way]:
    """The ways that nothing speaks against so far, the fastest first."""
    refused = _state(model).refused
    return [way for way in _WAYS if way not in refused]


def taken(model: PreTrainedModel) -> Way | None:
    """The way that this model was last decoded; None: not yet."""
    return _state(model).taken


def note(model: PreTrainedModel, way: Way) -> None:
    """Completions have come this way."""
    _state(model).taken = way


def known(model: PreTrainedModel) -> set[str]:
    """The names of what the model's forward takes."""
    return set(inspect.signature(type(model).forward).parameters)


def is_memory(error: BaseException) -> bool:
    """Whether an allocator, of whatever device, had no more to give."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MEMORY_TEXTS)


@contextmanager
def trying() -> Iterator[None]:
    """Any failure within is one of the way that is tried; memory that does not suffice is none."""
    try:
        yield
    except (WayError, UserError):
        raise
    except Exception as error:
        if is_memory(error):
            raise
        text = (str(error).strip().splitlines() or [""])[0]
        raise WayError(f"{type(error).__name__}: {text}"[:300]) from error


@contextmanager
def without_router_logits(config: PreTrainedConfig) -> Iterator[None]:
    """Within, a mixture of experts computes no balancing loss: that of one token against a whole mask is an error."""
    text: Any = config.get_text_config()
    before = getattr(text, "output_router_logits", False)
    if before:
        text.output_router_logits = False
    try:
        yield
    finally:
        if before:
            text.output_router_logits = before


def plain_scores(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    """Scores (rows, vocabulary) of the next token of whole rows (rows, length), without a cache."""
    extra: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in known(model) else {}
    scores: torch.Tensor = model(input_ids=tokens, use_cache=False, **extra).logits[:, -1]
    return scores


class Looks:
    """Scores of one decoding that are to be held against those without a cache, some rows for each new situation.

    They are compared when the decoding is over: some models keep their state in themselves, and a forward in between
    would spoil it.
    """

    def __init__(self, model: PreTrainedModel, way: Way) -> None:
        self._model, self._way = model, way
        self._taken: dict[frozenset[str], list[tuple[list[int], torch.Tensor]]] = {}

    def wanted(self, situation: frozenset[str]) -> bool:
        """Whether this way is still to be looked at here; a situation that was fine covers all that is part of it."""
        seen = [*_state(self._model).checked.get(self._way, ()), *self._taken]
        return not any(situation <= other for other in seen)

    def take(self, situation: frozenset[str], tokens: list[int], scores: torch.Tensor) -> None:
        """Note the scores (vocabulary,) of the next token of a whole row."""
        self._taken.setdefault(situation, []).append((tokens, scores.clone()))

    def compare(self) -> None:
        """Hold what was noted against the forward without a cache.

        Raises:
            WayError: they differ.
        """
        for situation, rows in self._taken.items():
            for tokens, scores in rows:
                plain = plain_scores(self._model, torch.tensor([tokens], device=scores.device))[0]
                if reason := _difference(scores, plain, strict=self._way == "shared"):
                    raise WayError(reason)
            _state(self._model).checked.setdefault(self._way, []).append(situation)


def _difference(scores: torch.Tensor, plain: torch.Tensor, *, strict: bool) -> str | None:
    """How far scores (vocabulary,) are from the plain ones, where that is more than rounding."""
    found, right = scores.float(), plain.float()
    if not right.isfinite().all():
        return None  # weights that are no numbers are told by whoever picks
    largest = float((found - right).abs().max() / right.abs().max().clamp(min=1e-6))
    mean = float((found - right).square().mean().sqrt() / right.std().clamp(min=1e-6))
    if plain.dtype == torch.float32 and not torch.is_autocast_enabled(plain.device.type) and not _coarse(plain):
        fine = largest <= TOLERANCE
    else:
        fine = largest <= COARSE_TOLERANCE or (not strict and mean <= COARSE_MEAN)
    _LOG.debug("scores differ by %.1e of the largest from those without a cache", largest)
    return None if fine else f"scores differ by {largest:.1e} of the largest"


def _coarse(scores: torch.Tensor) -> bool:
    """Whether they were computed in 16 bits and only handed on in 32, as by a forward that accelerate has wrapped."""
    return any(torch.equal(scores, scores.to(kind).float()) for kind in (torch.bfloat16, torch.float16))


def give_up(model: PreTrainedModel, way: Way, reason: WayError) -> None:
    """From now on the next way is taken for this model; said once."""
    # What fails with prompts repeated would fail with prompts held once.
    _state(model).refused.update(_WAYS[: _WAYS.index(way) + 1])
    if left := ways(model):
        _LOG.warning("Completions are decoded %s: %s.", _SAID[left[0]], reason)
