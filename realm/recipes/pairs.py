"""`pairs`: SFT, then learning from pairs of a right and a wrong CoT (RLAIF-DPO, arXiv 2510.20059; 2405.00402).

The fairest rival of learning from wrong CoTs as routes: the same bank, wrong CoTs and all, and no route in any prompt.
The papers: pairs of right and wrong CoTs for DPO, of a teacher and the student, or (Self-Refine Instruction-Tuning) of
the student's own behind SFT on a teacher's. Our choices: the SFT is the cold start of sft+grpo, and none where
`training.sft.steps` is 0; what finds the pairs is `training.pairs.miner`, the loss `training.pairs.loss`.
"""

from realm.recipes.stage import Recipe, in_turn

RECIPE = Recipe("pairs", in_turn("sft", "pairs"), {"training.sft.empty_share": 1.0}, shows_routes=False)
