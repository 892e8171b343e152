"""Numbers and lists in words, as terminals and documents show them.

The pages set the same figures with the spaces, dashes and minus signs of type (`realm.report.svg`).
"""

from __future__ import annotations

#: What stands for a figure that there is none of.
NONE = "–"


def percent(share: float | None, digits: int = 1) -> str:
    """A share in [0, 1] as `71.2%`."""
    return NONE if share is None else f"{share:.{digits}%}"


def clock(seconds: float) -> str:
    """A time that is counted on or down: `12:05 min`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
