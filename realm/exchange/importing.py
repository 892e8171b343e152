"""CoTs of others become a bank: rows of JSONL or Parquet in any shape of `realm.exchange.shapes`, streamed."""

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from realm.bank.cot import CoT, known_label
from realm.bank.folder import BankFolder
from realm.bank.labelling import BATCH, BATCH_TEXT, judge_all, label_of
from realm.bank.questions import from_question
from realm.bank.register import Register
from realm.bank.store import Bank
from realm.bank.unreadable import Unreadable, sentences
from realm.bank.writer import to_bytes
from realm.errors import DataError, ResourceError
from realm.exchange.common import unrecognised
from realm.exchange.entries import Entry
from realm.exchange.shapes import Item, check_mapping, read_item
from realm.files import writing
from realm.tasks.base import Question, Task, normal, text_id
from realm.tasks.gsm8k import final_answer
from realm.tasks.jsonl import answer_text
from realm.tasks.rows import read_file
from realm.tasks.verify import UNREADABLE, UNREADABLE_GOLD, Verdict
from realm.tasks.workers import VerifierPool

_LOG = logging.getLogger(__name__)
Gold = Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True)
class Source:
    """What is imported, and how it is read.

    Attributes:
        path: JSONL or Parquet file, or a data set (`hf:…`).
        mapping: our key -> dotted key of the file, where the file names things otherwise.
        gold: reads the gold answer of {"answer": …}.
        known: questions of the task. A row gets the id of the known question of its text, and what the row does not say
            (gold, split, kind, tags) is the known question's.
        skip: leave bad rows out, counted and logged, instead of refusing the file.
    """

    path: Path
    mapping: Mapping[str, str]
    gold: Gold = answer_text
    known: Iterable[Question] = ()
    skip: bool = False


@dataclass
class _Waiting:
    """CoTs that are not judged yet, each with the file's label and its question; `lines`: the first of a question."""

    cots: list[CoT]
    flags: list[int | None]
    asked: list[Question]
    questions: list[Question]
    lines: dict[str, int]
    size: int = 0

    @property
    def full(self) -> bool:
        return len(self.cots) >= BATCH or self.size >= BATCH_TEXT or len(self.questions) >= BATCH


