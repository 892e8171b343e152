"""Whether tokens are those that a model's scores choose, as far as rounding lets that be told.

Two computations of one score differ in their last digits, by the shape of the batch, by the processor, by the number of
threads. Now and then that decides between two tokens, and all that follows is another text: texts that were computed in
two ways are not compared, each token is held against the scores of the text before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

#: Rounding in float32 moves the scores and cumulated probabilities of small models by less; a fault, by much more.
SLACK = 1e-4


def assert_chosen(
    model: Any, prompt: Sequence[int], tokens: Sequence[int], draws: torch.Tensor | None = None, temperature: float = 1
) -> None:
    """Prompt and tokens are read at once, without cache, padding and other rows.

    Args:
        draws: (at least as many as tokens,) the uniform numbers at which the tokens are quantiles; None: each token is
            the likeliest.
    """
    with torch.no_grad():
        scores = model(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1].double()
    places, chosen = torch.arange(len(tokens)), torch.tensor(tokens)
    if draws is None:
        assert (scores.max(-1).values - scores[places, chosen]).max() <= SLACK
        return
    probabilities = (scores / temperature).softmax(-1)
    after = probabilities.cumsum(-1)[places, chosen]
    before = after - probabilities[places, chosen]
    assert (before - draws[: len(tokens)]).max() <= SLACK
    assert (draws[: len(tokens)] - after).max() <= SLACK
