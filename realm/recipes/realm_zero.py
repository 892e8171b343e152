"""`realm-zero`: RL with fading routes from the given student at once (ReaLM, arXiv 2508.12387: MRPV and EAAI).

The paper: the student is shown several CoTs, right and wrong ones unmarked, is paid for its answer and for judging
them, and sees them less and less. Our choices: the rewards' weights, routes kept one by one with probability p, and the
same ones for a whole group (docs/paper.md says where each is).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.recipes.stage import Look, Recipe, Stage

if TYPE_CHECKING:
    from realm.config import Config


def stages(config: Config) -> list[Stage]:
    return [Stage("rl", 0, config.training.rl.steps, config.routes.k)]


RECIPE = Recipe("realm-zero", stages, look=Look("vermillion", "triangle"), place=2)
