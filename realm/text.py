"""Numbers and lists in words, as terminals and documents show them.

The pages set the same figures with the spaces, dashes and minus signs of type (`realm.report.svg`).
"""

from __future__ import annotations

from collections.abc import Callable

#: What stands for a figure that there is none of.
NONE = "–"


def percent(share: float | None, digits: int = 1) -> str:
    """A share in [0, 1] as `71.2%`."""
    return NONE if share is None else f"{share:.{digits}%}"


def hundredths(share: float) -> str:
    """A share, or the difference of two, in per cent without the sign: `71.2`."""
    return f"{100 * share:.1f}"


def points(difference: float) -> str:
    """A difference of shares in points: `+22.9`."""
    return f"{100 * difference:+.1f}"


def between(low: float, high: float, form: Callable[[float], str] = hundredths) -> str:
    """An interval: `67.0 to 75.1`."""
    return f"{form(low)} to {form(high)}"


def clock(seconds: float) -> str:
    """A time that is counted on or down: `12:05 min`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
