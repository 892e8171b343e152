#!/usr/bin/env bash
# math-verify 0.9.0 (latex2sympy2_extended 1.11.0, sympy 1.14.0) calls unequal values equal where they are small, or
# where a part of them is.
#
# One would guess: two numbers are equal where they agree in the digits that the settings ask for (float_rounding,
# 6 by default; numeric_precision, 15), and two rationals where they are the same.
# What happens: the difference of the two is evaluated by sympy with chop=True, which zeroes small *parts* of an
# unevaluated expression while it is worked out: 1/98! and 1/97! both become 0, so that 100!/98! (9900) equals 100!/97!
# (970 200), and 6^-30 goes the same way. Where rationals can be compared as such they are: 1/6^20 is not 1/6^21.
# Raising float_rounding to 30 changes none of it.
# Why it matters: physical constants and probabilities are answers; a reward that rests on this pays for wrong ones.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    math-verify==0.9.0 latex2sympy2_extended==1.11.0 antlr4-python3-runtime==4.13.2 sympy==1.14.0 2>/dev/null
"$work/venv/bin/python" - <<'PYTHON' | tee "$work/seen"
from math_verify import parse, verify

PAIRS = [
    (r"$1.38 \times 10^{-23}$", r"$6.63 \times 10^{-34}$"),
    (r"$\frac{5^{30}}{6^{30}}$", r"$\frac{5^{30}}{6^{31}}$"),
    (r"$\frac{100!}{98!}$", r"$\frac{100!}{97!}$"),
    (r"$\frac{1}{6^{20}}$", r"$\frac{1}{6^{21}}$"),
]
for gold, answer in PAIRS:
    print(gold, answer, verify(parse(gold), parse(answer)), verify(parse(gold), parse(answer), float_rounding=30))
PYTHON
diff "$work/seen" - <<'SEEN'
$1.38 \times 10^{-23}$ $6.63 \times 10^{-34}$ True True
$\frac{5^{30}}{6^{30}}$ $\frac{5^{30}}{6^{31}}$ True True
$\frac{100!}{98!}$ $\frac{100!}{97!}$ True True
$\frac{1}{6^{20}}$ $\frac{1}{6^{21}}$ False False
SEEN
