"""Functions of others in place of the method's own: what they are called, and that they give what they may."""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any


class OutsideError(ValueError):
    """A function of others gives what it may not. One line, without a full stop."""


def called(function: Callable[..., Any]) -> str:
    """Where a function is found: `module:name`."""
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{function.__module__}:{name}"


def share(value: Any, what: str, function: Callable[..., Any], at: str) -> float:
    """The value as a number in [0, 1]; raises `OutsideError`, which names `what` it is, the function and where `at`."""
    found = float(value) if isinstance(value, Real) else math.nan
    if not 0 <= found <= 1:
        raise OutsideError(f"the {what} {called(function)} gave {value!r:.80} at {at}, expected a number in [0, 1]")
    return found