class _Reader:
    """The rows of a file as questions and CoTs with unique ids, in batches.

    Attributes:
        skipped: bad rows; `nulls`: CoTs that are null; `filtered`: rows that tell the same answers again under another
            filter of lm-evaluation-harness. All of them are left out.
        readings: which key was read as which, in each kind of row but our own, and which other keys such a row has.
    """

    def __init__(self, source: Source, relabel: bool, register: Register) -> None:
        check_mapping(source.mapping)
        self._source, self._relabel, self._register = source, relabel, register
        self._by_id = {question.id: question for question in source.known}
        self._by_text = {normal(question.question): question for question in self._by_id.values()}
        self.skipped = 0
        self.cots = self.questions = self.nulls = self.filtered = 0
        self.readings: dict[tuple[tuple[str, str], ...], tuple[str, ...]] = {}
        self._filter: str | None = None

    def batches(self, progress: Callable[[int, int], None]) -> Iterator[_Waiting]:
        """Raises `DataError` for a file without rows or without any CoT, and for bad rows unless they are skipped."""
        waiting = _Waiting([], [], [], [], {})
        first: Any = None
        path = self._source.path
        for number, content in read_file(path, self._bad, progress):
            first = content if first is None else first
            if self._repeats(content):
                self.filtered += 1
                continue
            try:
                item = read_item(content, f"{path}:{number}", self._source.mapping, self._source.gold)
                self._take(item, number, waiting)
                if item.reading not in self.readings and len(self.readings) < 20:
                    self.readings[item.reading] = tuple(map(str, content))
            except (DataError, RecursionError) as error:
                self._bad(error if isinstance(error, DataError) else DataError(f"{path}:{number}: nested too deeply."))
            if waiting.full:
                yield waiting
                waiting = _Waiting([], [], [], [], {})
        if first is None and not self.skipped:
            raise DataError(f"{path}: expected one JSON object a line, the file is empty.")
        if not self.cots:
            found = unrecognised(first) if isinstance(first, dict) and "cots" not in first else ""
            raise DataError(
                f"{path}: expected CoTs (under `cots`, or one a row), no row has any{f': {found}' if found else '.'}"
            )
        yield waiting

    def _repeats(self, content: Any) -> bool:
        """Whether a row tells of answers that a row before it told of: the harness writes one for each filter."""
        if not isinstance(content, dict) or "resps" not in content or not isinstance(content.get("filter"), str):
            return False
        self._filter = content["filter"] if self._filter is None else self._filter
        return bool(content["filter"] != self._filter)

    def _bad(self, error: DataError) -> None:
        if not self._source.skip:
            raise error
        self.skipped += 1
        if self.skipped <= 20:
            _LOG.warning("skipped %s", error)

    def _take(self, item: Item, number: int, waiting: _Waiting) -> None:
        """Add a row; none of its CoTs is added where it is bad."""
        question, derived = self._question(item)
        for entry in item.entries:
            if self._relabel and not question.answer:
                cot = dict(item.reading).get("CoT", "*")
                itself = "" if "*" in cot else f"; where the CoT itself states it, bank.mapping.answer={cot}"
                raise DataError(
                    f"{item.where}: no answer to judge the CoTs by; say where it is (bank.mapping.answer=…{itself}), "
                    "leave such rows out (task.bad_rows=skip), or set bank.relabel=false (--keep-labels)."
                )
            if not self._relabel and not entry.flagged:
                what = entry.where.removeprefix(item.where).lstrip(": ") or "the row"
                raise DataError(
                    f"{item.where}: {what} has no `correct`; say where it is (bank.mapping.correct=…), or set "
                    "bank.relabel=true (--relabel)."
                )
        told = f"{normal(item.question)}\0{item.gold}"
        row, same, sample = self._register.question(question.id, number, told)
        if row != number and item.whole and not derived:
            raise DataError(f"{item.where}: the id {question.id!r} is in line {row} too; every row needs its own.")
        if not same:
            raise DataError(
                f"{item.where}: the question {question.id!r} has another text or gold answer than in line {row}."
            )
        if row == number and (question.question or question.answer):
            waiting.questions.append(question)
            waiting.lines[question.id] = number
            self.questions += 1
        cots = []
        for entry in item.entries:
            cots.append(self._named(entry, question.id, sample, number))
            sample = max(sample, cots[-1].sample + 1)
        waiting.cots += cots
        waiting.flags += [entry.flag for entry in item.entries]
        waiting.asked += [question] * len(cots)
        waiting.size += sum(len(cot.text) for cot in cots)
        self.cots += len(cots)
        self.nulls += item.nulls
        if cots:
            self._register.advance(question.id, sample)

    def _question(self, item: Item) -> tuple[Question, bool]:
        """The question of a row, and whether its id was derived from its text."""
        known = self._by_id.get(item.id) if item.id else None
        text = normal(item.question)
        other = known if known is not None and text and known.question and text != normal(known.question) else None
        if text and (known is None or other is not None):
            # Files that have nothing to do with each other count their rows from 0 or 1 alike: the text says more.
            known = self._by_text.get(text)
        if other is not None and known is None:
            raise DataError(
                f"{item.where}: the id {item.id!a:.60} is that of another question of the task "
                f"({normal(other.question)!a:.60}). Let the questions go by their texts (bank.mapping.id=none), or by "
                "their ids alone where it is the same question in other words (bank.mapping.question=none)."
            )
        if not (item.id or text):
            raise DataError(f"{item.where}: expected a question, or an id of one.")
        found = known.id if known is not None else item.id or text_id(item.question)
        derived = found != item.id
        if item.entries and item.reading and known is None and "question" not in dict(item.reading):
            raise DataError(
                f"{item.where}: expected the text of the question {found!a}, no question of the task; say where "
                "it is (bank.mapping.question=…)."
            )
        question = Question(
            found,
            item.question or (known.question if known else ""),
            item.gold or (known.answer if known else ""),
            split=item.split or (known.split if known else "train"),
            kind=item.kind or (known.kind if known else ""),
            tags=item.tags or (known.tags if known else ()),
        )
        return question, derived

    def _named(self, entry: Entry, question_id: str, sample: int, number: int) -> CoT:
        """The CoT with its number and an id of its own."""
        numbered = sample if entry.sample is None else entry.sample
        cot = replace(entry.cot, question_id=question_id, sample=numbered, id=entry.id)
        if entry.id:
            row = self._register.add(cot.id, number)
            if row is not None:
                raise DataError(f"{entry.where}: the id {cot.id!r} of a CoT is in line {row} too.")
            return cot
        name, again = cot.id, 1
        while self._register.add(cot.id, number) is not None:
            again += 1
            cot = replace(cot, id=f"{name}#{again}")
        return cot


