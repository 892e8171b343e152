"""`realm bank label` and `validate`: the labels of a bank, and whether training can use it."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from realm.cli.bank_common import BankFolderPath, ConfigPath, VerifierName, Workers, settings_of, verifier_pool
from realm.cli.common import Overrides
from realm.cli.live import progress_bar
from realm.display import printable

if TYPE_CHECKING:
    from realm.bank.folder import BankFolder
    from realm.bank.validate import Finding
    from realm.config import Config
    from realm.tasks.base import Task


def label(
    bank: BankFolderPath,
    verifier: VerifierName = None,
    config: ConfigPath = None,
    overrides: Overrides = None,
    workers: Workers = 2,
    everything: Annotated[bool, typer.Option("--all", help="Judge also the CoTs that have a label.")] = False,
) -> None:
    """Judge the CoTs that have no label against the golds of questions.jsonl. Stopped, it goes on where it was.

    Without --verifier and --config the verifier is the one that bank.json names.
    """
    from realm.bank.folder import BankFolder
    from realm.bank.labelling import label_bank
    from realm.bank.unreadable import sentences
    from realm.tasks.verify import choices_of

    folder = BankFolder.open(bank)
    settings, task = settings_of("bank label", config, overrides)
    name = _verifier(folder, settings, task, verifier)
    choices = choices_of(name, settings.task.choices)
    with verifier_pool(name, settings, workers) as pool, progress_bar("judging") as bar:
        found = label_bank(folder, pool, choices=choices, everything=everything, progress=bar)
    before = f", {found['before']} before it was stopped" if found["before"] else ""
    typer.echo(f"{bank}: {found['judged']} CoTs judged by the verifier {printable(name, 200)}{before}")
    kinds = ("right", "wrong", "unreadable", "unreadable gold", "timeout", "error", "no gold")
    typer.echo("  " + ", ".join(f"{found['outcomes'].get(kind, 0)} {kind}" for kind in kinds))
    if found["kept"]:
        typer.echo(f"  {found['kept']} keep the label they have: their questions have no gold")
    for sentence in sentences(found["unreadable"]):
        typer.echo(f"  {sentence}")
    for reason, number in found["reasons"].items():
        typer.echo(f"  {number} × {printable(reason, 160)}")


def validate(
    bank: BankFolderPath,
    config: ConfigPath = None,
    overrides: Overrides = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Judge every label anew (takes as long as `realm bank label --all`).")
    ] = False,
    workers: Workers = 2,
) -> None:
    """Say row by row what keeps training from using a bank, and what to do; exit code 2 where there is such.

    With --config the bank is held against the questions of that task.
    """
    from realm.bank.folder import BankFolder
    from realm.bank.validate import rows_of
    from realm.bank.validate import validate as look
    from realm.errors import DataError

    folder = BankFolder.open(bank)
    settings, task = settings_of("bank validate", config, overrides)
    asked = {q.id: q for split in task.splits() for q in task.rows(split)} if task else {}
    training = {question.id for question in task.rows("train")} if task else None
    counted: Counter[str] = Counter()
    held_out = asked.keys() - training if training is not None else set()
    with ExitStack() as stack:
        pool = None
        if verify:
            pool = stack.enter_context(verifier_pool(_verifier(folder, settings, task), settings, workers))
        bar = stack.enter_context(progress_bar("checking"))
        total = 2 * rows_of(folder)
        findings = look(
            folder,
            training=training,
            held_out=held_out,
            asked=asked,
            pool=pool,
            progress=lambda done: bar(done, total),
            counted=counted,
        )
    for split, size in Counter(question.split for question in asked.values()).items():
        typer.echo(f"{printable(split)}: {size} question{'s' * (size != 1)} of the task, {counted[split]} CoTs")
    for finding in findings:
        _print(finding)
    errors = sum(finding.severity == "error" for finding in findings)
    if errors:
        raise DataError(f"{bank}: training cannot use it for {errors} reason{'s' * (errors > 1)}, listed above.")
    warned = f", with {len(findings)} warning{'s' * (len(findings) > 1)}" if findings else ""
    typer.echo(f"{bank}: training can use it{warned}")


def _verifier(folder: BankFolder, settings: Config, task: Task | None, name: str | None = None) -> str:
    """The verifier asked for, else the task's, else the bank's own with its choices.

    Raises:
        ConfigError: there is none of these.
    """
    from realm.errors import ConfigError

    known = folder.info.get("verifier")
    found = name or (task.verifier.name if task else known)
    if not isinstance(found, str):
        raise ConfigError(f"{folder.path}: bank.json names no verifier; give --verifier or --config.")
    if found == known and not settings.task.choices:
        settings.task.choices = list(folder.info.get("choices") or [])
    return found


def _print(finding: Finding) -> None:
    number = f": {finding.count}" if finding.rows else ""
    typer.echo(f"{finding.severity}: {finding.what}{number}. What to do: {finding.advice}.")
    for row in finding.rows:
        typer.echo(f"    {printable(row, 200)}")
    if finding.rows and finding.count > len(finding.rows):
        typer.echo(f"    and {finding.count - len(finding.rows)} more")
