"""The folder of a bank: what is on disk, and how it is written so that nothing is lost.

`cots.jsonl` is only appended to; a line without its end was torn by an interruption and is work still owed. Labels
found later wait in `labels.jsonl` until they are folded into the rows. `bank.json` is replaced atomically, and a folder
that has one is a whole bank. One process at a time may write; reading needs no lock.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from realm.bank.card import FORMAT, card, questions_table
from realm.bank.cot import COLUMNS, CoT, comment_hash, escape, from_record, known_label, unescape
from realm.bank.questions import QUESTION_COLUMNS, differing, from_question, to_question
from realm.bank.reading import check_info, reading_table
from realm.bank.writer import BankWriter, to_bytes
from realm.errors import DataError, ResourceError
from realm.files import open_mended, whole_lines, write_all, write_atomic, writing
from realm.locks import LOCK, locked
from realm.tasks.base import Comment, Question

#: A label and the verifier's reason for it.
Label = tuple[int | None, str]
#: Files of every bank besides bank.json, and those of compacted ones.
_CONTENT = (
    *("cots.jsonl", "questions.jsonl", "comments.jsonl", "labels.jsonl", "ledger.jsonl", "batches.jsonl", "README.md"),
)
_TABLES = re.compile(r"(cots|questions)-\d+\.parquet(\.tmp)?")
#: Lies in a folder while a bank is made there: what is in it may be written over.
_MAKING = ".bank.making"


class BankFolder:
    """The files of a bank. `create` makes one, `open` finds one; both leave the CoTs on disk."""

    def __init__(self, path: Path, info: Mapping[str, Any]) -> None:
        self.path = path
        self.info: dict[str, Any] = dict(info)

    @classmethod
    def create(
        cls,
        path: str | Path,
        info: Mapping[str, Any] | None = None,
        questions: Iterable[Question] = (),
        comments: Iterable[Comment] = (),
    ) -> BankFolder:
        """A new bank, its folder made with its parents; `info` (task, verifier, teachers, …) is kept in `bank.json`.

        Raises `ResourceError` where there is a bank already, where files of others would be written over, or where
        nothing can be written.
        """
        folder = cls(Path(path), {**(info or {}), "format": FORMAT})
        with writing(folder.path):
            folder.path.mkdir(parents=True, exist_ok=True)
        with folder.lock():
            folder._take()
            folder.add_questions(questions)
            folder.add_comments(comments)
            folder.write_card()
            folder.update({})
            with writing(folder.path):
                (folder.path / _MAKING).unlink(missing_ok=True)
        return folder

    def _take(self) -> None:
        """Make the files of an empty bank; inside `lock`. Only a `create` that was stopped is written over."""
        if (self.path / "bank.json").exists():
            raise ResourceError(f"{self.path}: holds a bank already; open it, remove it, or name another folder.")
        there = [name for name in _CONTENT if _size(self.path / name)]
        if there and not (self.path / _MAKING).exists():
            raise ResourceError(
                f"{self.path}: holds {', '.join(there)}, but no bank; they would be written over. Name another folder."
            )
        with writing(self.path):
            (self.path / _MAKING).touch()
            for name in _CONTENT:
                (self.path / name).unlink(missing_ok=True)
            for name in ("cots.jsonl", "questions.jsonl", "comments.jsonl"):
                (self.path / name).write_bytes(b"")

    def vacate(self) -> None:
        """Give the bank up: `create` may make another in its folder; inside `lock`."""
        with writing(self.path):
            (self.path / _MAKING).touch()
            (self.path / "bank.json").unlink(missing_ok=True)

    @classmethod
    def open(cls, path: str | Path) -> BankFolder:
        """The bank in a folder; raises `DataError` where there is none, or one of another version."""
        path = Path(path)
        try:
            info = json.loads((path / "bank.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DataError(
                f"{path}: expected a bank (bank.json and cots.jsonl, as `realm collect` and `realm bank import` write "
                f"them), cannot read it ({reason})."
            ) from error
        found = info.get("format") if isinstance(info, dict) else None
        if found != FORMAT:
            raise DataError(
                f"{path / 'bank.json'}: expected a bank of format {FORMAT}, found {found!r}; "
                "use the version of realm that wrote it, or collect or import the CoTs anew."
            )
        check_info(path / "bank.json", info)
        return cls(path, info)

    def owns(self, path: Path) -> bool:
        """Whether a path is one of the bank's own files."""
        found = path.resolve()
        own = found.name in ("bank.json", _MAKING, *_CONTENT) or _TABLES.fullmatch(found.name) is not None
        return own and found.parent == self.path.resolve()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Let no other process write while the block lasts; errors as of `realm.locks.hold`."""
        with writing(self.path):
            self.path.stat()  # a folder that is gone is not made anew, as `locked` would
        with locked(self.path):
            yield

    def rename(self, path: Path) -> None:
        """Give the folder another name; inside `lock`, whose file does not stay in it."""
        self.path.rename(path)
        (path / LOCK).unlink(missing_ok=True)

    # ------------------------------------------------------------------ reading

    @property
    def parquet(self) -> Path | None:
        """The file of compacted CoTs, where there is one."""
        name = self.info.get("parquet")
        return self.path / name if name else None

    def size(self) -> int:
        """Bytes of all CoTs as text (a Parquet file counts with what it holds, not with what it takes)."""
        size = _size(self.path / "cots.jsonl")
        return size + int(self.info.get("parquet_bytes", 0))

    def scan(self) -> Iterator[CoT]:
        """Every CoT, one after the other, as it is in its row (`labels` holds the newer verdicts).

        Raises `DataError` with the line of a row that is no CoT. A torn last line is left out.
        """
        yield from self.compacted()
        for number, line in self.lines():
            try:
                yield from_record(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise DataError(f"{self.path / 'cots.jsonl'}:{number}: not a CoT: {error}.") from error

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """The whole lines of `cots.jsonl` with their numbers (from 1), less those that are in the Parquet file."""
        skip = self._compacted()
        position = 0
        for number, line in whole_lines(self.path / "cots.jsonl"):
            position += len(line)
            if position > skip:
                yield number, line

    def _compacted(self) -> int:
        """Bytes at the start of `cots.jsonl` that the Parquet file holds: above 0 only after an interruption."""
        done = int(self.info.get("compacted_bytes", 0))
        return done if _size(self.path / "cots.jsonl") >= done else 0

    def compacted(self) -> Iterator[CoT]:
        """The CoTs of the Parquet file, question by question; none where there is no such file."""
        path = self.parquet
        if path is None:
            return
        import pyarrow.parquet

        with reading_table(path), pyarrow.parquet.ParquetFile(path) as file:
            # One row group at a time: read in one go, memory grows with the file.
            for number in range(file.num_row_groups):
                for batch in file.iter_batches(batch_size=256, row_groups=[number], use_threads=False):
                    yield from map(from_record, batch.to_pylist())

    def compacted_rows(self) -> int:
        """The number of CoTs in the Parquet file; raises `DataError` where it cannot be read."""
        path = self.parquet
        if path is None:
            return 0
        import pyarrow.parquet

        with reading_table(path):
            return int(pyarrow.parquet.read_metadata(path).num_rows)

    def labels(self) -> dict[str, Label]:
        """The verdicts that are not yet in the CoTs' rows, by the id of the CoT; the last one counts."""
        return {row["id"]: (row["label"], row["reason"]) for row in self.label_rows()}

    def label_rows(self) -> Iterator[dict[str, Any]]:
        """The rows of `labels.jsonl`, one after the other; raises `DataError` for one that is no verdict."""
        for row in self._rows("labels.jsonl"):
            texts = all(isinstance(row.get(name), str) for name in ("id", "question_id", "reason"))
            if not texts or row.get("label", "") not in (0, 1, None):
                raise DataError(f"{self.path / 'labels.jsonl'}: not a verdict; remove the line {row!a:.80}.")
            yield {**row, "label": known_label(row["label"], row["reason"])}

    def questions(self) -> dict[str, Question]:
        """The questions by id, in their order."""
        return {question.id: question for question in self.iterate_questions()}

    def iterate_questions(self) -> Iterator[Question]:
        """The questions, one after the other; raises `DataError` for a row that is none."""
        for row in self._rows("questions.jsonl"):
            try:
                yield to_question(row)
            except ValueError as error:
                path = self.path / "questions.jsonl"
                raise DataError(f"{path}: not a question: {error}; mend or remove the line {row!a:.80}.") from error

    def comments(self) -> dict[str, Comment]:
        """The comments that teachers were shown, by their hash; raises `DataError` for a row that is none."""
        found: dict[str, Comment] = {}
        for row in self._rows("comments.jsonl"):
            tags = row.get("tags")
            texts = [row.get(name) for name in ("hash", "id", "text")]
            try:
                if not isinstance(tags, list) or not all(isinstance(text, str) for text in [*texts, *tags]):
                    raise ValueError("expected the texts `hash`, `id` and `text`, and `tags`, a list of texts")
                found[row["hash"]] = Comment(row["id"], tuple(tags), unescape(row["text"]))
            except ValueError as error:
                path = self.path / "comments.jsonl"
                raise DataError(f"{path}: not a comment: {error}; mend or remove the line {row!a:.80}.") from error
        return found

    def _rows(self, name: str) -> Iterator[dict[str, Any]]:
        """The JSON objects of a file; a torn last line is left out, a missing file is an empty one."""
        path = self.path / name
        if not path.exists():
            return
        for number, line in whole_lines(path):
            try:
                row = json.loads(line)
                assert isinstance(row, dict)
            except (ValueError, RecursionError, AssertionError) as error:
                raise DataError(f"{path}:{number}: expected one JSON object; mend or remove the line.") from error
            yield row

    # ------------------------------------------------------------------ writing

    def update(self, info: Mapping[str, Any]) -> None:
        """Change entries of `bank.json` (None removes one), atomically."""
        self.info = {name: value for name, value in {**self.info, **info}.items() if value is not None}
        write_atomic(self.path / "bank.json", json.dumps(self.info, indent=2) + "\n")

    def write_card(self) -> None:
        """Write README.md, which tells people and `datasets.load_dataset` what is here.

        Whoever changes rows writes it anew: `load_dataset` then reads them instead of what it remembers.
        """
        parquet = self.parquet.name if self.parquet else None
        write_atomic(
            self.path / "README.md", card(list(COLUMNS), QUESTION_COLUMNS, parquet, state=secrets.token_hex(8))
        )

    def add_questions(self, questions: Iterable[Question]) -> None:
        """Add the questions that are not there yet.

        Raises, before anything is written, `ValueError` for an id that UTF-8 cannot hold, and `DataError` for one that
        is there with another text or gold answer: its CoTs answer that one.
        """
        known = self.questions()
        rows = []
        for question in questions:
            there = known.get(question.id)
            if there is None:
                known[question.id] = question
                rows.append(from_question(question))
            elif told := differing(there, question):
                raise DataError(
                    f"{self.path / 'questions.jsonl'}: the question {question.id!r} {told}; its CoTs answer the "
                    "first one. Use another folder for the bank (--out), or mend the file of the questions."
                )
        self._append("questions.jsonl", rows)
        if rows:
            self.write_card()

    def add_comments(self, comments: Iterable[Comment]) -> None:
        """Add the comments that are not there yet."""
        known = self.comments()
        fresh = {comment_hash(comment): comment for comment in comments}
        self._append(
            "comments.jsonl",
            [
                {"hash": key, "id": comment.id, "tags": list(comment.tags), "text": escape(comment.text)}
                for key, comment in fresh.items()
                if key not in known
            ],
        )

    def _append(self, name: str, rows: list[dict[str, Any]]) -> None:
        if rows:
            with writing(self.path):
                file = open_mended(self.path / name)
                with file:
                    write_all(file, b"".join(map(to_bytes, rows)))

    def writer(self) -> BankWriter:
        """Append CoTs and labels; to be used inside `lock`."""
        self.drop_compacted()
        # Now too: a process that is killed comes to no end.
        self.write_card()
        return BankWriter(self.path, self.write_card)

    def drop_compacted(self) -> None:
        """The last steps of a compaction, from its commit on; also those that an interruption left undone."""
        if "compacted_bytes" not in self.info:
            return
        with writing(self.path):
            # Whoever appends comes here first: what these two files hold is in the Parquet file.
            (self.path / "labels.jsonl").unlink(missing_ok=True)
            os.truncate(self.path / "cots.jsonl", 0)
        self.write_card()
        with writing(self.path):
            kept = (self.parquet, self.parquet and self.path / questions_table(self.parquet.name))
            for leftover in self.path.iterdir():
                if _TABLES.fullmatch(leftover.name) and leftover not in kept:
                    leftover.unlink(missing_ok=True)
        self.update({"compacted_bytes": None})


def labelled(cot: CoT, labels: Mapping[str, Label]) -> CoT:
    """The CoT with its newer verdict, where there is one."""
    found = labels.get(cot.id)
    return cot if found is None else replace(cot, label=found[0], reason=found[1])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