def _labels(
    waiting: _Waiting, pool: VerifierPool | None, path: Path, told: Counter[str], unreadable: Unreadable
) -> Iterator[CoT]:
    """The CoTs with their labels: the pool's, or without one the file's own."""
    if pool is None:
        for cot, flag in zip(waiting.cots, waiting.flags, strict=True):
            yield replace(cot, label=known_label(flag, cot.reason))
        return
    claims = [asked.claim(cot.answer) for cot, asked in zip(waiting.cots, waiting.asked, strict=True)]
    verdicts = judge_all(pool, claims)
    for number, gold in _unreadable_golds(waiting, verdicts, pool):
        unreadable.gold(f"{path.name}:{number}", gold)
    for cot, flag, verdict in zip(waiting.cots, waiting.flags, verdicts, strict=True):
        told["failed"] += verdict.failed
        told["unreadable"] += verdict.reason == UNREADABLE
        # An answer that we cannot read is none that we take for right, and so agrees with a file that calls it wrong.
        if flag is not None and verdict.reason in ("", UNREADABLE):
            told["agree" if flag == verdict.correct else "disagree"] += 1
        judged = replace(cot, label=label_of(verdict), reason=verdict.reason)
        unreadable.answer(judged)
        yield judged


def _unreadable_golds(waiting: _Waiting, verdicts: Sequence[Verdict], pool: VerifierPool) -> Iterator[tuple[int, str]]:
    """Line and gold of the questions that come first here and whose gold cannot be read."""
    bad = {
        asked.id for asked, verdict in zip(waiting.asked, verdicts, strict=True) if verdict.reason == UNREADABLE_GOLD
    }
    judged = {asked.id for asked in waiting.asked}
    bare = [question for question in waiting.questions if question.answer and question.id not in judged]
    claims = [question.claim(question.answer) for question in bare]
    for question, verdict in zip(bare, judge_all(pool, claims), strict=True):
        if verdict.reason == UNREADABLE_GOLD:
            bad.add(question.id)
    for question in waiting.questions:
        if question.id in bad:
            yield waiting.lines[question.id], question.answer


