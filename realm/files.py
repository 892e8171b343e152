"""Files that a run leaves behind: whole ones replaced atomically, JSONL that is only appended to.

A line of a JSONL file is written at once and ends in a newline. A line without one was torn by an interruption: it is
work still owed, so readers leave it out and the next writer cuts it off. (In a run's own files it stays where it is a
whole record all the same; a bank's and a ledger's are cut without looking.) What the disk refuses (full, read-only, no
permission) becomes a `ResourceError`.
"""

import errno
import json
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from realm.errors import DataError, ResourceError, UserError

_LOG = logging.getLogger(__name__)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses while `path` is written into a `ResourceError` that names it.

    Libraries that save weights hide the errno in a message of their own exception; a full disk is recognised there too.
    """
    try:
        yield
    except OSError as error:
        raise _refused(path, error) from error
    except UserError:
        raise
    except Exception as error:
        for text, code in (("No space left", errno.ENOSPC), ("File too large", errno.EFBIG)):
            if text in str(error):
                raise _refused(path, OSError(code, os.strerror(code))) from error
        raise


def _refused(path: Path, error: OSError) -> ResourceError:
    advice = {
        errno.ENOSPC: "Free some space or choose another folder.",
        errno.EFBIG: "Raise the limit on the size of files (ulimit -f) or choose another folder.",
        errno.EDQUOT: "Free some of your quota or choose another folder.",
    }.get(error.errno or 0, "Mend that or choose another folder.")
    return ResourceError(f"{path}: cannot write ({error.strerror or error}). {advice}")


def write_atomic(path: Path, text: str) -> None:
    """Write a whole UTF-8 text file so that a reader sees the old one or the new one, never a part.

    Raises:
        ResourceError: the disk refuses; the old file is untouched.
    """
    with writing(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode("utf-8", "replace"))
                file.flush()
                os.fsync(file.fileno())
            # mkstemp gives 0600; a result is meant to be read by others as far as the umask allows.
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A place for the files of a folder, which appears whole when the block ends, or not at all.

    Raises:
        ResourceError: it is there already, with something in it, or the disk refuses.
    """
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        raise ResourceError(f"{folder}: is there already. Choose another folder, or remove it first.")
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    try:
        yield made
        with writing(folder):
            mask = os.umask(0)
            os.umask(mask)
            made.chmod(0o777 & ~mask)  # mkdtemp gives 0700
            made.replace(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def to_line(record: dict[str, Any]) -> str:
    """One JSON line. NaN and infinities become null (JSON has none), numpy and torch scalars plain numbers."""
    return json.dumps(_plain(record), ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if not isinstance(value, str | bool | int | float | None) and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def append_jsonl(path: Path, *records: dict[str, Any]) -> None:
    """Append one line a record and flush them; a torn last line of an earlier process is cut off first.

    Raises:
        ResourceError: the disk refuses.
    """
    lines = "".join(map(to_line, records)).encode("utf-8", "replace")
    with writing(path), path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                _mend(path)
        file.write(lines)


def _mend(path: Path) -> None:
    """End the last line with a newline if it is whole, else cut it off."""
    whole, _, last = path.read_bytes().rpartition(b"\n")
    if _record(last) is None:
        os.truncate(path, len(whole) + 1 if whole else 0)
    else:
        with path.open("ab") as file:
            file.write(b"\n")


def open_mended(path: Path) -> FileIO:
    """A file to append whole lines to, unbuffered; a torn last line of an earlier process is cut off first."""
    file = path.open("a+b", buffering=0)
    end = file.seek(0, os.SEEK_END)
    position, whole = end, 0
    while position > 0:
        start = max(0, position - (1 << 16))
        file.seek(start)
        found = file.read(position - start).rfind(b"\n")
        if found >= 0:
            whole = start + found + 1
            break
        position = start
    if whole < end:
        file.truncate(whole)
    file.seek(0, os.SEEK_END)
    return file


def write_all(file: FileIO, content: bytes) -> None:
    """Write to an unbuffered file, which may take less at a time. Raises `OSError`."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that have their ends, with their numbers from 1; a torn last line is left out and told.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield number, line
                else:
                    _LOG.warning("%s:%d: a torn last line is left out", path, number)
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror or error}).") from error


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The records of a JSONL file; a torn last line is left out, blank lines are passed over.

    Raises:
        DataError: the file cannot be read, or a line other than the last is not a JSON object.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror}).") from error
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = _record(line)
        if record is not None:
            records.append(record)
        elif number < len(lines):
            raise DataError(f"{path}:{number}: expected one JSON object on the line; remove or mend it.")
    return records


def fresh(file: Path, overwrite: bool) -> None:
    """Make sure that a result is not replaced unasked.

    Raises:
        ResourceError: `file` exists and `overwrite` is not set.
    """
    if (file.exists() or file.is_symlink()) and not overwrite:
        raise ResourceError(f"{file}: is there already. Choose another place with --out, or give --overwrite.")
