"""`realm-r1`: an SFT cold start on the surface of MRPV, then RL with fading routes (ReaLM, arXiv 2508.12387).

The paper: CoTs distilled with the experts' comments start the student off; SFT and RL can alternate
(`training.rounds`). Our choices: what the examples look like (`realm.training.sft`), and a share of them without any
route (`training.sft.empty_share`).
"""

from realm.recipes.stage import Look, Recipe, in_turn

RECIPE = Recipe("realm-r1", in_turn("sft", "rl", routes=True), look=Look("green", "diamond"), place=3)
