"""`preflexor`: ORPO on the bank's pairs, then DPO on the student's own with the thinking masked (arXiv 2410.12375).

The paper (PRefLexOR): ORPO teaches to reason between thinking tokens; then DPO on rejection samples that are made in
training, with the reasoning steps masked, so that how it thinks is the student's own affair. It writes its questions
itself, from text, and reflects at inference. Our choices: the training questions, `training.pairs.steps` of each stage,
pairs sampled once before the second, and neither new questions nor reflection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.recipes.stage import Recipe, Stage

if TYPE_CHECKING:
    from realm.config import Config


def stages(config: Config) -> list[Stage]:
    steps = config.training.pairs.steps
    return [
        Stage("pairs", 0, steps, 0, settings={"loss": "orpo"}),
        Stage("pairs", 1, steps, 0, settings={"loss": "dpo", "learned": "answer", "miner": "rollout"}),
    ]


RECIPE = Recipe("preflexor", stages, shows_routes=False)
