"""`perplexity`: traces whose perplexity to the student is `most` at most (filter of SERT, see `pattern`).

Over the tokens of the completion as it is taught, without routes; `which`: the student as the stage finds it, or the
untrained one.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from pydantic import PositiveFloat

from realm.traces.base import Given, Trace
from realm.traces.examples import alone


def perplexity(
    traces: Sequence[Trace], given: Given, *, most: PositiveFloat = 10.0, which: Literal["now", "base"] = "now"
) -> Iterable[Trace]:
    voice, rows = given.student(which), alone(traces, given)
    scored = voice.scores([(row.prompt, row.completion) for row in rows])
    for row, scores in zip(rows, scored, strict=True):
        of_each = scores.gather(1, torch.tensor(row.completion, device=scores.device)[:, None])
        if math.exp(-of_each.mean().item()) <= most:
            yield row.trace
