"""Whether training can use a bank: every row looked at once, then every question with its CoTs."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from realm.bank.cot import CoT, from_record
from realm.bank.folder import BankFolder
from realm.bank.labelling import count, half_judged, judge_all, label_of
from realm.bank.questions import differing
from realm.bank.register import Register
from realm.bank.scan import Group, groups
from realm.bank.unreadable import EXAMPLES, MOST
from realm.errors import DataError
from realm.tasks.base import Question
from realm.tasks.verify import UNREADABLE, UNREADABLE_GOLD
from realm.tasks.workers import VerifierPool

#: Rows that are named for each kind of finding; the rest are counted.
NAMED = 20
_EVERY = 1000
Severity = Literal["error", "warning"]

#: Kinds of findings: how bad, what it is, and what to do.
KINDS: dict[str, tuple[Severity, str, str]] = {
    "unreadable": ("error", "rows that are no CoT", "mend or remove the lines"),
    "torn": ("warning", "a torn last line", "the next `realm collect --resume` or `realm bank label` removes it"),
    "duplicate": ("error", "CoTs with the id of another", "remove all but one of each id"),
    "question": ("error", "questions that cannot be read", "mend or remove the lines of questions.jsonl"),
    "comment": ("error", "comments that cannot be read", "mend or remove the lines of comments.jsonl"),
    "differs": (
        "error",
        "questions that ask something else than the task's of the same id",
        "its CoTs answer the bank's: give the task's questions other ids, or mend the golds of either",
    ),
    "half_judged": (
        "error",
        "labels of two verifiers, as a judging of all CoTs was stopped",
        "`realm bank label --all` with either of them",
    ),
    "empty": ("error", "CoTs without text that count as answers", "remove them, or set their `problem` to empty"),
    "most_unreadable": (
        "error",
        f"whole answers without label as the verifier cannot read them or their gold, more than {MOST:.0%} of all",
        "if they are right choose another task.verifier and judge anew (`realm bank label --all --verifier NAME`), "
        "else mend the golds, or collect anew and ask for another form of answer (teachers.*.prompt)",
    ),
    "some_unreadable": (
        "warning",
        "whole answers without label as the verifier cannot read them or their gold; training leaves them out",
        "as long as they are few, nothing; else another task.verifier or teachers.*.prompt",
    ),
    "unreadable_gold": (
        "warning",
        "questions whose gold the verifier cannot read; none of their CoTs has a label",
        "mend the golds in questions.jsonl, or choose another task.verifier, and judge with `realm bank label`",
    ),
    "unlabelled": ("warning", "CoTs without label; training leaves them out", "`realm bank label` judges them"),
    "no_answer": ("warning", "CoTs labelled right without an answer", "`realm bank label --all` judges them anew"),
    "no_gold": ("warning", "questions without gold answer whose CoTs have no label", "add it to questions.jsonl"),
    "unknown": ("warning", "CoTs of questions that questions.jsonl does not have", "add the questions"),
    "contradiction": ("error", "CoTs whose label the verifier contradicts", "`realm bank label --all` judges anew"),
    "unjudged": (
        "warning",
        "labelled CoTs that the verifier could not finish with now",
        "allow it more time (task.verifier_timeout)",
    ),
    "none_usable": ("error", "no CoT is labelled and a whole answer", "judge them with `realm bank label`, or collect"),
    "none_mixed": (
        "warning",
        "no question has right and wrong CoTs, so no prompt can show both",
        "collect more samples, of more or other teachers",
    ),
    "held_out": (
        "error",
        "all CoTs are of held-out questions",
        "collect or import CoTs of training questions, and never train on a benchmark's test",
    ),
    "not_covered": (
        "error",
        "no training question of the task has a usable CoT",
        "the bank's question ids must be those of the task: import with the task's CONFIG",
    ),
    "partly_covered": ("warning", "training questions of the task have no usable CoT", "collect for them (--resume)"),
}


@dataclass
class Finding:
    """One kind of finding, in how many rows, and the first of them."""

    kind: str
    count: int = 0
    rows: list[str] = field(default_factory=list)

    @property
    def severity(self) -> Severity:
        return KINDS[self.kind][0]

    @property
    def what(self) -> str:
        return KINDS[self.kind][1]

    @property
    def advice(self) -> str:
        return KINDS[self.kind][2]


class _Findings:
    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}

    def add(self, kind: str, row: str | None = None, count: int = 1) -> None:
        finding = self._found.setdefault(kind, Finding(kind))
        finding.count += count
        if row is not None and len(finding.rows) < NAMED:
            finding.rows.append(row)

    def __contains__(self, kind: str) -> bool:
        return kind in self._found

    def sorted(self) -> list[Finding]:
        """Errors first, in the order of `KINDS`."""
        order = list(KINDS)
        return sorted(self._found.values(), key=lambda f: (f.severity != "error", order.index(f.kind)))


def validate(
    folder: BankFolder,
    *,
    training: Collection[str] | None = None,
    held_out: Collection[str] = (),
    asked: Mapping[str, Question] | None = None,
    pool: VerifierPool | None = None,
    progress: Callable[[int], None] = lambda done: None,
    counted: Counter[str] | None = None,
) -> list[Finding]:
    """What is wrong with a bank, errors first; no error means that training can use it.

    Args:
        training, held_out: ids of the task's questions. Without them the splits of the bank's own questions count.
        asked: the task's questions by id, whose text and gold the bank's are held against.
        pool: judges every labelled CoT anew, to find labels that it contradicts.
        progress: told now and then how many CoTs were looked at, each of which is looked at twice.
        counted: is given the number of CoTs of each split of the questions that are `asked`.

    Memory does not grow with the bank. A folder that holds no bank at all raises `DataError`.
    """
    found = _Findings()
    if mixed := half_judged(folder.info):
        found.add("half_judged", mixed)
    done = 0
    with Register() as register:
        for done, (row, cot) in enumerate(_cots(folder, found), start=1):
            first = register.add(cot.id, done)
            if counted is not None and asked and cot.question_id in asked:
                counted[asked[cot.question_id].split] += 1
            if first is not None:
                found.add("duplicate", f"{row}: {cot.id} is CoT number {first} too")
            if not done % _EVERY:
                progress(done)
    if not (folder.path / "questions.jsonl").exists():
        found.add("question", "questions.jsonl is not there")
    try:
        for question in folder.iterate_questions():
            other = (asked or {}).get(question.id)
            if other is not None and (told := differing(question, other)):
                found.add("differs", f"{question.id}: {told}")
    except DataError as error:
        found.add("question", str(error))
    try:
        folder.comments()
    except DataError as error:
        found.add("comment", str(error))
    if "unreadable" in found or "question" in found:
        # What follows rests on whole rows.
        return found.sorted()
    _Look(found, training, held_out, pool).at(groups(folder), done, progress)
    return found.sorted()


def rows_of(folder: BankFolder) -> int:
    """The number of CoTs as far as they can be counted: a broken Parquet file is a finding of `validate`."""
    try:
        return count(folder)
    except DataError:
        return 0


def _cots(folder: BankFolder, found: _Findings) -> Iterator[tuple[str, CoT]]:
    """Every CoT that can be read, with its place; the others become findings."""
    try:
        for number, cot in enumerate(folder.compacted(), start=1):
            yield f"{folder.info['parquet']} row {number}", cot
    except DataError as error:
        found.add("unreadable", str(error))
    path = folder.path / "cots.jsonl"
    if not path.exists():
        found.add("unreadable", f"{path.name} is not there")
        return
    for number, line in folder.lines():
        try:
            cot = from_record(json.loads(line))
        except (ValueError, RecursionError) as error:
            found.add("unreadable", f"{path.name}:{number}: {error}")
            continue
        yield f"{path.name}:{number}", cot
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size and file.seek(size - 1) is not None and file.read(1) != b"\n":
            found.add("torn", path.name)


class _Look:
    """The second pass: questions with their CoTs, labels applied."""

    def __init__(
        self,
        found: _Findings,
        training: Collection[str] | None,
        held_out: Collection[str],
        pool: VerifierPool | None,
    ) -> None:
        self._found, self._pool = found, pool
        self._training, self._held_out = training, held_out
        self._count: Counter[str] = Counter()
        self._unreadable: list[str] = []

    def at(self, every: Iterator[Group], done: int, progress: Callable[[int], None]) -> None:
        for question, cots in every:
            if cots:
                self._question(question, cots)
            done += len(cots)
            progress(done)
        count, add = self._count, self._found.add
        if count["unreadable"]:
            kind = "most_unreadable" if count["unreadable"] > MOST * count["whole"] else "some_unreadable"
            for row in self._unreadable:
                add(kind, row)
            add(kind, count=count["unreadable"] - len(self._unreadable))
        if not count["usable"]:
            add("none_usable")
            return
        if not count["mixed"]:
            add("none_mixed")
        if self._training is None:
            if not count["of_training"]:
                add("held_out")
        elif not count["of_training"]:
            add("held_out" if count["of_held_out"] == count["questions"] else "not_covered")
        elif count["of_training"] < len(self._training):
            missing = len(self._training) - count["of_training"]
            add("partly_covered", f"{missing} of {len(self._training)}", missing)

    def _question(self, question: Question | None, cots: list[CoT]) -> None:
        name = cots[0].question_id
        add, count = self._found.add, self._count
        if question is None:
            add("unknown", f"{name} ({len(cots)} CoTs)", len(cots))
        for cot in cots:
            if cot.reason not in (UNREADABLE, UNREADABLE_GOLD):
                if cot.label is None:
                    add("unlabelled", f"{cot.id}{f' ({cot.reason})' if cot.reason else ''}")
            elif not cot.problem:  # else that is why there is nothing to read
                count["unreadable"] += 1
                if len(self._unreadable) < EXAMPLES and cot.reason == UNREADABLE:
                    self._unreadable.append(f"{cot.id}: answer {cot.answer[:60]!a}")
            count["whole"] += not cot.problem
            if not cot.text.strip() and not cot.problem:
                add("empty", cot.id)
            if cot.label == 1 and not cot.answer.strip():
                add("no_answer", cot.id)
        gold = question.answer if question else ""
        if any(cot.reason == UNREADABLE_GOLD for cot in cots):
            add("unreadable_gold", f"{name}: gold {gold[:60]!a}")
        if not gold.strip() and any(cot.label is None for cot in cots):
            add("no_gold", name)
        usable = {cot.label for cot in cots if cot.usable and cot.text.strip()}
        count["questions"] += 1
        count["usable"] += bool(usable)
        count["mixed"] += len(usable) == 2
        split = question.split if question else "train"
        count["of_training"] += bool(usable) and (
            name in self._training if self._training is not None else split == "train"
        )
        count["of_held_out"] += name in self._held_out
        if self._pool is not None and question is not None and gold.strip():
            self._verify(cots, question, self._pool)

    def _verify(self, cots: list[CoT], question: Question, pool: VerifierPool) -> None:
        judged = [cot for cot in cots if cot.label is not None]
        verdicts = judge_all(pool, [question.claim(cot.answer) for cot in judged])
        for cot, verdict in zip(judged, verdicts, strict=True):
            if verdict.failed:
                self._found.add("unjudged", f"{cot.id} ({verdict.reason})")
            elif label_of(verdict) != cot.label:
                why = f" ({verdict.reason})" if verdict.reason else ""
                self._found.add(
                    "contradiction",
                    f"{cot.id}: label {cot.label}, answer {cot.answer[:60]!a}, gold {question.answer[:60]!a}{why}",
                )
