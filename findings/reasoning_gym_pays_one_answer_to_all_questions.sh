#!/usr/bin/env bash
# reasoning-gym 0.1.25: in three of its tasks one answer, written without reading the question, is paid in full.
#
# One would guess: "algorithmically verifiable" means that each reward is held against its question, and 1.0 says right.
# What happens: puzzle24 looks whether the expression is 24 and has four numbers of the allowed range, not whether they
# are those of the question (it also cuts decimals off: 24.9 is 24). game_of_life_halting compares the truth of two
# strings, and "False" is a true one: every answer of at least one letter is right. coin_flip pays the share of digits
# that two decimals begin with alike, over the shorter of the two: "0" is right wherever the answer begins with it.
# game_of_life pays by cells, so that the empty board has 0.96 where an eighth of the boards ends empty.
# Why it matters: such an answer is short and never wrong. RL that comes upon it has a reward of 1.0 to show, no
# advantage left to learn from, and a student that does not read. As a test of models the first two say nothing at all.
# A constant answer is a baseline that costs nothing to score before a task is trained on; these four need own rewards.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check reasoning-gym==0.1.25 sympy==1.14.0 2>/dev/null
"$work/venv/bin/python" - <<'PYTHON' 2>/dev/null | tee "$work/seen"
import json

from reasoning_gym import create_dataset

empty = json.dumps([[0] * 10] * 10)
for name, answer in (
    ("puzzle24", "8*3*1*1"),
    ("puzzle24", "8*3 + 9/10"),
    ("game_of_life_halting", "False"),
    ("game_of_life_halting", "I cannot tell."),
    ("coin_flip", "0"),
    ("coin_flip", "0.3"),
    ("game_of_life", empty),
    ("chain_sum", "100"),
):
    tasks = create_dataset(name, seed=1, size=200)
    rewards = [tasks.score_answer(answer, row) for row in tasks]
    right = sum(str(row["answer"]).replace(" ", "") == answer.replace(" ", "") for row in tasks)
    told = "the empty board" if answer is empty else answer
    paid = sum(reward == 1 for reward in rewards)
    print(f"{name:20} {told:17} mean reward {sum(rewards) / 200:.2f}, in full {paid}, is the key of {right} of 200")
PYTHON
diff "$work/seen" - <<'SEEN'
puzzle24             8*3*1*1           mean reward 1.00, in full 200, is the key of 0 of 200
puzzle24             8*3 + 9/10        mean reward 1.00, in full 200, is the key of 0 of 200
game_of_life_halting False             mean reward 1.00, in full 200, is the key of 108 of 200
game_of_life_halting I cannot tell.    mean reward 1.00, in full 200, is the key of 0 of 200
coin_flip            0                 mean reward 0.94, in full 187, is the key of 0 of 200
coin_flip            0.3               mean reward 0.63, in full 14, is the key of 0 of 200
game_of_life         the empty board   mean reward 0.96, in full 25, is the key of 25 of 200
chain_sum            100               mean reward 0.02, in full 0, is the key of 0 of 200
SEEN
