"""What each token of a row counts in the loss: its trace's weight, that of its spans, and what the weigh gives it."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

from realm.config import Config
from realm.errors import ConfigError, DataError, ModelError
from realm.student.prompts import unfaded
from realm.traces.base import Given, Soft, Spent, Target, Tokenized, Weigh
from realm.traces.doors import a_target, given_back, where
from realm.traces.examples import asked, place_in_completion
from realm.traces.pipeline import bound, once

_LOG = logging.getLogger(__name__)


def find_weigh(config: Config) -> Weigh | None:
    """The configured weigh, with its options; raises `ConfigError` as `realm.traces.pipeline.bound` does."""
    entry = config.training.sft.weigh
    return bound("weighs", entry) if entry else None


def weigh(rows: Sequence[Tokenized], given: Given, by: Weigh | None, kept: Path) -> list[Target]:
    """Weights or soft targets for the completion of each row; equal rows are weighed once.

    Args:
        by: see `find_weigh`.
        kept: file for what a weigh gives that asks the student, made by the main process and read by the others and
            by a resumed run, whose student is another one by then.

    Raises:
        ConfigError: the weigh gives what cannot be weights of these rows.
        DataError: it leaves nothing to learn.
    """
    distinct = {(id(row.trace), tuple(row.prompt)): row for row in rows}
    some = list(distinct.values())
    found = [*repeat(None, len(some))] if by is None else _weighed(some, given, by, kept)
    weighed = [_combined(own_weights(row, given), target) for row, target in zip(some, found, strict=True)]
    if not any(weight for target in weighed for weight in weights_of(target)):
        raise DataError(
            "SFT has nothing to teach: no token has any weight; look at training.sft.weigh and at the weights that the "
            "steps of training.sft.traces give."
        )
    if by is not None:
        weights = [weight for target in weighed for weight in weights_of(target)]
        share = sum(weight != 1 for weight in weights) / len(weights)
        _LOG.info("training.sft.weigh: %.1f %% of the tokens have another weight than 1", 100 * share)
    by_row = dict(zip(distinct, weighed, strict=True))
    return [by_row[id(row.trace), tuple(row.prompt)] for row in rows]


def weights_of(target: Target) -> Sequence[float]:
    """What each place of a completion counts in the loss."""
    return target.weights if isinstance(target, Soft) else target


def own_weights(row: Tokenized, given: Given) -> list[float]:
    """A weight a token of the completion: the trace's, times those of the spans that it lies in, if only partly.

    Raises:
        ModelError: the tokenizer does not say where in a text its tokens are.
    """
    trace, renderer = row.trace, given.renderer
    weights = [trace.weight] * len(row.completion)
    if not trace.spans:
        return weights
    tokenizer: Any = given.tokenizer
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            "the tokenizer does not say where in a text its tokens are, which weights of parts of a CoT need; "
            "use a model with a fast tokenizer (tokenizer.json)."
        )
    offsets = tokenizer(row.text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    for span in trace.spans:
        start, stop = (place_in_completion(renderer, trace.cot, place) for place in (span.start, span.stop))
        for token, (first, last) in enumerate(offsets):
            if max(first, start) < min(last, stop):
                weights[token] *= span.weight
    return weights


def reading_routes(row: Tokenized, given: Given) -> list[int]:
    """The prompt of a row's question with routes of the bank, none of them faded; never with the CoT that is taught."""
    if not given.config.routes.k:
        raise ConfigError(
            "training.sft.weigh: it is to read routes, but routes.k is 0; raise that, or give it routes: false."
        )
    shown = [route for route in given.routes(row.trace.question) if route.id != row.trace.cot.id]
    drawn = unfaded(shown, given.config, given.renderer.seed, row.trace.question.id)
    return given.renderer.fit(asked(row.trace), drawn).ids


def _weighed(rows: Sequence[Tokenized], given: Given, by: Weigh, kept: Path) -> list[Target]:
    at, what = where("weighs", given.config.training.sft.weigh), "a weight of 0 or more for each token of each row"

    def make(given: Given) -> list[Target]:
        return given_back(at, partial(by, rows, given), what, a_target, rows)

    found = once(make, replace(given, spent=Spent()), kept, "targets", _line, _target)
    return given_back(at, lambda: found, what, a_target, rows)  # of another run, where the file is


def _line(target: Target) -> Any:
    return asdict(target) if isinstance(target, Soft) else list(target)


def _target(line: Any) -> Target:
    return Soft(**line) if isinstance(line, dict) else line


def _combined(own: list[float], found: Target | None) -> Target:
    if found is None:
        return own
    weights = [mine * theirs for mine, theirs in zip(own, weights_of(found), strict=True)]
    if not isinstance(found, Soft):
        return weights
    return replace(found, weights=[weight if ids else 0.0 for weight, ids in zip(weights, found.ids, strict=True)])
