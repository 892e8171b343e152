"""Rows of a micro-batch forwarded beside rows of their length, and the head applied where something is learned.

A batch is as wide as its longest row, so that a few long ones cost all others as much. Here rows go through the layers
in groups of like length, each as wide as its own longest, and what the head reads is put together again:

    batch   ████████████████        groups   ████████████████        states   ▓▓▓▓▓▓▓▓▓▓   (1, learned, H)
            ████░░░░░░░░░░░░                 ████
            ███░░░░░░░░░░░░░                 ███░

Padding stands behind a row, where no token that counts looks, so that loss and gradient are those of the whole batch,
up to rounding and what is drawn by dropout, without a mask that a model might not know. All of it happens inside one
call of the model, as with `shared_prefix`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from realm.student.head import exchanged

#: Tokens of padding that cost as much as one more pass through the layers.
PASS = 128


def of_like_length(lengths: Sequence[int]) -> list[list[int]]:
    """The numbers of the rows in groups, longest first, so that passes and tokens with padding cost least in all."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    costs, starts = [0], [0]  # of the first n rows: what they cost at least, and where their last group begins then
    for end in range(1, len(order) + 1):
        cost, start = min((costs[at] + PASS + lengths[order[at]] * (end - at), at) for at in range(end))
        costs.append(cost)
        starts.append(start)
    groups, end = [], len(order)
    while end:
        groups.append(order[starts[end] : end])
        end = starts[end]
    return groups[::-1]


@contextmanager
def unpadded(causal: Any, lengths: Sequence[int], learned: torch.Tensor) -> Iterator[None]:
    """Within, the backbone of `causal` gives (1, n, H) states: at the places whose next token is learned, row by row.

    Args:
        causal: the model of transformers, called with (B, L) rows padded on the right, and without a cache.
        lengths: tokens of each row.
        learned: (B, L - 1) whether the token behind each place is learned.
    """
    backbone = causal.base_model
    forward, counts = backbone.forward, learned.sum(1).tolist()

    def by_length(input_ids: torch.Tensor, **given: Any) -> Any:
        outputs: Any = None
        found: list[Any] = [None] * len(lengths)
        for rows in of_like_length(lengths):
            width = lengths[rows[0]]
            cut = {
                name: one[rows, :width] if isinstance(one, torch.Tensor) and one.shape[:2] == input_ids.shape else one
                for name, one in given.items()
            }
            outputs = forward(input_ids[rows, :width], **cut)
            states = outputs.last_hidden_state[:, : learned.shape[1]]
            kept = states[learned[rows, :width][:, : states.shape[1]]]
            for row, own in zip(rows, kept.split([counts[row] for row in rows]), strict=True):
                found[row] = own
        return type(outputs)(**{**outputs, "last_hidden_state": torch.cat(found)[None]})

    with exchanged(backbone, by_length):
        yield
