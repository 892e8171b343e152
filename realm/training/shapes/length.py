"""`length`: a right completion is paid less the longer it is than wanted (the length term of TLDR, arXiv 2505.07961).

The paper: GRPO with a term for length, and lengths of several levels (short, medium, long) that the prompt asks for.
Its formula and its targets were not established. Ours: `target` is in tokens, one for all questions or one for each
`difficulty`; a right completion loses `weight` times its excess over the target as a share of it, at most all of
`weight`; wrong ones lose nothing, nor do questions of a difficulty that is not listed. The prompt says nothing of it;
`prompt.system` may.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import NonNegativeFloat, PositiveInt

from realm.training.rewards import Group
from realm.training.shapes.base import Shape


@dataclass(frozen=True, kw_only=True)
class Length(Shape):
    target: PositiveInt | dict[int, PositiveInt]
    weight: NonNegativeFloat = 0.2

    def reward(self, group: Group) -> list[float]:
        wanted = self.target.get(group.question.difficulty) if isinstance(self.target, dict) else self.target
        if wanted is None:
            return [0.0] * len(group.scored)
        return [
            -self.weight * min(max(tokens / wanted - 1, 0.0), 1.0) if item.correct else 0.0
            for item, tokens in zip(group.scored, group.tokens, strict=True)
        ]
