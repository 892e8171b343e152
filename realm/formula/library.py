"""Sums, integrals, limits and determinants are compared by math-verify, whose True is looked at again."""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from realm.formula.expressions import Value
from realm.formula.values import NoScalarError

_FUNCTIONS = {"abs": "|{}|", "sqrt": r"\sqrt{{{}}}", "factorial": "({})!", "floor": r"\lfloor {} \rfloor"}


def _latex(value: Value) -> str:
    """A scalar as LaTeX, with every group in brackets so that it can be read in one way only."""
    kind, parts = value[0], [_latex(part) for part in value[1:] if isinstance(part, tuple)]
    if kind == "num":
        number: Fraction = value[1]
        shown = str(number) if number.denominator == 1 else rf"\frac{{{number.numerator}}}{{{number.denominator}}}"
        return shown if number.denominator == 1 else f"({shown})"
    if kind in ("const", "sym"):
        return {"pi": r"\pi", "oo": r"\infty"}.get(value[1], value[1] if len(value[1]) == 1 else rf"\{value[1]}")
    if kind == "opaque":
        return f"({value[1]})"
    if kind == "fn" and value[1] in _FUNCTIONS:
        return f"({_FUNCTIONS[value[1]].format(*parts)})"
    if kind == "fn" and len(parts) == 1:
        return rf"(\{re.sub('^a(?=sin|cos|tan)', 'arc', value[1])}({parts[0]}))"
    forms: dict[str, Callable[[], str]] = {
        "add": lambda: f"({' + '.join(parts)})",
        "mul": lambda: f"({parts[0]} \\cdot {parts[1]})",
        "div": lambda: rf"(\frac{{{parts[0]}}}{{{parts[1]}}})",
        "neg": lambda: f"(-{parts[0]})",
        "pow": lambda: f"({parts[0]})^{{{parts[1]}}}",
    }
    if kind not in forms:
        raise NoScalarError(f"no LaTeX for {kind}")
    return forms[kind]()


def same_by_library(gold: Value, answer: Value) -> bool:
    """Whether math-verify calls two scalars equal, and they agree at 50 digits.

    Raises `NoScalarError` for what it cannot read or work out.
    """
    from math_verify import LatexExtractionConfig, parse, verify

    def read(value: Value) -> Any:
        # LaTeX only: math-verify's reader of plain expressions hands the text to sympy's parser, which evaluates it.
        found = parse(
            f"${_latex(value)}$",
            [LatexExtractionConfig(boxed_match_priority=-1)],
            fallback_mode="no_fallback",
            extraction_mode="first_match",
            parsing_timeout=None,
            raise_on_error=True,
        )
        if len(found) != 1:
            raise NoScalarError("not a formula")
        return found[0]

    try:
        one, two = read(gold), read(answer)
        # The library's own limits of time rest on SIGALRM: a process stops it instead.
        same = verify(one, two, float_rounding=12, timeout_seconds=None, raise_on_error=True)
        return bool(same) and all(_agree_at(one, two, point) for point in (3, 7, 12))
    except (MemoryError, RecursionError, NoScalarError):
        raise
    except Exception as error:
        # What the library cannot read or work out (a sum that diverges) raises whatever it happens to.
        raise NoScalarError(str(error)[:100]) from error


def _agree_at(one: Any, two: Any, point: int) -> bool:
    """Whether two expressions of sympy agree to 30 digits of 50, with whole numbers for the variables."""
    names = sorted(one.free_symbols | two.free_symbols, key=str)
    values = {name: point + 2 * at for at, name in enumerate(names)}
    first, second = (side.subs(values).doit().evalf(50, chop=False) for side in (one, two))
    if not (first.is_number and second.is_number):
        return False
    return bool(abs(first - second) <= max(abs(first), abs(second)) * Fraction(1, 10**30))
