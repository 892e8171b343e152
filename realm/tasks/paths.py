"""Dotted keys: what lies at one in a row, or at several, and what is left of a row without some of them."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from realm.errors import DataError
from realm.tasks.base import encodable

#: The keys from the row inwards; a number is a place in a list, `*` any place.
Path = tuple[str, ...]
#: The paths of one value: several are joined.
Place = tuple[Path, ...]
#: Names of the answers that a question lets one choose from.
CHOICE_NAMES = ("choices", "options")
_INDEX = re.compile(r"-?\d{1,9}", re.ASCII)
_LETTERED = re.compile(r"\W{0,2}[A-Za-z0-9]{1,2}\W")


class _Absent:
    """What `find` returns where there is nothing (None is something: JSON's null)."""


absent: Final = _Absent()


def plain(where: str, key: str, value: Any) -> str | None:
    """A text, or a number written out; None where there is none."""
    if value is None:
        return None
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    if not isinstance(value, str):
        raise DataError(f"{where}: expected `{key}` to be a text or a number, found {type(value).__name__}.")
    if key != "answer" and not encodable(value):
        raise DataError(f"{where}: `{key}` holds characters that UTF-8 cannot: {value!a:.60}.")
    return value


def find(value: Any, path: Path, star: int | None = None) -> Any:
    """What lies at a path, or `absent`; None for a NaN, as tables write what is missing. `star`: the place of `*`."""
    for part in path:
        if isinstance(value, dict):
            if part not in value:
                return absent
            value = value[part]
        elif isinstance(value, list):
            place = star if part == "*" else int(part) if _INDEX.fullmatch(part) else None
            if place is None or not -len(value) <= place < len(value):
                return absent
            value = value[place]
        else:
            return absent
    return None if isinstance(value, float | Decimal) and value != value else value


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


def place_of(text: str, keys: Sequence[str]) -> Place:
    """The paths that a mapping names in a row with these keys; a key may itself have dots or a +."""
    if text in keys:
        return ((text,),)
    parts = [part.strip() for part in text.split("+")]
    return tuple((part,) if part in keys else tuple(part.split(".")) for part in parts)


def name_of(place: Place) -> str:
    """A place as a mapping writes it."""
    return "+".join(".".join(path) for path in place)


def taken(row: Mapping[str, Any], where: str, place: Place, star: int | None = None) -> Any:
    """What lies at a place. Texts, numbers and lists of them at several paths are joined with blank lines, what is
    empty aside; None where all are. Raises `DataError` for anything else that is to be joined."""
    if len(place) == 1:
        return find(row, place[0], star)
    found = [(path, value) for path in place if (value := find(row, path, star)) is not absent]
    if not found:
        return absent
    parts = [_lines(where, path, value) for path, value in found]
    return "\n\n".join(part for part in parts if part.strip()) or None


def _lines(where: str, path: Path, value: Any) -> str:
    """A part of what is joined: a list line by line, choices with their letters."""
    name = ".".join(path)
    choices = not set(path).isdisjoint(CHOICE_NAMES)
    if choices and isinstance(value, dict) and isinstance(value.get("text"), list):
        value = value["text"]  # as ARC has them, with their labels in a list beside
    if choices and isinstance(value, dict):
        return "\n".join(f"{label}. {plain(where, name, line) or ''}" for label, line in value.items())
    if not isinstance(value, list):
        return plain(where, name, value) or ""
    lines = [plain(where, name, line) or "" for line in value]
    if choices and 1 < len(lines) <= 26 and not all(map(_LETTERED.match, lines)):
        lines = [f"{chr(ord('A') + number)}. {line}" for number, line in enumerate(lines)]
    return "\n".join(lines)
