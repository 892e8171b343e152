"""`sft`: supervised fine-tuning on the CoTs of the bank, right or wrong (CoT distillation, arXiv 2212.08410).

The paper: a small model is fine-tuned on the CoTs that a large one wrote; the question goes in, reasoning and answer
come out. Its teacher is told each solution, and wrong CoTs are dropped. Our choices: the bank's teachers are told it
only where their `prompt` holds {gold}, and nobody has judged the CoTs, so that the student learns their mistakes with
their skills (`rft` keeps the right ones, the arm `sft-right` of `realm experiment baselines` the guided ones among
them); questions take turns, and each time one of a question's CoTs is drawn by lot.
"""

from realm.recipes.stage import Look, Recipe, in_turn

RECIPE = Recipe(
    "sft",
    in_turn("sft", again=False),
    {"training.sft.traces": ["bank", "fits"], "training.sft.empty_share": 1.0},
    shows_routes=False,
    look=Look("purple", "down"),
)
