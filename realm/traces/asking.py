"""Asking teachers while a run is at work: by the collection, with its budget, its ledger and its resume.

Their replies are left below the run's folder, as a bank. It outlives a run that is overwritten, and gives the next one
what that asks word for word.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.tasks.base import Question, normal
from realm.teacher.collect import bank_info, collect
from realm.teacher.instructing import read_example
from realm.teacher.lanes import Tally
from realm.teacher.plan import Estimate, Plan
from realm.traces.base import Given, Trace, telling
from realm.traces.examples import fitting, written_tokens

_LOG = logging.getLogger(__name__)
#: The folder of what steps ask for, below that of the run, but for the instructors', which is older.
FOLDER = "asked"


def replies(given: Given, plan: Plan, folder: Path | None = None) -> list[CoT]:
    """What the teachers reply to a plan, those of an earlier start among it, but not those to an overwritten run.

    Each is judged by the answer of its question, where that has one. What they wrote is counted as spent. They came in
    any order; the order here is a function of what they are.

    Args:
        folder: the bank is below it; None is that of all steps.

    Raises:
        ConfigError, TeacherError, ResourceError, KeyboardInterrupt: as of `realm.teacher.collect.collect`.
    """
    path = (folder or given.folder / FOLDER) / "bank"
    there = (path / "bank.json").is_file()
    bank = BankFolder.open(path) if there else BankFolder.create(path, bank_info(given.config, given.task))
    tell = telling("replies of teachers")

    def watch(tally: Tally) -> None:
        tell(tally.there + tally.done, tally.there + tally.owed)

    tally = collect(given.config, given.task, bank, given.verifier, plan=plan, announce=_announce, watch=watch)
    if tally.left:
        _LOG.warning("%s: %d of %d replies were not written (see ledger.jsonl)", path, tally.left, plan.size)
    ours = {job.key for source in plan.sources for job in plan.jobs(source)}
    found = sorted((cot for cot in bank.scan() if cot.id in ours), key=lambda cot: cot.id)
    given.spent.teacher_tokens += written_tokens(lambda: given.tokenizer, found)
    return found


def _announce(owed: Sequence[Estimate]) -> None:
    """Says what is asked for, and what it can cost, before the first request."""
    for one in owed:
        if one.samples:
            cost = one.cost()[1] if one.source.currency else None
            most = "" if cost is None else f", for at most {cost:.2f} {one.source.currency}"
            _LOG.info("asking %s for %d replies%s", one.source.name, one.samples, most)


def exercises(given: Given, found: Sequence[CoT]) -> list[Trace]:
    """The examples in replies that can be read, are not a question of a held-out split, and are not too long."""
    task = given.task
    held_out = {normal(row.question) for split in task.splits() if split != "train" for row in task.rows(split)}
    kept: list[Trace] = []
    left_out: Counter[str] = Counter()
    for cot in found:
        written = None if cot.problem else read_example(cot.text)
        if written is None:
            left_out["unreadable"] += 1
            continue
        trace = exercise(cot.id, cot.teacher, written.question, written.text, written.answer)
        if normal(written.question) in held_out:
            left_out["held out"] += 1
        elif not fitting([trace], given):
            left_out["too long"] += 1
        else:
            kept.append(trace)
    if left_out:
        said = ", ".join(f"{reason}: {number}" for reason, number in left_out.items())
        _LOG.warning("%d of %d examples are left out (%s)", left_out.total(), len(found), said)
    return kept


def exercise(id: str, teacher: str, question: str, text: str, answer: str) -> Trace:
    """A question that a teacher wrote, with its own CoT: nobody has judged it."""
    return Trace(Question(id, question, answer), CoT(id, text, answer, None, teacher, id=id))
