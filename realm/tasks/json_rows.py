"""The rows of a JSON file: one object a line, one array of objects, or one object that holds such an array."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from realm.errors import DataError

#: Keys of a file that is one object under which its rows may lie.
HOLDERS = ("data", "rows", "train", "examples", "instances", "items", "results", "samples")
_CHUNK = 1 << 20
#: A first line longer than this is a torn row, not the start of an object over several lines.
_OPENING = 200
_TOKEN = re.compile(rb'["\[\]{},]')
_STRING = re.compile(rb'["\\]')


def json_rows(
    path: Path, bad: Callable[[DataError], None], progress: Callable[[int, int], None] | None = None
) -> Iterator[tuple[int, Any]]:
    """The number (from 1; of a file with a row a line the line) and the content of each row, blank lines aside.

    Memory does not grow with the file, but for one object that holds an array. NaN and infinities are read as null.
    `bad` is given the error of what is no JSON; it raises it or returns. `progress` is told how many bytes of how many
    were read. Raises `OSError` as `open` does.
    """
    tell = progress or (lambda done, total: None)
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(4096)
        mark = 3 if start.startswith(b"\xef\xbb\xbf") else 0
        file.seek(mark)
        if start[mark:].lstrip()[:1] == b"[":
            for number, text in enumerate(_elements(file), start=1):
                yield from _read(path, number, text, bad, "entry of the array")
                tell(file.tell(), size)
            return
        done = mark
        for number, line in enumerate(file, start=1):
            done += len(line)
            if not line.strip():
                continue
            if number == 1 and _opens(line):
                file.seek(mark)
                yield from _unwrapped(path, file.read(), bad)
                return
            found = list(_read(path, number, line, bad))
            held = _held(found[0][1]) if found and number == 1 else None
            if held is not None and not file.read(_CHUNK).strip():
                found = list(enumerate(held, start=1))
            elif held is not None:
                file.seek(done)
            yield from found
            tell(done, size)


def _parsed(text: bytes) -> Any:
    return json.loads(text.decode("utf-8"), parse_constant=lambda name: None)


def _read(
    path: Path, number: int, text: bytes, bad: Callable[[DataError], None], what: str = "line"
) -> Iterator[tuple[int, Any]]:
    """The row in a text, if it is one."""
    try:
        yield number, _parsed(text)
    except (ValueError, RecursionError) as error:
        found = "cut off or not JSON" if isinstance(error, json.JSONDecodeError) else f"not readable ({error})"
        bad(DataError(f"{path}:{number}: expected one JSON object, the {what} is {found}; mend or remove it."))


def _opens(line: bytes) -> bool:
    """Whether a first line begins an object that goes on below it."""
    line = line.strip()
    return len(line) < _OPENING and line.startswith(b"{") and line.endswith((b"{", b"[", b","))


def _unwrapped(path: Path, text: bytes, bad: Callable[[DataError], None]) -> Iterator[tuple[int, Any]]:
    """The rows of one object over several lines; itself, where it holds none."""
    for number, content in _read(path, 1, text, bad):
        held = _held(content)
        yield from [(number, content)] if held is None else enumerate(held, start=1)


def _held(content: Any) -> list[Any] | None:
    """The one list of objects that an object holds under a name for rows; None for any other."""
    if not isinstance(content, dict):
        return None
    lists = [content[name] for name in HOLDERS if isinstance(content.get(name), list) and content[name]]
    lists = [found for found in lists if all(isinstance(row, dict) for row in found)]
    # An object that has a question is a row, whatever else it holds.
    row = any(isinstance(content.get(name), str) for name in ("question", "problem", "prompt"))
    return lists[0] if len(lists) == 1 and not row else None


def _elements(file: BinaryIO) -> Iterator[bytes]:
    """The texts of an array's elements, the last one unfinished where the file is; in linear time."""
    depth, quoted, skip, ended = 0, False, False, False
    parts: list[bytes] = []
    while chunk := file.read(_CHUNK):
        start = at = 0
        if skip:
            at, skip = 1, False
        while True:
            match = (_STRING if quoted else _TOKEN).search(chunk, at)
            if match is None:
                break
            at = match.end()
            token = match[0]
            if token == b"\\":
                skip = at == len(chunk)
                at += 1
            elif token == b'"':
                quoted = not quoted
            elif token in b"[{":
                depth += 1
                if depth == 1 and not ended:
                    start = at
            elif depth == 1 and not ended and token != b"}":
                # A comma or the end of the array; an element before it is whole.
                parts.append(chunk[start : match.start()])
                text = b"".join(parts)
                parts, start = [], at
                if text.strip() or token == b",":
                    yield text
                ended = token != b","
                depth -= ended
            elif token in b"]}" and depth > 1:
                depth -= 1
        parts.append(chunk[start:])
    rest = b"".join(parts).strip()
    if rest or not ended:
        # Cut off, or something behind the array: either way no JSON.
        yield b"[" + rest
