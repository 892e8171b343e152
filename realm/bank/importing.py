"""CoTs of others: JSONL rows {"id", "answer", "cots": [{"text", "answer", "correct", "source"}]} become a bank."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from realm.bank.store import Bank, CoT
from realm.config import Config
from realm.errors import DataError
from realm.tasks.base import Task
from realm.tasks.gsm8k import final_answer
from realm.tasks.jsonl import answer_text, read_rows
from realm.tasks.workers import VerifierPool

_LOG = logging.getLogger(__name__)


def import_cots(
    path: str | Path,
    pool: VerifierPool | None,
    *,
    relabel: bool = True,
    bank_dir: str | Path | None = None,
    gold: Callable[[Mapping[str, Any]], str] = answer_text,
) -> tuple[Bank, dict[str, int]]:
    """Read a file's CoTs into a bank in memory, or in the new folder `bank_dir`.

    With `relabel` every CoT's answer is judged by the pool against its row's gold: right 1; wrong, empty or unreadable
    0; a verifier that gave up gives no label (None). Without, the file's `correct` is the label and no pool is needed.
    `source` becomes the teacher. A row without `cots` gives none.

    Returns the bank and, with `relabel`, how far our labels and the file's agree: {"agree", "disagree"} over the CoTs
    that the file labels, and of all CoTs {"unreadable", "failed"} (timeouts and errors); also kept in `bank.info`.

    Raises `DataError` for what `read_rows` refuses, and by line for a CoT that is not of the form above.
    """
    cots: list[CoT] = []
    flags: list[bool | None] = []
    pairs: list[tuple[str | None, str]] = []
    for row in read_rows(path):
        where = f"{path}:{row.line}"
        found = row.content.get("cots", [])
        if not isinstance(found, list):
            raise DataError(f"{where}: expected a list under `cots`, found {type(found).__name__}.")
        answer = gold(row.content)
        if found and relabel and not answer:
            raise DataError(f"{where}: no answer to judge the CoTs by; add it, or set bank.relabel=false.")
        for sample, item in enumerate(found):
            cot, flag = _cot(f"{where}: cots[{sample}]", row.id, sample, item)
            if flag is None and not relabel:
                raise DataError(f"{where}: cots[{sample}] has no `correct`; add it, or set bank.relabel=true.")
            cots.append(cot)
            flags.append(flag)
            pairs.append((cot.answer, answer))
    if not cots:
        raise DataError(f"{path}: expected CoTs under `cots`, no row has any.")
    labels: list[int | None] = [None if flag is None else int(flag) for flag in flags]
    agreement: dict[str, int] = {}
    if relabel:
        if pool is None:
            raise ValueError("relabel needs a pool")
        labels, agreement = _judge(pairs, flags, pool)
        told = agreement["agree"] + agreement["disagree"]
        if told:
            _LOG.info("%s: our verifier agrees with %d of the file's %d labels", path, agreement["agree"], told)
        if agreement["failed"]:
            _LOG.warning(
                "%s: the verifier could not finish with %d CoTs; they have no label", path, agreement["failed"]
            )
    info = {"source": Path(path).name, "relabelled": relabel, "agreement": agreement}
    bank = Bank.create(bank_dir, info) if bank_dir is not None else Bank(info)
    bank.append(replace(cot, label=label) for cot, label in zip(cots, labels, strict=True))
    return bank, agreement


def _cot(where: str, question_id: str, sample: int, item: Any) -> tuple[CoT, bool | None]:
    """The CoT of one entry of `cots`, not labelled yet, and the file's own label."""
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        raise DataError(f"{where}: expected an object with a `text`.")
    answer, flag, source = item.get("answer"), item.get("correct"), item.get("source", "")
    if not isinstance(answer, str | None) or not isinstance(flag, bool | None) or not isinstance(source, str):
        raise DataError(f"{where}: expected `answer` and `source` to be texts and `correct` true or false.")
    return CoT(question_id, item["text"], answer or "", None, teacher=source, sample=sample), flag


def _judge(
    pairs: list[tuple[str | None, str]], flags: list[bool | None], pool: VerifierPool
) -> tuple[list[int | None], dict[str, int]]:
    labels: list[int | None] = []
    count = Counter(agree=0, disagree=0, unreadable=0, failed=0)
    for verdict, flag in zip(pool.verify(pairs), flags, strict=True):
        if verdict.reason not in ("", "unreadable"):
            count["failed"] += 1
            labels.append(None)
            continue
        count["unreadable"] += verdict.reason == "unreadable"
        if flag is not None:
            count["agree" if flag == verdict.correct else "disagree"] += 1
        labels.append(int(verdict.correct))
    return labels, dict(count)


def open_bank(config: Config, task: Task, pool: VerifierPool) -> Bank:
    """The bank that `bank.path` names: a folder is opened, a JSONL file imported into memory (`Bank.save` keeps it).

    The default is the folder `bank` of the run. Raises `DataError` where it cannot be read, or where it holds no
    labelled CoT for any training question of the task.
    """
    path = Path(config.bank.path) if config.bank.path else config.run_path / "bank"
    if not path.exists():
        raise DataError(
            f"{path}: there is no bank; fill it first (`realm collect` with the same CONFIG), "
            "or let bank.path name a bank's folder or a JSONL file with `cots`."
        )
    if path.is_dir() or path.suffix != ".jsonl":
        bank = Bank.open(path)
    else:
        gold = final_answer if task.name == "gsm8k" else answer_text
        bank, _ = import_cots(path, pool, relabel=config.bank.relabel, gold=gold)
    questions = task.rows("train")
    covered = sum(bool(bank.routes(question.id)) for question in questions)
    if not covered:
        raise DataError(
            f"{path}: holds no labelled CoT for any of the {len(questions)} training questions of {task.name}; "
            "its question ids must be those of the task."
        )
    if covered < len(questions):
        _LOG.info("%s: CoTs for %d of %d training questions", path, covered, len(questions))
    return bank
