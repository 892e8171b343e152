"""`realm collect`: fill a bank with the CoTs of teachers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from realm.cli.common import ConfigFile, Overrides, Overwrite, Resume, resolve

#: Exit code where samples are still owed.
OWED = 3

if TYPE_CHECKING:
    from realm.bank.folder import BankFolder
    from realm.config import Config
    from realm.tasks.base import Task
    from realm.teacher.plan import Plan


def collect(
    config: ConfigFile = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder of the bank.", show_default="bank.path, else bank in the run folder"
        ),
    ] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked and what it would cost, and stop there.")
    ] = False,
    again: Annotated[
        list[str] | None,
        typer.Option(
            "--again",
            metavar="PROBLEM",
            help="With --resume: ask again where the bank's CoT has this problem (empty, cut, refused, malformed, "
            "no_answer). The old CoT stays, marked. Repeatable.",
            show_default=False,
        ),
    ] = None,
    show: Annotated[
        int, typer.Option("--show", metavar="N", min=0, help="Print the messages of N samples, and stop there.")
    ] = 0,
) -> None:
    """Ask the teachers for CoTs on every question, judge them, and keep them in a bank.

    Expert comments are put into a teacher's prompt with probability guidance.probability. A stopped collection goes on
    with --resume: what is in the bank is not asked for again.

    Exit code 0: nothing is owed any more. 3: samples are still owed, as the budget, refusals or failures kept them from
    coming. 2: a mistake to mend, or a teacher that cannot be asked.
    """
    _check_again(again or (), resume)
    resolved = resolve(config, overrides)
    folder = out or Path(resolved.bank.path or resolved.run_path / "bank")

    from realm.bank.folder import BankFolder
    from realm.cli.collect_show import print_outlook, print_plan, print_samples
    from realm.display import printable
    from realm.tasks.registry import load_task
    from realm.teacher.collect import bank_info, look, make_plan, open_ledger
    from realm.teacher.ledger import Sums
    from realm.teacher.plan import survey

    task = load_task(resolved)
    plan = make_plan(resolved, task, keyless=dry_run or bool(show))  # a mistake is found before anything is written
    if show:
        print_samples(plan, show, BankFolder.open(folder) if (folder / "bank.json").is_file() else None)
        return
    info = bank_info(resolved, task, plan.guidance)
    there = _existing(folder, info, resume=resume, overwrite=overwrite)
    for warning in plan.guidance.warnings(plan.questions):
        typer.echo(f"warning: {printable(warning)}", err=True)
    if dry_run:
        held = look(there, again or ())
        estimates = survey(plan, held.ids, held.means, held.stale)
        print_plan(folder, plan, estimates, resolved.collect.budget)
        spent = open_ledger(folder, resolved, plan).spent if there else Sums()
        print_outlook(estimates, spent, resolved.collect.budget)
        typer.echo("dry run: nothing was sent, nothing was written")
        return
    _fill(_renewed(there, info) if there else _create(folder, info), resolved, task, plan, again or ())


def _check_again(again: Sequence[str], resume: bool) -> None:
    from realm.bank.cot import PROBLEMS
    from realm.errors import ConfigError

    unknown = [problem for problem in again if problem not in PROBLEMS]
    if unknown:
        raise ConfigError(f"--again: expected one of {', '.join(PROBLEMS)}, found {unknown[0]!r:.60}.")
    if again and not resume:
        raise ConfigError("--again: asks again for CoTs of a bank that is there; give --resume with it.")


def _fill(folder: BankFolder, config: Config, task: Task, plan: Plan, again: Sequence[str]) -> None:
    from realm.cli.collect_show import CollectionView, print_bank, print_left, print_plan
    from realm.errors import TeacherError
    from realm.tasks.workers import VerifierPool
    from realm.teacher.collect import collect as fill

    budget = config.collect.budget
    workers = min(4, os.cpu_count() or 1)  # a verifier that takes longer than a teacher would hold everything up
    with (
        VerifierPool(task.verifier.name, config.task.choices, config.task.verifier_timeout, workers) as pool,
        CollectionView() as view,
    ):
        try:
            tally = fill(
                config,
                task,
                folder,
                pool,
                plan=plan,
                again=again,
                announce=lambda estimates: print_plan(folder.path, plan, estimates, budget),
                watch=view.show,
            )
        except TeacherError:
            if view.last is not None and view.last.done:
                view.close()
                print_bank(folder, view.last)
            raise
    print_bank(folder, tally)
    print_left(tally, budget)
    if tally.left:
        raise typer.Exit(OWED)


def _existing(folder: Path, info: dict[str, Any], *, resume: bool, overwrite: bool) -> BankFolder | None:
    """The bank to go on with, None for a new one.

    Raises:
        ResourceError: it is a file; there is one, and neither `resume` nor `overwrite` is set.
        ConfigError: the one to go on with was collected with other settings (more samples are welcome).
    """
    from realm.bank.folder import BankFolder
    from realm.errors import ResourceError
    from realm.teacher.collect import check_same

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
    from realm.bank.folder import BankFolder

    if (folder / "bank.json").exists():
        _clear(folder)
    return BankFolder.create(folder, info)


def _clear(folder: Path) -> None:
    """Make room for a new bank where there is one."""
    from realm.bank.folder import BankFolder
    from realm.files import writing
    from realm.teacher.collect import costly

    bank = BankFolder(folder, {})
    with bank.lock(), writing(folder):  # not while another process fills it
        if not costly(folder):
            bank.vacate()
            return
        number = 1
        while (aside := folder.with_name(f"{folder.name}.old-{number}")).exists():
            number += 1
        bank.rename(aside)
    typer.echo(f"{folder}: the bank that was there is kept as {aside}", err=True)
