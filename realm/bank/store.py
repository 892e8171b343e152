"""The bank in memory: labelled CoTs by question, as training and evaluation use them; kept in a folder where wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.bank.cot import COLUMNS, CoT, from_record, to_record, unescape
from realm.bank.folder import BankFolder, labelled
from realm.bank.labelling import judge_all, label_of
from realm.bank.questions import differing, from_question
from realm.bank.scan import Group, group
from realm.errors import DataError
from realm.method.routes import Route
from realm.plugins import trust
from realm.tasks.answers import final_answer, problem_of
from realm.tasks.base import Comment, Question, text_id
from realm.tasks.workers import VerifierPool

if TYPE_CHECKING:
    from datasets import Dataset


class Bank:
    """Labelled CoTs by question, in memory, and in a folder where `path` is given.

    `Bank()` is an empty bank in memory, `from_dataset` one of a dataset; `create` and `open` give one that is kept in a
    folder. Iterating gives each CoT, question by question.
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

    def to_dataset(self) -> Dataset:
        """A `datasets.Dataset` with a row for each CoT: the columns of docs/reference/bank.md, `question` and `gold`.

        `from_dataset` reads questions and CoTs back; what `info` says of the bank is not part of it.
        """
        from datasets import Dataset  # costs a second, and most banks never become one

        rows = []
        for cot in self.all():
            asked = self.questions.get(cot.question_id, Question(cot.question_id, "", ""))
            known = from_question(asked)
            texts = {"question": known["question"], "gold": known["answer"], "question_escaped": known["escaped"]}
            rows.append(
                {**to_record(cot), **texts, "split": known["split"], "kind": known["kind"], "tags": known["tags"]}
            )
        return Dataset.from_list(rows)

    @classmethod
    def from_dataset(cls, rows: Dataset, verifier: str | None = None, choices: Sequence[str] = ()) -> Bank:
        """A bank in memory of the rows of a `datasets.Dataset`, a CoT each.

        Args:
            rows: columns `question`, `gold` and `text` (the CoT); where they are there, `answer` (else the one that the
                text states), `label` (1 right, 0 wrong) and the other columns of `to_dataset`. Other shapes are for
                `realm bank import`.
            verifier, choices: judge every CoT anew; None: labels are as the rows have them, and a CoT without one is
                not shown.

        Raises:
            DataError: a column is missing, a row is no CoT, or its question has another text or gold than in a row
                before it; it names the row.
            ConfigError: there is no such verifier.
        """
        if missing := {"question", "gold", "text"} - set(rows.column_names):
            raise DataError(
                f"expected a dataset with the columns question, gold and text, found {', '.join(rows.column_names)}; "
                f"{', '.join(sorted(missing))} is missing (Dataset.rename_column)."
            )
        bank = cls()
        cots = []
        for number, row in enumerate(rows):
            try:
                question, cot = _read_row(row, number)
            except (ValueError, TypeError) as error:
                raise DataError(f"row {number}: {error}.") from error
            if told := differing(question, bank.questions.setdefault(question.id, question)):
                raise DataError(
                    f"row {number}: the question {question.id!a:.60} {told}, in a row before it, so that its CoTs "
                    "answer something else; give the questions of one of the two other ids (`question_id`)."
                )
            cots.append(cot)
        if verifier is not None:
            trust(verifier)
            asked = [bank.questions[cot.question_id] for cot in cots]
            claims = [one.claim(cot.answer) for cot, one in zip(cots, asked, strict=True)]
            with VerifierPool(verifier, list(choices)) as pool:
                verdicts = judge_all(pool, claims)
            cots = [
                replace(cot, label=label_of(verdict), reason=verdict.reason)
                for cot, verdict in zip(cots, verdicts, strict=True)
            ]
        bank.append(cots)
        return bank

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

    def __iter__(self) -> Iterator[CoT]:
        return iter(self.all())

    def __len__(self) -> int:
        """Number of CoTs."""
        return len(self._ids)

    def __contains__(self, cot_id: object) -> bool:
        """Whether a CoT of that id is there."""
        return cot_id in self._ids


def _read_row(row: Mapping[str, Any], number: int) -> tuple[Question, CoT]:
    """A row of a dataset as a question and its CoT; raises `ValueError` saying what is wrong with it."""
    for name in ("question", "gold", "text"):
        if not isinstance(row[name], str) or (name == "question" and not row[name].strip()):
            raise ValueError(f"expected a text under `{name}`, found {row[name]!r:.80}")
    read = unescape if row.get("question_escaped") else str
    text = row["text"]
    question_id = str(row.get("question_id") or text_id(read(row["question"])))
    question = Question(
        question_id,
        read(row["question"]),
        read(row["gold"]),
        split=str(row.get("split") or "train"),
        kind=str(row.get("kind") or ""),
        tags=tuple(map(str, row.get("tags") or ())),
    )
    record = {name: row[name] for name in COLUMNS if row.get(name) is not None}
    if "answer" not in record:
        record["answer"] = final_answer(text)
        record["problem"] = record.get("problem") or problem_of(text, record["answer"])
    defaults: dict[str, Any] = to_record(CoT(question_id, "", "", None, sample=number, id=" "))
    # Without a name of its own it gets one of question, teacher and sample.
    return question, from_record({**defaults, "id": "", **record, "question_id": question_id})
