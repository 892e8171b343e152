#!/usr/bin/env bash
# inspect-ai 0.3.285: match(numeric=True) holds numbers for equal that share five digits, and makes numbers of operators.
#
# One would guess: "a number is matched as a number": 123456 is not 123458, what has no number is wrong or told apart, and
# a boxed answer is what is read. It is the scorer of GSM8K in inspect's tutorial and in inspect_evals.
# What happens: both numbers are printed with five significant digits and the strings compared, so from six digits on an
# answer that is off by less than a unit of the fifth may be right: slips in the last places of a long sum or product.
# "*", "_", "$" and "," are deleted first, as documented, for bold and currency: 3*6 is read as 36 and (3,4) as 34.
# A word is a number or is none: \boxed{17} is none, and the last plain number before it is graded instead, right where
# the question's last number is the key; 7/2 and 18km are none either. The newer math() has none of these faults.
# Why it matters: the errors of a small model are in the last digits. An accuracy on sums of six digits is not
# comparable with one by math() or by any other library, on the same log; one on boxed answers is neither.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check inspect-ai==0.3.285 latex2sympy2-extended==1.11.0 \
    2>/dev/null
"$work/venv/bin/python" - <<'PYTHON' 2>/dev/null | tee "$work/seen"
import asyncio
import random

from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Target, match, math
from inspect_ai.solver import TaskState

model = "mockllm/model"


async def scores(text, target):
    output = ModelOutput.from_content(model, text)
    state = TaskState(model=model, sample_id=1, epoch=1, input="", messages=[], output=output)
    return [await scorer(state, Target(target)) for scorer in (match(numeric=True), math())]


async def main():
    for text, target in (
        ("ANSWER: 123456", "123458"),
        ("ANSWER: 9,899,000", "9898957"),
        ("ANSWER: 3*6", "36"),
        ("ANSWER: (3,4)", "34"),
        ("7 of 24 are gone. ANSWER: $\\boxed{17}$", "24"),
        ("ANSWER: $\\boxed{17}$", "17"),
        ("ANSWER: 7/2", "3.5"),
        ("ANSWER: 18 km", "18"),
        ("ANSWER: 18km", "18"),
    ):
        of_match, of_math = await scores(text, target)
        print(f"{text:40} key {target:8} match {of_match.value} {of_match.answer!r:13} math {of_math.value}")
    draw = random.Random(0)
    for digits in (5, 6, 7, 8):
        right = [0, 0]
        for _ in range(100):
            key = draw.randrange(10 ** (digits - 1), 10**digits)
            wrong = key + draw.choice((-1, 1)) * draw.randrange(1, 10)
            for at, score in enumerate(await scores(f"ANSWER: {wrong}", str(key))):
                right[at] += score.value == "C"
        print(f"{digits} digits, last one wrong: right by match {right[0]}, by math {right[1]} of 100")


asyncio.run(main())
PYTHON
diff "$work/seen" - <<'SEEN'
ANSWER: 123456                           key 123458   match C '1.2346e+05'  math I
ANSWER: 9,899,000                        key 9898957  match C '9.899e+06'   math I
ANSWER: 3*6                              key 36       match C '36'          math I
ANSWER: (3,4)                            key 34       match C '34'          math I
7 of 24 are gone. ANSWER: $\boxed{17}$   key 24       match C '24'          math I
ANSWER: $\boxed{17}$                     key 17       match I ''            math C
ANSWER: 7/2                              key 3.5      match I ''            math C
ANSWER: 18 km                            key 18       match C '18'          math C
ANSWER: 18km                             key 18       match I ''            math C
5 digits, last one wrong: right by match 0, by math 0 of 100
6 digits, last one wrong: right by match 59, by math 0 of 100
7 digits, last one wrong: right by match 97, by math 0 of 100
8 digits, last one wrong: right by match 100, by math 0 of 100
SEEN
