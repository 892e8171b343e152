#!/usr/bin/env bash
# TRL 1.16.0's accuracy_reward (math-verify 0.9.0, latex2sympy2_extended 1.11.0, sympy 1.14.0) rewards wrong answers for
# keys of MATH-500, and does not reward the key's own text, boxed.
#
# One would guess: a key as the dataset has it, such as \frac{1}{3} in the example of the function's documentation, is
# read, or skipped; who says what the key says is right, and certainly where the key stands between dollar signs.
# What happens: a key without a sign of LaTeX around it (MATH-500's have none) is searched for numbers, and one of them
# is taken: 3\sqrt{13} is 3, 6 - 5i is 5, (-\infty, 0] is 0. That answer gets 1, the right one 0. The example works
# because the search knows \frac{a}{b}. Between dollar signs a key is read whole; but answers are read by other rules
# than keys: \frac43 and 11\sqrt2, which LaTeX typesets, are refused for want of braces, though the key has none either.
# Of all 500 keys, as they are, 57 pay 0 to their own text and 51 are skipped; between dollar signs 8 pay 0.
# reasoning_accuracy_reward reads in the same way.
# Why it matters: a student that is right never hears of it, and one that gives a number out of the answer is paid. What
# is lost is not random, it is all that is no plain number; and the mean of the rewards looks plausible.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0 math-verify==0.9.0 \
    latex2sympy2_extended==1.11.0 antlr4-python3-runtime==4.13.2 sympy==1.14.0 2>/dev/null
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps trl==1.16.0 2>/dev/null  # no model is needed
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - 2>/dev/null <<'PYTHON' | tee "$work/seen"
from trl.rewards import accuracy_reward


def reward(key, answer):
    said = [[{"role": "assistant", "content": rf"The answer is \boxed{{{answer}}}."}]]
    return accuracy_reward(said, [key])[0]


print("key of MATH-500                  its own text: as it is, in $  |  wrong, and its reward")
for key, wrong in (
    (r"\frac{14}{3}", "14"),
    (r"\frac43", "4"),
    (r"\frac 59", "59"),
    (r"11\sqrt2", "11"),
    (r"3\sqrt{13}", "3"),
    ("6 - 5i", "5"),
    (r"\left( 3, \frac{\pi}{2} \right)", "3"),
    (r"(-\infty, 0]", "0"),
    ("1,-2", "1"),
    (r"12\pi", "12"),
    (r"\text{Evelyn}", "Carla"),
    (r"\frac{\sqrt{3}}{3}", "3"),
):
    own = reward(key, key), reward(f"${key}$", key)
    print(f"{key:33}{own[0]!s:>20}  {own[1]!s:>5}  |  {wrong:5}  {reward(key, wrong)}")
PYTHON
diff "$work/seen" - <<'SEEN'
key of MATH-500                  its own text: as it is, in $  |  wrong, and its reward
\frac{14}{3}                                      1.0    1.0  |  14     0.0
\frac43                                          None    0.0  |  4      None
\frac 59                                          0.0    0.0  |  59     1.0
11\sqrt2                                          0.0    0.0  |  11     1.0
3\sqrt{13}                                        0.0    1.0  |  3      1.0
6 - 5i                                            0.0    1.0  |  5      1.0
\left( 3, \frac{\pi}{2} \right)                   0.0    1.0  |  3      1.0
(-\infty, 0]                                      0.0    1.0  |  0      1.0
1,-2                                              0.0    1.0  |  1      1.0
12\pi                                             0.0    1.0  |  12     1.0
\text{Evelyn}                                    None    1.0  |  Carla  None
\frac{\sqrt{3}}{3}                               None    1.0  |  3      None
SEEN
