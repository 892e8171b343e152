"""Values of JSON whose shape nobody promises, as the page of an experiment still reads its results."""

from __future__ import annotations

from typing import Any

#: Figures beyond this are no measurement of a run; left out, they cannot overflow the arithmetic of a chart.
_LARGEST = 1e15


def number(value: object) -> float | None:
    """`value` as a float; None for anything else (text, booleans, NaN, infinities, absurdly large numbers)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST <= value <= _LARGEST:
        return None
    return float(value)


def share(value: object) -> float | None:
    """`value` as a share in [0, 1]; None for anything else."""
    found = number(value)
    return found if found is not None and 0.0 <= found <= 1.0 else None


def whole(value: object, default: int = 0) -> int:
    """`value` as an int, `default` where it is not a number."""
    found = number(value)
    return default if found is None else int(found)


def text(value: object, default: str = "") -> str:
    """`value` if it is a string, else `default`."""
    return value if isinstance(value, str) else default


def mapping(value: object) -> dict[str, Any]:
    """`value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[dict[str, Any]]:
    """The JSON objects of the list `value`; empty where it is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
