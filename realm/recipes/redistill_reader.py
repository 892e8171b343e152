"""`redistill-reader`: the untrained student reads the bank's routes once, and learns what it then writes right.

Ours, after re-distillation (arXiv 2505.17988): the policy that writes the lessons is the base with routes in its
prompt, in the place of one after RL. Its right completions, none that speaks of a route, are taught without routes.
With other options, or other steps behind them: `distill` and a list of one's own.
"""

from realm.recipes import sft
from realm.recipes.stage import Recipe

RECIPE = Recipe(
    "redistill-reader",
    sft.RECIPE.stages,
    {"training.sft.traces": [{"student": {"routes": True}}, "right", "fits"], "training.sft.empty_share": 1.0},
    shows_routes=False,
)
