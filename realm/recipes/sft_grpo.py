"""`sft+grpo`: the cold start of realm-r1 without any route, then plain GRPO: the fair rival of realm-r1.

Both see the same right CoTs for the same number of steps, so that a difference between them is what routes and their
fading add.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realm.recipes.stage import Stage

if TYPE_CHECKING:
    from realm.config import Config

SETTINGS: dict[str, Any] = {"training.sft.empty_share": 1.0}


def stages(config: Config) -> list[Stage]:
    training = config.training
    return [Stage("sft", 0, training.sft.steps, 0), Stage("rl", 0, training.rl.steps, 0)]
