"""`realm-zero`: RL with fading routes from the given student at once (ReaLM, arXiv 2508.12387: MRPV and EAAI).

The paper: the student is shown several CoTs, right and wrong ones unmarked, is paid for its answer and for judging
them, and sees them less and less. Our choices: the rewards' weights, routes kept one by one with probability p, and the
same ones for a whole group (docs/paper.md says where each is).
"""

from realm.recipes.stage import Look, Recipe, in_turn

RECIPE = Recipe("realm-zero", in_turn("rl", routes=True, again=False), look=Look("vermillion", "triangle"), place=2)
