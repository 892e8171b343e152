"""The rows of a JSONL or Parquet file, one after the other, with their numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from realm.errors import DataError

#: The number of a row (from 1) and its content.
Row = tuple[int, Any]
#: Files that are taken for tables by others, and are none of ours.
_TABLES = frozenset({".csv", ".tsv", ".xls", ".xlsx", ".ods"})


def read_file(
    path: Path, bad: Callable[[DataError], None], progress: Callable[[int, int], None] | None = None
) -> Iterator[Row]:
    """The number (from 1; of a JSONL file the line) and the content of each row, blank lines aside.

    `bad` is given the error of a line that is no JSON; it raises it or returns. `progress` is told how much of how
    much was read (bytes, or rows of a Parquet file). Raises `DataError` for a file that cannot be read at all.
    """
    if path.suffix.lower() in _TABLES and path.exists():
        raise DataError(f"{path}: expected a JSONL or Parquet file, found {path.suffix}; convert it to one of these.")
    reader = _parquet if path.suffix.lower() == ".parquet" else _jsonl
    try:
        yield from reader(path, bad, progress or (lambda done, total: None))
    except OSError as error:
        raise DataError(
            f"{path}: expected a JSONL or Parquet file, cannot read it ({error.strerror or error}); check the path."
        ) from error


def _jsonl(path: Path, bad: Callable[[DataError], None], progress: Callable[[int, int], None]) -> Iterator[Row]:
    done, size = 0, path.stat().st_size
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            done += len(line)
            if not line.strip():
                continue
            try:
                content = json.loads(
                    line.decode("utf-8-sig" if number == 1 else "utf-8"), parse_constant=lambda name: None
                )
            except (ValueError, RecursionError) as error:
                what = "cut off or not JSON" if isinstance(error, json.JSONDecodeError) else f"not readable ({error})"
                bad(DataError(f"{path}:{number}: expected one JSON object, the line is {what}; mend or remove it."))
                continue
            yield number, content
            progress(done, size)


def _parquet(path: Path, bad: Callable[[DataError], None], progress: Callable[[int, int], None]) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            # One row group at a time: read in one go, memory grows with the file.
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(batch_size=256, row_groups=[group], use_threads=False):
                    for content in batch.to_pylist():
                        number += 1
                        yield number, content
                    progress(number, file.metadata.num_rows)
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a Parquet file, cannot read it ({str(error).splitlines()[0]}).") from error
