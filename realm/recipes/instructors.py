"""`instructors`: the teacher studies the student's own errors and writes examples for them (arXiv 2407.00497).

The paper (LLMs-as-Instructors): the student is tested, an instructor reads its errors and writes tailored training
data, the student is fine-tuned on them, and so on. Here it learns from the error alone. Our choices: each of
`training.rounds` is such a turn, of questions drawn by lot; how the teacher is asked, and what is done where no error
is found, is in `realm.traces.steps.tailored`.
"""

from realm.recipes.stage import Look, Recipe, in_turn

RECIPE = Recipe(
    "instructors",
    in_turn("sft"),
    {"training.sft.traces": ["tailored"], "training.sft.empty_share": 1.0},
    shows_routes=False,
    look=Look("orange", "hexagon"),
)
