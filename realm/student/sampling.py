"""How a token is chosen: by uniform numbers that belong to a completion, so that what is beside it does not matter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

    def pick(self, seeds: Sequence[int], length: int) -> Pick:
        """The choice of tokens for completions of at most `length`; those of completion i are drawn from `seeds[i]`.

        The choice raises `NotFiniteError` where a probability is no number: the weights are spoilt.
        """
        if not self.temperature:
            return greedy
        draws = torch.stack([torch.rand(length, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        steps = self.warpers()

        def pick(scores: torch.Tensor, rows: torch.Tensor, step: int) -> torch.Tensor:
            # The warpers look at nothing but the scores.
            warped: Any = steps(torch.LongTensor(), scores.float())
            probabilities = torch.softmax(warped, -1)
            if not torch.isfinite(probabilities).all():
                raise NotFiniteError("a probability of the next token")
            return quantile(probabilities, draws[rows, step].to(scores.device))

        return pick


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
    cumulative = probabilities.cumsum(-1)
    total = cumulative[:, -1]
    # Rounding must not carry the draw to the total: behind it are only tokens of probability zero.
    points = torch.minimum(draws * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, points[:, None], right=True)[:, 0]
