"""`mrpv`: ReaLM without EAAI, routes in every prompt to the end (the ablation of arXiv 2508.12387).

The paper: several routes of unknown label in the prompt, and a reward in two stages, for the answer and, where it is
right, for the scores. Nothing asks for what the student can do without them. Our choice: it is `realm-zero` with a fade
that stands at p = 1, so that the two differ in the fade alone.
"""

from realm.recipes import realm_zero
from realm.recipes.stage import Look, Recipe

RECIPE = Recipe(
    "mrpv", realm_zero.RECIPE.stages, {"fade.schedule": "constant", "fade.p_start": 1.0}, look=Look("grey", "left")
)
