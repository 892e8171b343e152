"""The rows of a JSON or Parquet file or of a data set, one after the other, with their numbers."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from realm.errors import DataError
from realm.tasks.hub import dataset_rows, is_hub
from realm.tasks.json_rows import json_rows
from realm.tasks.tables import plain_table

#: The number of a row (from 1) and its content.
Row = tuple[int, Any]
#: Files that are taken for tables by others, and are none of ours.
_TABLES = frozenset({".csv", ".tsv", ".xls", ".xlsx", ".ods"})
_PACKED = frozenset({".gz", ".zst", ".bz2", ".xz", ".zip", ".tar", ".tgz", ".7z"})


def read_file(
    path: Path, bad: Callable[[DataError], None], progress: Callable[[int, int], None] | None = None
) -> Iterator[Row]:
    """The number (from 1; of a file with a row a line the line) and the content of each row, blank lines aside.

    `bad` is given the error of a line that is no JSON; it raises it or returns. `progress` is told how much of how
    much was read (bytes, or rows of a Parquet file). Raises `DataError` for a file that cannot be read at all.
    """
    if is_hub(path):
        yield from dataset_rows(path, progress or (lambda done, total: None))
        return
    if path.suffix.lower() in _TABLES and path.exists():
        raise DataError(f"{path}: expected a JSONL or Parquet file, found {path.suffix}; convert it to one of these.")
    if path.suffix.lower() in _PACKED and path.exists():
        raise DataError(f"{path}: expected a JSONL or Parquet file, found {path.suffix}; unpack it first.")
    reader = _parquet if path.suffix.lower() == ".parquet" else json_rows
    try:
        yield from reader(path, bad, progress or (lambda done, total: None))
    except OSError as error:
        raise DataError(
            f"{path}: expected a JSONL or Parquet file, cannot read it ({error.strerror or error}); check the path."
        ) from error


def _parquet(path: Path, bad: Callable[[DataError], None], progress: Callable[[int, int], None]) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            # One row group at a time: read in one go, memory grows with the file.
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(batch_size=256, row_groups=[group], use_threads=False):
                    for content in plain_table(batch).to_pylist():
                        number += 1
                        yield number, content
                    progress(number, file.metadata.num_rows)
    except (pyarrow.ArrowException, ValueError, OverflowError) as error:
        found = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: expected a Parquet file, cannot read it ({found}).") from error
