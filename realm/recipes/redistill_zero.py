"""`redistill-zero`: `redistill` without the cold start: RL at once, so that no bank is needed.

Our variant; what RL does not find is not taught either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.recipes import grpo, redistill
from realm.recipes.stage import Recipe, Stage

if TYPE_CHECKING:
    from realm.config import Config


def stages(config: Config) -> list[Stage]:
    return [*grpo.RECIPE.stages(config), redistill.fresh(config, 1)]


# The only SFT: other steps of a configuration would be ignored.
RECIPE = Recipe(
    "redistill-zero",
    stages,
    {**redistill.RECIPE.settings, "training.sft.traces": [*redistill.LESSONS]},
    shows_routes=False,
)
