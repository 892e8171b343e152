"""`pairs`: SFT, then learning from pairs of a right and a wrong CoT (RLAIF-DPO, arXiv 2510.20059; 2405.00402).

The fairest rival of learning from wrong CoTs as routes: the same bank, wrong CoTs and all, and no route in any prompt.
The papers: pairs of right and wrong CoTs for DPO, of a teacher and the student, or (Self-Refine Instruction-Tuning) of
the student's own behind SFT on a teacher's. Our choices: the SFT is the cold start of sft+grpo, and none where
`training.sft.steps` is 0; what finds the pairs is `training.pairs.miner`, the loss `training.pairs.loss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.recipes.stage import Recipe, Stage

if TYPE_CHECKING:
    from realm.config import Config


def stages(config: Config) -> list[Stage]:
    """`training.rounds` repeat both."""
    training, found = config.training, []
    for round_ in range(training.rounds):
        if training.sft.steps:
            found.append(Stage("sft", round_, training.sft.steps, 0))
        found.append(Stage("pairs", round_, training.pairs.steps, 0))
    return found


RECIPE = Recipe("pairs", stages, {"training.sft.empty_share": 1.0}, shows_routes=False)
