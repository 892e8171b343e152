"""`grpo`: reinforcement learning on the questions alone, no CoT anywhere (DeepSeekMath, arXiv 2402.03300).

The paper: G completions a question, advantages relative to their group, clipping, a KL term. Our choices, the same for
every recipe with RL: the reward of MRPV at k = 0 (format and answer), so that a completion earns here what it earns in
the other recipes; no KL term (`training.rl.beta: 0`), and the loss is averaged over the tokens of the batch
(`loss_type: dapo`, arXiv 2503.14476), both as TRL has them by default. As TRL has it too, the KL term of a higher β is
the paper's estimate times the importance ratio, so that its gradient is that of the KL (arXiv 2512.02556).
"""

from realm.recipes.stage import Look, Recipe, in_turn

RECIPE = Recipe("grpo", in_turn("rl", again=False), shows_routes=False, look=Look("sky", "circle"), place=1)
