"""`phi4-mini`: SFT, then pairs, then RL (Phi-4-Mini-Reasoning, arXiv 2504.21233).

The paper: mid-training on many distilled CoTs, SFT on fewer, better ones, DPO on pairs of right and wrong rollouts,
then RL with a verifiable reward. Its wrong rollouts are, as a review of the paper has it, those of the teacher that
would be thrown away else: the bank's, which is what `training.pairs.miner` has by default (`rollout` takes the
student's own). Our choices: one stage of SFT, no mid-training, and RL as in `grpo`.
"""

from realm.recipes import pairs
from realm.recipes.stage import Recipe, in_turn

RECIPE = Recipe("phi4-mini", in_turn("sft", "pairs", "rl"), pairs.RECIPE.settings, shows_routes=False)
