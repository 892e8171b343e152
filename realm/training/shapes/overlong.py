"""`overlong`: completions near the longest length are punished, the longer the more (DAPO, arXiv 2503.14476).

TRL's `get_soft_overlong_punishment`: nothing up to where the last `share` of `training.rl.max_completion_length`
begins, then in a straight line down to -1 at that length, `weight` times. The share is our choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, NonNegativeFloat

from realm.training.rewards import Group
from realm.training.shapes.base import Shape


@dataclass(frozen=True, kw_only=True)
class Overlong(Shape):
    weight: NonNegativeFloat = 1.0
    share: Annotated[float, Field(gt=0, le=1)] = 0.2

    def reward(self, group: Group) -> list[float]:
        from trl.rewards.other_rewards import get_soft_overlong_punishment

        punish = get_soft_overlong_punishment(group.room, max(1, round(self.share * group.room)))
        return [self.weight * found for found in punish(completion_ids=[range(tokens) for tokens in group.tokens])]
