"""`rft`: rejection sampling fine-tuning, supervised on the distinct right CoTs only (RFT, arXiv 2308.01825).

The paper: sample many CoTs, keep those whose answer is right, drop those that reason alike, fine-tune. There the
student samples; here the CoTs are the bank's, the same that every other recipe sees. Our choices: CoTs are alike where
question and text are equal; and as the paper knows no comments of experts, guided CoTs are not preferred, as the cold
start of realm-r1 and sft+grpo prefers them (the step `guided_first`). What RL adds to being taught those alone is
seen beside the arm `sft-right` of `realm experiment baselines`.
"""

from realm.recipes import sft
from realm.recipes.stage import Look, Recipe

RECIPE = Recipe(
    "rft",
    sft.RECIPE.stages,
    {"training.sft.traces": ["bank", "right", "fits", "distinct"], "training.sft.empty_share": 1.0},
    shows_routes=False,
    look=Look("yellow", "bar"),
)
