"""`grpo`: reinforcement learning on the questions alone, no CoT anywhere (DeepSeekMath, arXiv 2402.03300).

The paper: G completions a question, advantages relative to their group, clipping. Our choice: the reward of MRPV at
k = 0 (format and answer), so that a completion earns here what it earns in the other recipes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.recipes.stage import Stage

if TYPE_CHECKING:
    from realm.config import Config


def stages(config: Config) -> list[Stage]:
    return [Stage("rl", 0, config.training.rl.steps, 0)]
