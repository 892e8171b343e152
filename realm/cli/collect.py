"""`realm collect`: fill a bank with the CoTs of teachers."""

from pathlib import Path
from typing import Annotated

import typer

from realm.cli.common import ConfigFile, Overrides, Overwrite, Resume, resolve

#: Exit code where samples are still owed.
OWED = 3


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
    resolved = resolve(config, overrides, command="collect")

    from realm.bank.folder import BankFolder
    from realm.cli.collect_show import CollectionView, print_bank, print_left, print_outlook, print_plan, print_samples
    from realm.commands import collecting
    from realm.display import printable
    from realm.errors import TeacherError
    from realm.tasks.registry import load_task
    from realm.teacher.collect import bank_info, look, make_plan, open_ledger, worded_as
    from realm.teacher.ledger import Sums
    from realm.teacher.plan import survey

    collecting.check_again(again or (), resume)
    folder = collecting.bank_of(resolved, out)
    resolved = worded_as(resolved, folder) if resume or show else resolved
    task = load_task(resolved)
    plan = make_plan(resolved, task, keyless=dry_run or bool(show))  # a mistake is found before anything is written
    if show:
        print_samples(plan, show, BankFolder.open(folder) if (folder / "bank.json").is_file() else None)
        return
    info = bank_info(resolved, task, plan.guidance)
    there = collecting.existing(folder, info, resume=resume, overwrite=overwrite)
    for warning in plan.guidance.warnings(plan.questions):
        typer.echo(f"warning: {printable(warning)}", err=True)
    budget = resolved.collect.budget
    if dry_run:
        held = look(there, again or ())
        estimates = survey(plan, held.ids, held.means, held.stale)
        print_plan(folder, task, plan, estimates, budget)
        spent = open_ledger(folder, resolved, plan).spent if there else Sums()
        print_outlook(estimates, spent, budget)
        typer.echo("dry run: nothing was sent, nothing was written")
        return
    with CollectionView() as view:
        try:
            bank, tally = collecting.collect(
                resolved,
                out=folder,
                resume=resume,
                overwrite=overwrite,
                again=again or (),
                task=task,
                plan=plan,
                announce=lambda estimates: print_plan(folder, task, plan, estimates, budget),
                watch=view.show,
            )
        except TeacherError:
            if view.last is not None and view.last.done:
                view.close()
                print_bank(BankFolder.open(folder), view.last)
            raise
    print_bank(bank, tally)
    print_left(tally, budget)
    if tally.left:
        raise typer.Exit(OWED)
