"""How a token is chosen: by uniform numbers that belong to a completion, so that what is beside it does not matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

#: Chooses one token for each row: called with the scores (rows, vocabulary) of the next token, the numbers of the
#: completions that these rows are, (rows,) on the CPU, and the number of tokens that they have; gives (rows,).
Pick = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]
#: A choice is near another one where that is closer than this: a cumulated probability to the draw, a score to another,
#: relative to the largest. Rounding in float32 moves them by a tenth of it and less.
NEAR = 1e-5


class NotFiniteError(ArithmeticError):
    """A probability, a loss or a gradient is NaN or infinite; the weights have not been touched by it."""


@dataclass(frozen=True)
class Sampling:
    """The settings of sampling, by transformers' names; a temperature of None or 0 takes the likeliest token."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def warpers(self) -> LogitsProcessorList:
        """What transformers' `generate` does to the scores before it samples, in its order."""
        steps = LogitsProcessorList()
        if self.temperature not in (None, 0.0, 1.0):
            steps.append(TemperatureLogitsWarper(self.temperature))
        if self.top_k:
            steps.append(TopKLogitsWarper(self.top_k))
        if self.top_p is not None and self.top_p < 1.0:
            steps.append(TopPLogitsWarper(self.top_p))
        if self.min_p is not None:
            steps.append(MinPLogitsWarper(self.min_p))
        return steps

    def pick(self, seeds: Sequence[int], length: int) -> Choice:
        """The choice of tokens for completions of at most `length`; those of completion i are drawn from `seeds[i]`."""
        if not self.temperature:
            return Choice(self, None)
        draws = [torch.rand(length, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return Choice(self, torch.stack(draws))


@dataclass(frozen=True)
class Choice:
    """A `Pick`: the quantile at each completion's own uniform numbers, or the likeliest token.

    Args:
        draws: (completions, tokens) in [0, 1), on the CPU; None: the likeliest.

    Raises:
        NotFiniteError: as it is called, a probability is no number: the weights are spoilt.
    """

    sampling: Sampling
    draws: torch.Tensor | None

    def __call__(self, scores: torch.Tensor, rows: torch.Tensor, step: int) -> torch.Tensor:
        if self.draws is None:
            return greedy(scores, rows, step)
        return quantile(self._warped(scores)[1], self.draws[rows, step].to(scores.device))

    def _warped(self, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # The warpers look at nothing but the scores.
        warped: Any = self.sampling.warpers()(torch.LongTensor(), scores.float())
        probabilities = torch.softmax(warped, -1)
        if not torch.isfinite(probabilities).all():
            raise NotFiniteError("a probability of the next token")
        return warped, probabilities

    def closely(self, scores: torch.Tensor, rows: torch.Tensor, steps: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What calling it chooses, (rows,), and where another token is so near that rounding might choose it, (rows,).

        Args:
            steps: (rows,) the number of tokens that each has.
        """
        if self.draws is None:
            first, second = scores.topk(2).values.unbind(-1)
            return scores.argmax(-1), first - second <= NEAR * scores.abs().amax(-1)
        warped, probabilities = self._warped(scores)
        cumulative, points = _points(probabilities, self.draws[rows, steps].to(scores.device))
        chosen = _at(cumulative, points)
        after = cumulative.gather(-1, chosen[:, None])[:, 0]
        before = after - probabilities.gather(-1, chosen[:, None])[:, 0]
        near = torch.minimum(after - points, points - before) <= NEAR
        return chosen, near | self._at_the_edge(scores, warped) if self._cuts else near

    @property
    def _cuts(self) -> bool:
        some = self.sampling
        return bool(some.top_k or some.min_p or (some.top_p is not None and some.top_p < 1))

    def _at_the_edge(self, scores: torch.Tensor, warped: torch.Tensor) -> torch.Tensor:
        """Where rounding might leave other tokens to choose from, (rows,)."""
        kept, some = warped.isfinite(), self.sampling
        least = scores.masked_fill(~kept, float("inf")).amin(-1)
        most = scores.masked_fill(kept, float("-inf")).amax(-1)
        edge: torch.Tensor = least - most <= NEAR * scores.abs().amax(-1)
        share = some.top_p if some.top_p is not None and some.top_p < 1 else None
        for sign in (-1, 1) if share is not None or some.min_p else ():
            top_p = share + sign * NEAR if share is not None else None
            min_p = min(1.0, some.min_p * (1 - sign * NEAR)) if some.min_p else None
            other: Any = replace(some, top_p=top_p, min_p=min_p).warpers()(torch.LongTensor(), scores.float())
            edge |= (other.isfinite() != kept).any(-1)
        return edge


def recording(pick: Pick, kept: torch.Tensor) -> Pick:
    """The same choice; the log-probability that the model gives each chosen token goes to `kept` (completions, length).

    The model's own, whatever the sampling does to it.
    """

    def picked(scores: torch.Tensor, rows: torch.Tensor, step: int) -> torch.Tensor:
        chosen = pick(scores, rows, step)
        kept[rows, step] = scores.float().log_softmax(-1).gather(-1, chosen[:, None])[:, 0].to(kept.device)
        return chosen

    return picked


def stopping(pick: Pick, token: int, temperature: float) -> Pick:
    """The same choice, after the log-probability of one token was divided by a temperature.

    So its probability p becomes p^(1/temperature) against the others, which keep theirs: above 1 it comes earlier,
    below 1 later.
    """

    def picked(scores: torch.Tensor, rows: torch.Tensor, step: int) -> torch.Tensor:
        changed = scores.float().clone()
        total = changed.logsumexp(-1)
        changed[:, token] = total + (changed[:, token] - total) / temperature
        return pick(changed, rows, step)

    return picked


def greedy(scores: torch.Tensor, rows: torch.Tensor, step: int) -> torch.Tensor:
    """The likeliest token of each row."""
    return scores.argmax(-1)


def quantile(probabilities: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """One token for each row of `probabilities` (rows, vocabulary): the quantile at the row's draw, uniform in [0, 1).

    The rows need not sum to 1. A token of probability zero is never chosen.
    """
    return _at(*_points(probabilities, draws))


def _points(probabilities: torch.Tensor, draws: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The cumulated probabilities (rows, vocabulary), and where each row's draw is among them, (rows,)."""
    cumulative = probabilities.cumsum(-1)
    total = cumulative[:, -1]
    # Rounding must not carry the draw to the total: behind it are only tokens of probability zero.
    return cumulative, torch.minimum(draws * total, torch.nextafter(total, torch.zeros_like(total)))


def _at(cumulative: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return torch.searchsorted(cumulative, points[:, None], right=True)[:, 0]