def _read(
    source: Source,
    pool: VerifierPool | None,
    relabel: bool,
    write: Callable[[list[Question], Iterable[CoT]], None],
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Hand every batch to `write`; returns what `bank.json` says of the import, and counts."""
    if relabel and pool is None:
        raise ValueError("relabel needs a pool")
    told = Counter(agree=0, disagree=0, unreadable=0, failed=0)
    unreadable = Unreadable()
    with Register() as register:
        reader = _Reader(source, relabel, register)
        for waiting in reader.batches(progress):
            write(waiting.questions, _labels(waiting, pool if relabel else None, source.path, told, unreadable))
    agreement = dict(told) if relabel else {}
    judged = told["agree"] + told["disagree"]
    if judged:
        _LOG.info("%s: our verifier agrees with %d of the file's %d labels", source.path, told["agree"], judged)
    if told["failed"]:
        _LOG.warning("%s: the verifier could not finish with %d CoTs; they have no label", source.path, told["failed"])
    if reader.skipped:
        _LOG.warning("%s: skipped %d bad rows", source.path, reader.skipped)
    info: dict[str, Any] = {"source": source.path.name, "relabelled": relabel, "agreement": agreement}
    if reader.skipped:
        info["skipped_rows"] = reader.skipped
    if reader.nulls:
        info["null_cots"] = reader.nulls
    if relabel and pool is not None:
        info["verifier"] = pool.verifier.name
        choices = list(getattr(pool.verifier, "choices", ()))
        info |= {"choices": choices} if choices else {}
    return {
        "info": info,
        **{name: getattr(reader, name) for name in ("cots", "questions", "skipped", "nulls", "filtered")},
        "unreadable": unreadable.summary(),
        "readings": [
            (reading, [key for key in keys if not any(_names(place, key) for _, place in reading)])
            for reading, keys in reader.readings.items()
            if reading
        ],
    }


def _names(place: str, key: str) -> bool:
    """Whether a key of a row is one of those that a place names."""
    return place == key or key in (part.partition(".")[0] for part in place.split("+"))


def import_file(
    source: Source,
    out: str | Path,
    pool: VerifierPool | None,
    *,
    relabel: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Read a file into the new bank `out` in memory that does not grow with it.

    Labels as of `import_cots`. Everything is written to `out`.partial, which becomes `out` when it is whole.

    Returns {"info" (as in bank.json), "cots", "questions", "skipped" (bad rows), "nulls" (CoTs that are null),
    "filtered" (rows of further filters of lm-evaluation-harness), "readings": for each kind of row but our own which
    key was read as which, [(ours, the file's), …], and the list of its other keys, "unreadable" (see
    `Unreadable.summary`; golds by their line)}. Raises `DataError` with file and
    line for what cannot be used, `ResourceError` where `out` is taken or nothing can be written.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "holds a bank already" if (out / "bank.json").exists() else "is there already and not empty"
        raise ResourceError(f"{out}: {what}; remove it, or name another folder.")
    partial = out.with_name(f"{out.name}.partial")
    with ExitStack() as stack:
        if partial.exists():
            # Of an import that was stopped, unless that one is still at work: then the lock says so.
            with BankFolder(partial, {}).lock(), writing(partial):
                shutil.rmtree(partial)
        folder = BankFolder.create(partial)
        stack.callback(shutil.rmtree, partial, ignore_errors=True)
        with folder.lock(), folder.writer() as writer, (partial / "questions.jsonl").open("ab") as questions:

            def write(rows: list[Question], cots: Iterable[CoT]) -> None:
                with writing(partial):
                    questions.write(b"".join(to_bytes(from_question(row)) for row in rows))
                writer.write(cots)

            found = _read(source, pool, relabel, write, progress)
            with writing(partial):
                questions.flush()
        folder.update(found["info"])
        with writing(out):
            with suppress(FileNotFoundError):
                out.rmdir()
            folder.rename(out)
        stack.pop_all()
    return found


def import_cots(
    path: str | Path,
    pool: VerifierPool | None,
    *,
    relabel: bool = True,
    bank_dir: str | Path | None = None,
    gold: Gold = answer_text,
    mapping: Mapping[str, str] | None = None,
    known: Iterable[Question] = (),
    skip: bool = False,
) -> tuple[Bank, dict[str, int]]:
    """Read a file's CoTs into a bank in memory, or in the new folder `bank_dir`; other arguments as of `Source`.

    With `relabel` every CoT's answer is judged by the pool against its row's gold: right 1, wrong 0, no label (None)
    where answer or gold is empty or unreadable or the verifier gave up. A row whose gold is unreadable is no bad row:
    it is kept, as another verifier may read it, and a warning names the first of them. Without `relabel` the file's
    `correct` is the label and no pool is needed. `source` becomes the teacher. A row without CoTs gives none, and a
    CoT that is null is none. One that states no answer of its own is searched for one; where there is none its
    `problem` is `no_answer`.

    Returns the bank and, with `relabel`, how far our labels and the file's agree: {"agree", "disagree"} over the CoTs
    that the file labels (an unreadable answer agrees with 0), and of all CoTs {"unreadable", "failed"} (timeouts and
    errors); also kept in `bank.info`.

    Raises `DataError` with file and line for what cannot be used.
    """
    source = Source(Path(path), mapping or {}, gold, known, skip)
    if bank_dir is not None:
        found = import_file(source, bank_dir, pool, relabel=relabel)
        return Bank.open(bank_dir), found["info"]["agreement"]
    bank = Bank()

    def write(questions: list[Question], cots: Iterable[CoT]) -> None:
        bank.questions |= {question.id: question for question in questions}
        bank.append(cots)

    found = _read(source, pool, relabel, write, lambda done, total: None)
    bank.info = found["info"]
    for sentence in sentences(found["unreadable"]):
        _LOG.warning("%s: %s", path, sentence)
    return bank, bank.info["agreement"]


def gold_reader(task: str) -> Gold:
    """How the task of that name reads a row's gold answer."""
    return final_answer if task == "gsm8k" else answer_text


def known_questions(task: Task) -> list[Question]:
    """The questions of all splits."""
    return [question for split in task.splits() for question in task.rows(split)]
