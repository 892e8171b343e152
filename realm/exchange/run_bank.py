"""The bank of a run: named in its configuration or collected for it, and the copy of a file that stays with it."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from realm.bank.labelling import half_judged, labelled_by
from realm.bank.store import Bank
from realm.config import Config, needs_bank
from realm.display import printable
from realm.errors import DataError
from realm.exchange.importing import gold_reader, import_cots, known_questions
from realm.files import writing
from realm.recipes import plan
from realm.tasks.base import Question, Task, normal
from realm.tasks.workers import VerifierPool

_LOG = logging.getLogger(__name__)


def has_bank(config: Config) -> bool:
    """Whether a bank was named, or collected for this run."""
    return bool(config.bank.path) or (config.run_path / "bank").exists()


def bank_settings(config: Config, *, resume: bool = False) -> Config | None:
    """The configuration with the bank that the run takes; None where there is none and the recipe asks for no CoTs.

    A resumed run goes on with its own copy of an imported file, whatever became of the file. Raises `DataError` where
    nothing is there.
    """
    if not has_bank(config) and not any(needs_bank(config, stage) for stage in plan(config)):
        return None
    if resume and config.bank.path and Path(config.bank.path).suffix == ".jsonl" and _imported(config.run_path):
        config = config.model_copy(update={"bank": config.bank.model_copy(update={"path": None})})
    bank_path(config)
    return config


def open_run_bank(config: Config, task: Task, pool: VerifierPool, *, resume: bool = False) -> Bank | None:
    """The configured bank (see `open_bank`); None, and what is resumed, as of `bank_settings`."""
    found = bank_settings(config, resume=resume)
    return None if found is None else open_bank(found, task, pool)


def _imported(run: Path) -> bool:
    """Whether the bank in the folder of a run is a copy that `keep_bank` made, not one that was collected there."""
    return (run / "bank" / "bank.json").is_file() and "source" in Bank.open(run / "bank").info


def keep_bank(bank: Bank, run: Path) -> None:
    """Put a bank that was imported into the run's folder: the labels that this run rests on stay with it.

    The copy of an earlier run is replaced; a bank that was collected there stays: it may have cost a teacher's fees.
    """
    if (run / "bank").exists() and not _imported(run):
        return
    temporary = run / "bank.tmp"  # renamed when whole, so that a resumed run never takes half a bank
    with writing(temporary):
        shutil.rmtree(temporary, ignore_errors=True)
        bank.save(temporary)
        if (run / "bank").exists():
            shutil.rmtree(run / "bank")
        temporary.rename(run / "bank")


def bank_path(config: Config) -> Path:
    """Where the bank is: `bank.path`, or the folder `bank` of the run; raises `DataError` where nothing is there."""
    path = Path(config.bank.path) if config.bank.path else config.run_path / "bank"
    if not path.exists():
        raise DataError(
            f"{path}: there is no bank; fill it first (`realm collect` with the same CONFIG), "
            "or let bank.path name a bank's folder or a JSONL file with `cots`."
        )
    return path


def open_bank(config: Config, task: Task, pool: VerifierPool) -> Bank:
    """The bank that `bank.path` names: a folder is opened, a JSONL file imported into memory (`Bank.save` keeps it).

    The default is the folder `bank` of the run. Raises `DataError` where it cannot be read, where it holds no labelled
    CoT for any training question of the task, knows one of its questions by another text or gold, or where its labels
    are those of two verifiers; labels of another one than the task's are told.
    """
    path = bank_path(config)
    if path.is_dir() or path.suffix != ".jsonl":
        bank = Bank.open(path)
        _check_labels(path, bank.info, task, config.task.choices)
    else:
        bank, _ = import_cots(
            path,
            pool,
            relabel=config.bank.relabel,
            gold=gold_reader(task.name),
            mapping=config.bank.mapping,
            known=known_questions(task),
        )
    _check_questions(path, bank, task, pool)
    questions = task.rows("train")
    covered = sum(bool(bank.routes(question.id)) for question in questions)
    if not covered:
        raise DataError(
            f"{path}: holds no labelled CoT for any of the {len(questions)} training questions of "
            f"{config.task.called}; its question ids must be those of the task."
        )
    if covered < len(questions):
        _LOG.info("%s: CoTs for %d of %d training questions", path, covered, len(questions))
    return bank


def _check_labels(path: Path, info: Mapping[str, Any], task: Task, choices: Sequence[str]) -> None:
    """Whose labels the CoTs of a bank have: what they call right, the reward should."""
    if mixed := half_judged(info):
        raise DataError(f"{path}: {mixed}.")
    known, ours = info.get("verifier"), task.verifier.name
    if known is not None and not labelled_by(info, ours, choices):
        _LOG.warning(
            "%s: its labels are those of the verifier %s, and the task's is %s%s: what is shown and taught as right "
            "may be none to it. Judge them by the task's: realm bank label %s --all --config CONFIG",
            path, printable(str(known)), printable(ours), " with other choices" if known == ours else "", path,
        )  # fmt: skip


def _check_questions(path: Path, bank: Bank, task: Task, pool: VerifierPool) -> None:
    """Refuse a bank whose CoTs answer something else than the task asks, or were judged by another gold."""
    golds: list[tuple[Question, str]] = []
    for question in known_questions(task):
        there = bank.questions.get(question.id)
        if there is None or not bank.routes(question.id):
            continue
        if there.question.strip() and normal(there.question) != normal(question.question):
            raise DataError(
                f"{path}: the question {question.id!a:.60} is {normal(there.question)!a:.60} there and "
                f"{normal(question.question)!a:.60} in the task, so that its CoTs answer something else; import them "
                "with the task's CONFIG and bank.mapping.id=none, or give the questions of either other ids."
            )
        if there.answer.strip() and normal(there.answer) != normal(question.answer):
            golds.append((question, there.answer))
    if bank.info.get("relabelled") is False:
        return  # its labels are the file's own, whatever that takes for the gold
    verdicts = pool.verify([question.claim(gold) for question, gold in golds])
    other = [pair for pair, verdict in zip(golds, verdicts, strict=True) if not (verdict.correct or verdict.failed)]
    if other:
        question, gold = other[0]
        more = f" ({len(other)} such questions)" if len(other) > 1 else ""
        raise DataError(
            f"{path}: the gold of the question {question.id!a:.60} is {normal(gold)!a:.60} there and "
            f"{normal(question.answer)!a:.60} in the task{more}, so that its CoTs were judged by another one; mend the "
            "golds of either, and those of the bank's questions.jsonl before `realm bank label --all`."
        )
