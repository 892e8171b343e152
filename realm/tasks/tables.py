"""Tables: the rows of a CSV file with a header as the objects that a JSONL file would hold, and those of Arrow."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from realm.errors import DataError

#: Characters one cell may have; Python's own limit is 131 072.
CELL_LIMIT = 16 << 20


def csv_rows(path: Path, columns: Mapping[str, str] = MappingProxyType({})) -> Iterator[tuple[int, dict[str, Any]]]:
    """The line (from 1) and the content of every row of a CSV file in UTF-8 that begins with a header.

    Cells are parted by commas; by semicolons or tabs where the header has no comma. Empty cells are left out. `tags`
    becomes a list (separated by `;`), `difficulty` an integer, under whatever name `columns` gives them; all else is
    text.

    Raises `DataError` for a file without header or rows that do not fit it, with the line; `OSError` as `open` does.
    """
    csv.field_size_limit(CELL_LIMIT)
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            header = file.readline(CELL_LIMIT)
            file.seek(0)
            # As spreadsheets write them where the comma is the decimal point.
            apart = "," if "," in header else max(",;\t", key=header.count)
            reader = csv.DictReader(file, strict=True, delimiter=apart)
            if not reader.fieldnames:
                raise DataError(f"{path}:1: expected a header with the columns question and answer, found nothing.")
            twice = [name for name, times in Counter(reader.fieldnames).items() if times > 1 and name.strip()]
            if twice:
                raise DataError(f"{path}:1: the header has {twice[0]!a} twice; give each column a name of its own.")
            for cells in reader:
                if None in cells or None in cells.values():
                    raise DataError(
                        f"{path}:{reader.line_num}: expected {len(reader.fieldnames)} cells as the header has; "
                        "mend the row (text with commas or line breaks needs double quotes)."
                    )
                yield reader.line_num, _content(path, reader.line_num, cells, columns)
        except UnicodeDecodeError as error:
            # Decoded in blocks, so that the line is not known; what is there tells it.
            found = error.object[max(0, error.start - 20) : error.end + 20].decode("latin-1")
            raise DataError(f"{path}: not UTF-8 near {found!r}; save the table as UTF-8.") from error
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num + 1}: not readable as CSV ({error}).") from error


def _content(path: Path, line: int, cells: dict[str, str], columns: Mapping[str, str]) -> dict[str, Any]:
    content: dict[str, Any] = {name: cell for name, cell in cells.items() if cell.strip()}
    tags, difficulty = columns.get("tags", "tags"), columns.get("difficulty", "difficulty")
    if tags in content:
        content[tags] = [tag.strip() for tag in content[tags].split(";") if tag.strip()]
    if difficulty in content:
        try:
            content[difficulty] = int(content[difficulty])
        except (ValueError, TypeError):  # the latter of a column that is that of the tags, too
            found = content[difficulty]
            raise DataError(f"{path}:{line}: `{difficulty}` must be an integer, found {found!r:.60}.") from None
    return content


def plain_table(batch: Any) -> Any:
    """Rows with dates and times as their texts: Python has none for nanoseconds, and none after the year 9999."""
    import pyarrow

    for place, field in enumerate(batch.schema):
        if pyarrow.types.is_temporal(field.type):
            try:
                batch = batch.set_column(place, field.name, batch.column(place).cast(pyarrow.string()))
            except pyarrow.ArrowNotImplementedError:
                batch = batch.set_column(place, field.name, batch.column(place).cast(pyarrow.int64()).cast("string"))
    return batch
