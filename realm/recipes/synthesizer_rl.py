"""`synthesizer-rl`: `synthesizer` with GRPO in the place of supervised learning (our variant; see there).

Routes in every prompt to the end, paid for the format and the answer: MRPV without the scores and without the fade.
"""

from realm.recipes import mrpv
from realm.recipes.stage import Look, Recipe

RECIPE = Recipe(
    "synthesizer-rl",
    mrpv.RECIPE.stages,
    {**mrpv.RECIPE.settings, "prompt.judge": False},
    look=Look("blue", "hourglass", broken=True),
)
