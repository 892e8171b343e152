"""`sft+grpo`: the cold start of realm-r1 without any route, then plain GRPO: the fair rival of realm-r1.

No paper's: we add it because realm-r1 has both stages, and a baseline with one of them alone would flatter it. Both
see the same right CoTs (guided ones where a question has such) for the same steps and rounds, so that a difference
between them is what routes and their fading add.
"""

from realm.recipes.stage import Look, Recipe, in_turn

RECIPE = Recipe(
    "sft+grpo",
    in_turn("sft", "rl"),
    {"training.sft.empty_share": 1.0},
    shows_routes=False,
    look=Look("purple", "bowtie", broken=True),
)
