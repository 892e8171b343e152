"""`distill`: supervised fine-tuning on what `training.sft.traces` says, and nothing else (CoT distillation).

`sft` and `rft` with lists of steps of one's own; by default what the cold start of sft+grpo teaches: right CoTs, guided
ones where a question has such, without any route in the prompt.
"""

from realm.recipes import sft
from realm.recipes.stage import Recipe

RECIPE = Recipe(
    "distill",
    sft.RECIPE.stages,
    {"training.sft.empty_share": 1.0},
    shows_routes=False,
)
