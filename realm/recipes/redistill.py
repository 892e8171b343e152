"""`redistill`: SFT, RL, then a fresh student learns what the one after RL writes right (re-distillation, 2505.17988).

The paper: right answers of a policy after SFT and RL, one a question, a thousand of them, teach the pretrained model
nearly as much, RL's cost not counted. Our choices: the stages of sft+grpo, without a route anywhere; four samples a
question at temperature 1; and what RL and sampling took is part of the run's cost. `redistill-zero` has no cold start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.recipes import sft_grpo
from realm.recipes.stage import Recipe, Stage

if TYPE_CHECKING:
    from realm.config import Config


#: Steps of what is taught.
LESSONS = ("student", "right", "fits")


def fresh(config: Config, round_: int) -> Stage:
    """The stage in which an untrained student is taught by the one before it."""
    return Stage("sft", round_, config.training.sft.steps, 0, fresh=True, traces=LESSONS)


def stages(config: Config) -> list[Stage]:
    return [*sft_grpo.RECIPE.stages(config), fresh(config, config.training.rounds)]


RECIPE = Recipe("redistill", stages, {"training.sft.empty_share": 1.0}, shows_routes=False)
