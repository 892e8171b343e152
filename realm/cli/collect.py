"""`realm collect`: fill a bank with a teacher's CoTs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from realm.cli.common import ConfigFile, Overrides, Overwrite, Resume, resolve
from realm.cli.live import progress_bar

if TYPE_CHECKING:
    from realm.bank.store import Bank


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
) -> None:
    """Ask the teacher for CoTs on every question, judge them, and keep them in a bank.

    Expert comments are put into the teacher's prompt with probability guidance.probability. A stopped collection goes
    on with --resume: what is in the bank is not asked for again.
    """
    resolved = resolve(config, overrides)
    folder = out or Path(resolved.bank.path or resolved.run_path / "bank")

    from realm.tasks.registry import load_task
    from realm.tasks.workers import VerifierPool
    from realm.teacher.collect import bank_info, make_teacher
    from realm.teacher.collect import collect as fill

    task = load_task(resolved)
    make_teacher(resolved, task)  # a task that no teacher knows is found before anything is written
    bank = _bank(folder, bank_info(resolved, task), resume=resume, overwrite=overwrite)
    with (
        VerifierPool(task.verifier.name, resolved.task.choices, resolved.task.verifier_timeout) as pool,
        progress_bar("collecting") as progress,
    ):
        added = fill(resolved, task, bank, pool, progress)
    stats = bank.stats()
    typer.echo(f"{folder}: {added} CoTs added, {stats['cots']} in all for {stats['questions']} questions")
    typer.echo(
        f"  {stats['mixed_share']:.0%} of the questions have right and wrong CoTs" if stats["cots"] else "  empty"
    )
    for name, group in {"all": stats, **stats["by_guided"]}.items():
        typer.echo(f"  {name}: {group['right']} right, {group['wrong']} wrong, error ratio {_percent(group)}")


def _bank(folder: Path, info: dict[str, object], *, resume: bool, overwrite: bool) -> Bank:
    """A new bank in `folder`, or the one that is there to go on with.

    Raises:
        ResourceError: there is one, and neither `resume` nor `overwrite` is set.
        ConfigError: the one to go on with was collected with other settings (more samples are welcome).
    """
    from realm.bank.store import Bank
    from realm.errors import ConfigError, ResourceError

    if (folder / "bank.json").exists():
        if resume:
            bank = Bank.open(folder)
            other = [name for name in info if name != "samples" and bank.info.get(name) != info[name]]
            if other:
                raise ConfigError(
                    f"{folder}: this bank was collected with another {', '.join(other)}; "
                    "go on with the same settings, or collect into another --out."
                )
            return bank
        if not overwrite:
            raise ResourceError(f"{folder}: holds a bank already. Give --resume, --overwrite or another --out.")
        (folder / "bank.json").unlink()
    return Bank.create(folder, info)


def _percent(group: dict[str, Any]) -> str:
    ratio = group["error_ratio"]
    return "–" if ratio is None else f"{ratio:.1%}"
