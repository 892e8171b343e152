"""Every question of a bank with all its CoTs, in memory that does not grow with the bank.

A bank that fits is grouped in memory. A larger one is first dealt out into temporary files by its questions' ids, each
small enough; then these are grouped one after the other. The temporary files need as much space as the bank and lie
where `TMPDIR` says.
"""

import json
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from realm.bank.cot import CoT, from_record, to_record
from realm.bank.folder import BankFolder, labelled
from realm.bank.questions import from_question, to_question
from realm.bank.writer import to_bytes
from realm.errors import DataError
from realm.files import writing
from realm.tasks.base import Question

#: A question (None where only its id is known) and its CoTs.
Group = tuple[Question | None, list[CoT]]
#: Bytes of rows that are grouped at a time; as Python objects they take some three times as much.
MEMORY = 64 << 20
_FILES_OPEN = 256
# What our own rows begin with. Anything else is parsed to find its question.
_HEAD = re.compile(rb'\{"question_id": ("(?:[^"\\]|\\.)*")')


def group(questions: Iterable[Question], cots: Iterable[CoT]) -> Iterator[Group]:
    """Questions in their order, then those that only CoTs name in the order they came; each with its CoTs."""
    known = {question.id: question for question in questions}
    found: dict[str, list[CoT]] = {name: [] for name in known}
    for cot in cots:
        found.setdefault(cot.question_id, []).append(cot)
    for name, members in found.items():
        yield known.get(name), members


def groups(folder: BankFolder, memory: int = MEMORY) -> Iterator[Group]:
    """Every question with all its CoTs, their newest labels applied; also questions that have none.

    `memory`: bytes of rows that may be grouped at a time. The order is the same for the same bank and `memory`.
    Raises `DataError` for a row that is no CoT, `ResourceError` where the temporary files find no room.
    """
    size = folder.size()
    if size <= memory:
        labels = folder.labels()
        yield from group(folder.questions().values(), (labelled(cot, labels) for cot in folder.scan()))
        return
    number = min(_FILES_OPEN, -(-size // memory) * 2)
    with tempfile.TemporaryDirectory(prefix="realm-scan-") as name:
        parts = [Path(name) / str(index) for index in range(number)]
        _deal(folder, parts)
        for part in parts:
            labels = {row["id"]: (row["label"], row["reason"]) for row in _rows(part, "labels")}
            questions = map(to_question, _rows(part, "questions"))
            yield from group(questions, (labelled(cot, labels) for cot in _cots(folder, part)))
            for kind in ("cots", "labels", "questions"):
                part.with_suffix(f".{kind}").unlink()


def _cots(folder: BankFolder, part: Path) -> Iterator[CoT]:
    with part.with_suffix(".cots").open("rb") as file:
        for line in file:
            try:
                yield from_record(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"{folder.path / 'cots.jsonl'}: not a CoT: {error}; `realm bank validate` names the line."
                ) from error


def _rows(part: Path, kind: str) -> Iterator[dict[str, Any]]:
    with part.with_suffix(f".{kind}").open("rb") as file:
        for line in file:
            yield json.loads(line)


def _deal(folder: BankFolder, parts: list[Path]) -> None:
    """Copy CoTs, labels and questions into one file a part and kind, by the question's id."""
    # Labels first: a process that folds them in meanwhile replaces the rows before it removes the labels.
    for kind in ("labels", "cots", "questions"):
        with ExitStack() as stack, writing(parts[0].parent):
            files = [stack.enter_context(part.with_suffix(f".{kind}").open("wb")) for part in parts]
            for question_id, line in _keyed(folder, kind):
                files[zlib.crc32(question_id.encode("utf-8")) % len(parts)].write(line)


def _keyed(folder: BankFolder, kind: str) -> Iterator[tuple[str, bytes]]:
    """The rows of a kind as lines, each with the id of its question."""
    if kind == "questions":
        yield from ((question.id, to_bytes(from_question(question))) for question in folder.iterate_questions())
    elif kind == "labels":
        yield from ((row["question_id"], to_bytes(row)) for row in folder.label_rows())
    else:
        yield from ((cot.question_id, to_bytes(to_record(cot))) for cot in folder.compacted())
        for number, line in folder.lines():
            try:
                match = _HEAD.match(line)
                question_id = json.loads(match[1]) if match else from_record(json.loads(line)).question_id
                yield question_id, line
            except (ValueError, RecursionError) as error:
                raise DataError(f"{folder.path / 'cots.jsonl'}:{number}: not a CoT: {error}.") from error
