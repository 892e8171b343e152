"""The bank in memory: labelled CoTs by question, as training and evaluation use them; kept in a folder where wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from realm.bank.cot import CoT
from realm.bank.folder import BankFolder, labelled
from realm.bank.scan import Group, group
from realm.errors import DataError
from realm.method.routes import Route
from realm.tasks.base import Comment, Question


class Bank:
    """Labelled CoTs by question, in memory, and in a folder where `path` is given.

    `Bank()` is an empty bank in memory; `create` and `open` give one that is kept in a folder.
    """

    def __init__(self, info: Mapping[str, Any] | None = None, questions: Iterable[Question] = ()) -> None:
        self.folder: BankFolder | None = None
        self.info: dict[str, Any] = dict(info or {})
        self.questions: dict[str, Question] = {question.id: question for question in questions}
        self._cots: dict[str, list[CoT]] = {}
        self._ids: set[str] = set()

    @classmethod
    def create(
        cls,
        path: str | Path,
        info: Mapping[str, Any] | None = None,
        questions: Iterable[Question] = (),
        comments: Iterable[Comment] = (),
    ) -> Bank:
        """A new bank in a folder; arguments and errors as of `BankFolder.create`."""
        questions = list(questions)
        folder = BankFolder.create(path, info, questions, comments)
        bank = cls(folder.info, questions)
        bank.folder = folder
        return bank

    @classmethod
    def open(cls, path: str | Path) -> Bank:
        """The bank in a folder, with the newest labels. A torn last line is left out: it is work still owed.

        Raises `DataError` where there is no bank, or another line is not a CoT.
        """
        folder = BankFolder.open(path)
        bank = cls(folder.info, folder.iterate_questions())
        bank.folder = folder
        # Read before the rows: a process that folds them in meanwhile replaces the rows first.
        labels = folder.labels()
        for cot in folder.scan():
            try:
                bank._add(labelled(cot, labels))
            except ValueError as error:
                raise DataError(f"{path}: {error}; `realm bank validate` names the rows.") from error
        return bank

    @property
    def path(self) -> Path | None:
        """The folder, where there is one."""
        return self.folder.path if self.folder else None

    def save(self, path: str | Path) -> Bank:
        """A copy of this bank in a new folder; raises as `create` does."""
        comments = self.folder.comments().values() if self.folder else ()
        info = {name: value for name, value in self.info.items() if not name.startswith(("parquet", "compacted"))}
        copy = Bank.create(path, info, self.questions.values(), comments)
        copy.append(self.all())
        return copy

    def _add(self, cot: CoT) -> None:
        if cot.id in self._ids:
            raise ValueError(f"the id {cot.id!r} is in the bank already")
        self._ids.add(cot.id)
        self._cots.setdefault(cot.question_id, []).append(cot)

    def append(self, cots: Iterable[CoT]) -> None:
        """Add CoTs one by one, each on disk before the next is asked for, so that an interruption loses none.

        Raises `ValueError` for an id that the bank holds already, `ResourceError` where nothing can be written.
        """
        if self.folder is None:
            for cot in cots:
                self._add(cot)
            return
        with self.folder.lock(), self.folder.writer() as writer:
            for cot in cots:
                self._add(cot)
                writer.write([cot])

    def cots(self, question_id: str) -> list[CoT]:
        """The CoTs of a question in the order they came; none for a question that the bank does not know."""
        return list(self._cots.get(question_id, ()))

    def routes(self, question_id: str) -> list[Route]:
        """The CoTs of a question that may be shown to a student: labelled, and whole answers."""
        return [cot.route() for cot in self._cots.get(question_id, ()) if cot.usable]

    def groups(self) -> Iterator[Group]:
        """Every question with all its CoTs; also questions that have none."""
        return group(self.questions.values(), self.all())

    def all(self) -> list[CoT]:
        """Every CoT, question by question."""
        return [cot for cots in self._cots.values() for cot in cots]

    def __len__(self) -> int:
        """Number of CoTs."""
        return len(self._ids)

    def __contains__(self, cot_id: object) -> bool:
        """Whether a CoT of that id is there."""
        return cot_id in self._ids
