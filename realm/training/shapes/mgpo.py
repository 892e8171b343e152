"""`mgpo`: groups of which about half are right teach most (MGPO of VibeThinker, arXiv 2511.06221).

The paper, read in notes of others: advantages times exp(-strength · KL(p ‖ ½)), with p the share of right completions
in the group, so 1 at p = ½ and 2^-strength at 0 and 1. The strength that it takes was not established; 1 is our choice,
0 is plain GRPO. Completions whose verifier failed are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import NonNegativeFloat

from realm.training.rewards import Group
from realm.training.shapes.base import Shape


@dataclass(frozen=True, kw_only=True)
class Mgpo(Shape):
    strength: NonNegativeFloat = 1.0

    def advantage(self, group: Group, advantages: Sequence[float]) -> list[float]:
        judged = [item.correct for item in group.scored if not item.verifier_failed]
        right = sum(judged) / len(judged) if judged else 0.5
        apart = sum(share * math.log(2 * share) for share in (right, 1 - right) if share)
        return [math.exp(-self.strength * apart) * value for value in advantages]
