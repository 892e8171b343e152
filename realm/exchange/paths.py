"""Dotted keys: what lies at one in a row, and what is left of a row without some of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

#: The keys from the row inwards; a number is a place in a list, `*` any place.
Path = tuple[str, ...]


class _Absent:
    """What `find` returns where there is nothing (None is something: JSON's null)."""


absent: Final = _Absent()


def find(value: Any, path: Path, star: int | None = None) -> Any:
    """What lies at a path, or `absent`. `star`: the place that `*` means."""
    for part in path:
        if isinstance(value, dict):
            if part not in value:
                return absent
            value = value[part]
        elif isinstance(value, list):
            place = star if part == "*" else int(part) if part.lstrip("-").isdecimal() else None
            if place is None or not -len(value) <= place < len(value):
                return absent
            value = value[place]
        else:
            return absent
    return value


def pruned(value: Any, paths: Sequence[Path]) -> Any:
    """A copy of a value without what lies at the paths and without what that leaves empty; None for nothing left."""
    if () in paths:
        return None
    if isinstance(value, dict):
        kept = {}
        for key, item in value.items():
            inner = [path[1:] for path in paths if path[0] == key]
            left = pruned(item, inner) if inner else item
            if left is not None or not inner:
                kept[key] = left
        return kept or None
    if isinstance(value, list):
        items = []
        touched = False
        for number, item in enumerate(value):
            inner = [path[1:] for path in paths if path[0] in (str(number), str(number - len(value)))]
            touched |= bool(inner)
            left = pruned(item, inner) if inner else item
            if left is not None or not inner:
                items.append(left)
        return items or None if touched else items
    return value
