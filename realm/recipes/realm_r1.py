"""`realm-r1`: an SFT cold start on the surface of MRPV, then RL with fading routes (ReaLM, arXiv 2508.12387).

The paper: CoTs distilled with the experts' comments start the student off; SFT and RL can alternate
(`training.rounds`). Our choices: what the examples look like (`realm.training.sft`), and a share of them without any
route (`training.sft.empty_share`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.recipes.stage import Look, Recipe, Stage

if TYPE_CHECKING:
    from realm.config import Config


def stages(config: Config) -> list[Stage]:
    training, k = config.training, config.routes.k
    found = []
    for round_ in range(training.rounds):
        if training.sft.steps:
            found.append(Stage("sft", round_, training.sft.steps, k))
        found.append(Stage("rl", round_, training.rl.steps, k))
    return found


RECIPE = Recipe("realm-r1", stages, look=Look("green", "diamond"), place=3)
