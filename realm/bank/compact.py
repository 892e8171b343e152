"""Compaction: the CoTs of a bank, question by question and with their labels, into one Parquet file."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from realm.bank.card import questions_table
from realm.bank.cot import COLUMNS, to_record
from realm.bank.folder import BankFolder
from realm.bank.questions import QUESTION_COLUMNS, from_question
from realm.bank.scan import groups
from realm.files import writing

#: Bytes of text after which a row group is written: what a reader of the file holds at a time.
ROW_GROUP = 16 << 20


def compact(folder: BankFolder, progress: Callable[[int], None] | None = None) -> int:
    """Move every CoT into one new Parquet file; inside `BankFolder.lock`. The CoTs of a question lie together.

    The change happens at once, when `bank.json` names the new file: an interruption leaves the bank as it was before,
    or as it is after, with a leftover that the next writer removes. `progress` is told the number of CoTs so far.

    Returns the number of CoTs. Raises `ResourceError` where nothing can be written.
    """
    old = folder.parquet
    number = 1 + (int(old.stem.rpartition("-")[2]) if old is not None else 0)
    new = folder.path / f"cots-{number}.parquet"
    total = 0
    text = 0
    with writing(folder.path):
        source = folder.path / "cots.jsonl"
        consumed = source.stat().st_size if source.exists() else 0
        with _table(new, _schema()) as write:
            for rows, size in _batches(folder):
                write(rows)
                total += len(rows)
                text += size
                if progress is not None:
                    progress(total)
        with _table(folder.path / questions_table(new.name), _question_schema()) as write:
            questions = map(from_question, folder.iterate_questions())
            while rows := list(islice(questions, 1000)):
                write(rows)
    # From here on every CoT and label is in the new file; `compacted_bytes` says so should we be killed.
    folder.update({"parquet": new.name, "parquet_bytes": text, "compacted_bytes": consumed})
    folder.drop_compacted()
    return total


@contextmanager
def _table(path: Path, schema: Any) -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    """A Parquet file that is there when the block ends; yields a function that writes rows."""
    import pyarrow
    import pyarrow.parquet

    temporary = path.with_suffix(".parquet.tmp")
    with pyarrow.parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
        yield lambda rows: writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def _batches(folder: BankFolder) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Rows of about `ROW_GROUP` bytes of text together, and that size."""
    rows: list[dict[str, Any]] = []
    size = 0
    for _, cots in groups(folder):
        for cot in cots:
            rows.append(to_record(cot))
            size += 400 + len(cot.text) + len(cot.answer) + len(cot.meta)
        if size >= ROW_GROUP:
            yield rows, size
            rows, size = [], 0
    if rows:
        yield rows, size


def _schema() -> Any:
    import pyarrow

    kinds = {str: pyarrow.string(), int: pyarrow.int64(), bool: pyarrow.bool_(), float: pyarrow.float64()}
    lists = pyarrow.list_(pyarrow.string())
    return pyarrow.schema([(name, kinds.get(of[0], lists)) for name, of in COLUMNS.items()])


def _question_schema() -> Any:
    import pyarrow

    kinds = {"tags": pyarrow.list_(pyarrow.string()), "escaped": pyarrow.bool_()}
    return pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in QUESTION_COLUMNS])
