"""`instructors-contrast`: as `instructors`, but the teacher sees a right response beside the student's error.

The paper (LLMs-as-Instructors, arXiv 2407.00497) calls it learning from error by contrast. Our choices are those of
`instructors`, and one more: the right response is a positive CoT of the bank, so that this recipe needs the bank's
teacher tokens besides its own.
"""

from realm.recipes import instructors
from realm.recipes.stage import Look, Recipe

RECIPE = Recipe(
    "instructors-contrast",
    instructors.RECIPE.stages,
    {**instructors.RECIPE.settings, "training.sft.traces": [{"tailored": {"contrast": True}}]},
    shows_routes=False,
    look=Look("orange", "flat", broken=True),
)
