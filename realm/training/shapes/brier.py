"""`brier`: a stated confidence is paid by how near it comes to the truth (after DrugReasoner, arXiv 2508.18579).

The paper: GRPO on molecules beside their nearest neighbours, with an answer, its reasons and a confidence. How it pays
the confidence was not established; Brier's score is the choice of this project, for it is highest, on average, where
the confidence is the chance to be right. `weight` times the squared distance of the confidence to 1 (right) or 0
(wrong) is taken off the reward, and all of `weight` where none is stated: ask for it in `prompt.system`, as
`confidence: 0.8` at the end of the thinking.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import NonNegativeFloat

from realm.method.completion import stated_confidence
from realm.training.rewards import Group
from realm.training.shapes.base import Shape


@dataclass(frozen=True, kw_only=True)
class Brier(Shape):
    weight: NonNegativeFloat = 0.5

    def reward(self, group: Group) -> list[float]:
        stated = [stated_confidence(item.text) for item in group.scored]
        return [
            -self.weight * (1.0 if one is None else (one - item.correct) ** 2)
            for item, one in zip(group.scored, stated, strict=True)
        ]
