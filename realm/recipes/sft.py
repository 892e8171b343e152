"""`sft`: supervised fine-tuning on the CoTs of the bank, right or wrong (CoT distillation, arXiv 2212.08410).

The paper: a small model is fine-tuned on the CoTs that a large one wrote; the question goes in, reasoning and answer
come out. Its teacher is told each solution, and wrong CoTs are dropped. Our choices: the bank's teachers are told it
only where their `prompt` holds {gold}, and nobody has judged the CoTs, so that the student learns their mistakes with
their skills (`rft` keeps the right ones, the arm `sft-right` of `realm experiment baselines` the guided ones among
them); questions take turns, and each time one of a question's CoTs is drawn by lot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.recipes.stage import Look, Recipe, Stage

if TYPE_CHECKING:
    from realm.config import Config


def stages(config: Config) -> list[Stage]:
    return [Stage("sft", 0, config.training.sft.steps, 0)]


RECIPE = Recipe(
    "sft",
    stages,
    {"training.sft.traces": ["bank", "fits"], "training.sft.empty_share": 1.0},
    shows_routes=False,
    look=Look("purple", "down"),
)
