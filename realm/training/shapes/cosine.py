"""`cosine`: right answers are worth more when short, wrong ones less (a reward of Open-RS, arXiv 2503.16219).

The formula and its bounds are those of `trl.rewards.get_cosine_scaled_reward` (arXiv 2502.03373), with this task's
verifier for TRL's and with `training.rl.max_completion_length` for its longest length: from the first bound at no
token to the second one at that length, along half a cosine. Our choice: the term is added, `weight` times, to the
reward that is there; with `reward.answer: 0` it is all that an answer earns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import NonNegativeFloat

from realm.training.rewards import Group
from realm.training.shapes.base import Shape


@dataclass(frozen=True, kw_only=True)
class Cosine(Shape):
    weight: NonNegativeFloat = 1.0
    right: tuple[float, float] = (1.0, 0.5)
    wrong: tuple[float, float] = (-1.0, -0.5)

    def reward(self, group: Group) -> list[float]:
        found = []
        for item, tokens in zip(group.scored, group.tokens, strict=True):
            short, long = self.right if item.correct else self.wrong
            half = 0.5 * (1 + math.cos(math.pi * tokens / group.room))
            found.append(self.weight * (long + (short - long) * half))
        return found
