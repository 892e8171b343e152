"""A worker that hands programs to Python itself: what stops them should the interpreter let all through."""

from __future__ import annotations

import sys
from typing import Any

from realm.tasks.workers import _PROGRAM_LIMITS, _serve


def _execute(program: str) -> tuple[str | None, str]:
    values: dict[str, Any] = {}
    try:
        exec(program, values)
    except BaseException as error:
        return None, type(error).__name__
    return str(values.get("answer")), ""


if __name__ == "__main__":
    _serve(_execute, float(sys.argv[3]), **_PROGRAM_LIMITS)
