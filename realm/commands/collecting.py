"""Teachers' CoTs into a bank: a new one, or one that is gone on with."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from realm.bank.cot import PROBLEMS
from realm.bank.folder import BankFolder
from realm.config import Config
from realm.errors import ConfigError, ResourceError
from realm.files import writing
from realm.tasks.base import Task
from realm.tasks.registry import load_task
from realm.tasks.workers import VerifierPool
from realm.teacher import collect as collecting
from realm.teacher.collect import Announce, bank_info, check_same, costly, make_plan, worded_as
from realm.teacher.engine import Watch
from realm.teacher.lanes import Tally
from realm.teacher.plan import Plan

_LOG = logging.getLogger(__name__)


def bank_of(config: Config, out: str | Path | None = None) -> Path:
    """The folder of the bank: `out`, else `bank.path`, else `bank` in the run's folder."""
    return Path(out or config.bank.path or config.run_path / "bank")


def collect(
    config: Config,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    again: Sequence[str] = (),
    task: Task | None = None,
    plan: Plan | None = None,
    announce: Announce | None = None,
    watch: Watch | None = None,
) -> tuple[BankFolder, Tally]:
    """What `realm collect` does: ask the teachers for CoTs on every question, judge them, keep them in a bank.

    Args:
        out: folder of the bank, see `bank_of`.
        resume: go on with the bank that is there; what it holds is not asked for again.
        overwrite: a bank that is there makes room; one that cost something is kept beside it.
        again: with `resume`: problems of CoTs for which another is asked for.
        task, plan: those of the configuration, where they were made before.
        announce, watch: see `realm.teacher.collect.collect`.

    Returns:
        The bank, and the tally, whose `left` samples are still owed, by the budget, refusals or failures.

    Raises:
        UserError: there is a bank, or it was collected with other settings; a teacher cannot be asked.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after what had arrived was written.
    """
    check_again(again, resume)
    config = worded_as(config, bank_of(config, out)) if resume else config
    task = task or load_task(config)
    plan = plan or make_plan(config, task)  # a mistake is found before anything is written
    folder, info = bank_of(config, out), bank_info(config, task, plan.guidance)
    there = existing(folder, info, resume=resume, overwrite=overwrite)
    bank = _renewed(there, info) if there else _create(folder, info)
    workers = min(4, os.cpu_count() or 1)  # a verifier that takes longer than a teacher would hold everything up
    with VerifierPool(task.verifier.name, config.task.choices, config.task.verifier_timeout, workers) as pool:
        tally = collecting.collect(config, task, bank, pool, plan=plan, again=again, announce=announce, watch=watch)
    return bank, tally


def check_again(again: Sequence[str], resume: bool) -> None:
    """Raise `ConfigError` for problems that are none, and where no bank is gone on with."""
    unknown = [problem for problem in again if problem not in PROBLEMS]
    if unknown:
        raise ConfigError(f"--again: expected one of {', '.join(PROBLEMS)}, found {unknown[0]!r:.60}.")
    if again and not resume:
        raise ConfigError("--again: asks again for CoTs of a bank that is there; give --resume with it.")


def existing(folder: Path, info: dict[str, Any], *, resume: bool, overwrite: bool) -> BankFolder | None:
    """The bank to go on with, None for a new one.

    Raises:
        ResourceError: it is a file; there is one, and neither `resume` nor `overwrite` is set.
        ConfigError: the one to go on with was collected with other settings (more samples are welcome).
    """
    if folder.exists() and not folder.is_dir():
        raise ResourceError(f"{folder}: cannot write a bank there, it is a file; choose another --out.")
    if not (folder / "bank.json").exists():
        return None
    if resume:
        bank = BankFolder.open(folder)
        if next(bank.scan(), None) is not None:  # before the first CoT, settings may still be mended
            check_same(bank, info)
        return bank
    if not overwrite:
        raise ResourceError(f"{folder}: holds a bank already. Give --resume, --overwrite or another --out.")
    return None


def _renewed(bank: BankFolder, info: dict[str, Any]) -> BankFolder:
    """The bank to go on with, its `bank.json` saying what is collected now; the number of samples never falls."""
    with bank.lock():
        bank.update({**info, "samples": max(info["samples"], bank.info.get("samples", 0))})
    return bank


def _create(folder: Path, info: dict[str, Any]) -> BankFolder:
    """A new bank; one that it would replace is moved aside if it cost something to get."""
    if (folder / "bank.json").exists():
        _clear(folder)
    return BankFolder.create(folder, info)


def _clear(folder: Path) -> None:
    """Make room for a new bank where there is one."""
    bank = BankFolder(folder, {})
    with bank.lock(), writing(folder):  # not while another process fills it
        if not costly(folder):
            bank.vacate()
            return
        number = 1
        while (aside := folder.with_name(f"{folder.name}.old-{number}")).exists():
            number += 1
        bank.rename(aside)
    _LOG.warning("%s: the bank that was there is kept as %s", folder, aside)
