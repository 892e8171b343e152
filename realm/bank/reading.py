"""What is wrong with the files of a bank becomes a `DataError` that names the file."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from realm.errors import DataError

#: Entries of `bank.json` that are relied on, and what they are.
_INFO: dict[str, tuple[type, str]] = {
    "parquet": (str, "a name like cots-1.parquet"),
    "parquet_bytes": (int, "a number of bytes"),
    "compacted_bytes": (int, "a number of bytes"),
    "samples": (int, "a number"),
    "choices": (list, "a list of texts"),
    "teachers": (dict, "an object"),
}


def check_info(path: Path, info: Mapping[str, Any]) -> None:
    """Raises `DataError` for an entry of `bank.json` that cannot be what `realm` wrote."""
    for name, (kind, what) in _INFO.items():
        value = info.get(name)
        good = value is None or (isinstance(value, kind) and not isinstance(value, bool))
        if good and isinstance(value, str):
            good = re.fullmatch(r"cots-\d+\.parquet", value) is not None
        elif good and isinstance(value, int):
            good = value >= 0
        elif good and isinstance(value, list):
            good = all(isinstance(item, str) for item in value)
        if not good:
            raise DataError(f"{path}: `{name}` must be {what}, found {value!a:.60}; mend or remove it.")


@contextmanager
def reading_table(path: Path) -> Iterator[None]:
    """For a block that reads a Parquet file."""
    import pyarrow

    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror or error}).") from error
    except (pyarrow.ArrowException, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the Parquet file of a bank: {' '.join(str(error).split()):.200}.") from error
