"""Appending rows to the files of a bank, so that a kill at any moment leaves whole lines."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, Self

from realm.bank.cot import CoT, to_record
from realm.errors import ResourceError
from realm.files import open_mended, write_all, writing
from realm.tasks.base import as_utf8


class BankWriter:
    """Appends to a bank's files; a context manager. What `write` returned from is in the file, kill or no kill.

    `changed` is called at the end if anything was written.
    """

    def __init__(self, path: Path, changed: Callable[[], None] = lambda: None) -> None:
        self._path, self._changed, self._written = path, changed, False
        with writing(path):
            self._cots = open_mended(path / "cots.jsonl")
            self._labels = open_mended(path / "labels.jsonl")

    def write(self, cots: Iterable[CoT], *, sync: bool = False) -> None:
        """Append CoTs; with `sync` they are safe from a power failure too. Raises `ResourceError`."""
        self._put(self._cots, map(to_record, cots), sync)

    def write_labels(self, labels: Iterable[tuple[CoT, int | None, str]], *, sync: bool = False) -> None:
        """Append verdicts: the CoT, its label, and the verifier's reason. Raises `ResourceError`."""
        rows = (
            {"id": cot.id, "question_id": cot.question_id, "label": label, "reason": as_utf8(reason)}
            for cot, label, reason in labels
        )
        self._put(self._labels, rows, sync)

    def _put(self, file: FileIO, rows: Iterable[dict[str, Any]], sync: bool) -> None:
        content = b"".join(map(to_bytes, rows))
        self._written |= bool(content)
        with writing(self._path):
            write_all(file, content)
            if sync:
                os.fsync(file.fileno())

    def close(self) -> None:
        """Close the files; an empty `labels.jsonl` goes."""
        for file in (self._cots, self._labels):
            with suppress(OSError):
                file.close()
        labels = self._path / "labels.jsonl"
        with suppress(OSError):
            if labels.stat().st_size == 0:
                labels.unlink()
        if self._written:
            self._written = False
            # The rows are safe; a disk without room for this has told so already, or will at the next write.
            with suppress(ResourceError):
                self._changed()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def to_bytes(row: Mapping[str, Any]) -> bytes:
    """A row as its line in UTF-8."""
    return json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n"
