"""A bank as one file for others: questions with their CoTs, one CoT a row, Parquet, or conversations.

`realm bank import --keep-labels` of any of the first three gives the same CoTs with the same labels. Text that UTF-8
cannot hold (lone surrogates) is refused by readers of JSON and of Parquet, so such a row is escaped as in the bank
itself and says so under `escaped`.

Every key is in every row, each with values of one type, so that `datasets` loads any of them. It takes types from the
first ten megabytes of JSONL: where a key is null or empty for that long, Parquet has its type all the same.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

from realm.bank.cot import COLUMNS, CoT, escape
from realm.bank.folder import BankFolder
from realm.bank.labelling import batches
from realm.bank.scan import groups
from realm.errors import ResourceError
from realm.files import writing
from realm.tasks.base import Question, encodable

Shape = Literal["jsonl", "flat", "parquet", "messages"]
SHAPES: tuple[str, ...] = get_args(Shape)
#: Rows of a row group of Parquet, and characters of text after which one is written.
_ROWS, _TEXT = 4096, 16 << 20
_OTHERS = ("id", "question_id", "text", "answer", "label", "teacher", "escaped")


def export_bank(
    folder: BankFolder,
    path: str | Path,
    shape: Shape,
    *,
    positives: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, int]:
    """Write a bank's CoTs with their newest labels to one file, in memory that does not grow with the bank.

    Args:
        shape: `jsonl` (a question with its `cots` a line), `flat` (a CoT a line), `parquet` (the same as a table),
            `messages` (a conversation a line: the question, and the CoT as the assistant's answer).
        positives: only right CoTs that are whole answers.
        progress: told the number of CoTs read.

    Returns {"rows", "cots", "questions" (with a CoT), "without_cots"}. Raises `ResourceError` for a file of the bank
    itself and where nothing can be written (then `path` is as it was), `DataError` for a row that is no CoT.
    """
    counts = {"rows": 0, "cots": 0, "questions": 0, "without_cots": 0}

    def chosen(every: list[CoT]) -> list[CoT]:
        return [cot for cot in every if cot.usable and cot.label == 1] if positives else every

    def rows() -> Iterator[dict[str, Any]]:
        done = 0
        for question, every in groups(folder):
            cots = chosen(every)
            counts["questions" if cots else "without_cots"] += 1
            counts["cots"] += len(cots)
            for row in _rows(question, cots, shape, positives):
                counts["rows"] += 1
                yield row
            done += len(every)
            progress(done)

    path = Path(path)
    if folder.owns(path):
        raise ResourceError(f"{path}: is a file of the bank itself; name another file.")
    with _replacing(path) as temporary:
        if shape == "parquet":
            _write_table(temporary, rows())
        else:
            with temporary.open("wb") as file:
                for row in rows():
                    file.write(_line(row))
    return counts


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well."""
    if path.is_dir():
        raise ResourceError(f"{path}: is a folder; name the file to write.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with writing(path):
            yield temporary
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _rows(question: Question | None, cots: list[CoT], shape: str, positives: bool) -> Iterator[dict[str, Any]]:
    question_id = cots[0].question_id if cots else question.id if question else ""
    told = _question(question or Question("", "", "", split=""))
    if shape == "jsonl":
        # A question without CoTs is work still owed by a teacher; among positives it says nothing.
        if cots or not positives:
            asked = {"question": told.pop("question"), "answer": told.pop("gold")}
            yield {"id": question_id, **asked, **told, "cots": list(map(_entry, cots))}
        return
    for cot in cots:
        provenance = {name: _value(cot, name) for name in COLUMNS if name not in _OTHERS}
        asked = told
        if shape == "messages":
            said = {"role": "user", "content": asked["question"]}
            content: dict[str, Any] = {"messages": [said, {"role": "assistant", "content": cot.text}]}
            asked = {name: value for name, value in asked.items() if name != "question"}
        else:
            content = {"text": cot.text}
        yield {
            "question_id": question_id,
            "id": cot.id,
            **asked,
            **content,
            "cot_answer": cot.answer,
            "label": cot.label,
            "source": cot.teacher,
            **provenance,
        }


def _question(question: Question) -> dict[str, Any]:
    return {
        "question": question.question,
        "gold": question.answer,
        "kind": question.kind,
        "tags": list(question.tags),
        "split": question.split,
    }


def _entry(cot: CoT) -> dict[str, Any]:
    """A CoT in the list of its question."""
    first = {
        "id": cot.id,
        "text": cot.text,
        "answer": cot.answer,
        "correct": None if cot.label is None else bool(cot.label),
        "source": cot.teacher,
    }
    return first | {name: _value(cot, name) for name in COLUMNS if name not in _OTHERS}


def _value(cot: CoT, name: str) -> Any:
    value = getattr(cot, name)
    if name == "seconds" and value is not None:
        return float(value)
    return list(value) if isinstance(value, tuple) else value


def _line(row: dict[str, Any]) -> bytes:
    text = json.dumps({**row, "escaped": False}, ensure_ascii=False)
    if not encodable(text):
        text = json.dumps({**_inside(row), "escaped": True}, ensure_ascii=False)
    return text.encode("utf-8") + b"\n"


def _inside(value: Any, name: str = "") -> Any:
    """A row with the texts of questions, golds, CoTs and answers escaped; others hold nothing that needs it."""
    if isinstance(value, dict):
        return {key: _inside(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_inside(item) for item in value] if name in ("cots", "messages") else value
    return escape(value) if name in (*_TEXTS, "answer", "content") else value


def _write_table(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    text, integer = pyarrow.string(), pyarrow.int64()
    special = {
        "tags": pyarrow.list_(text),
        "comments": pyarrow.list_(text),
        "guided": pyarrow.bool_(),
        "escaped": pyarrow.bool_(),
        "seconds": pyarrow.float64(),
        **dict.fromkeys(("label", "sample", "prompt_tokens", "completion_tokens"), integer),
    }
    sample = next(_rows(None, [CoT("", "", "", None)], "flat", False))
    schema = pyarrow.schema([(name, special.get(name, text)) for name in (*sample, "escaped")])
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches(map(_escaped, rows), _length, _ROWS, _TEXT):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema=schema))


def _length(row: dict[str, Any]) -> int:
    return len(row["text"]) + len(row["question"])


_TEXTS = ("question", "gold", "text", "cot_answer")


def _escaped(row: dict[str, Any]) -> dict[str, Any]:
    escaped = not all(encodable(row[name]) for name in _TEXTS)
    return {**row, **({name: escape(row[name]) for name in _TEXTS} if escaped else {}), "escaped": escaped}
