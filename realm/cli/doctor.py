"""`realm doctor`: what went wrong in a run, or could go better."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from realm.pages.doctor import Diagnosis


def doctor(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run, or of experiments.")],
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Say in sentences what went wrong in a run or could go better, with the figure and the setting to change.

    Works on the files of a run that has ended, was stopped, or is still going. The most important comes first.
    """
    from realm.pages.data import read_report
    from realm.pages.doctor import diagnose

    cells = sorted(file.parent for file in (run / "cells").glob("*/metrics.jsonl"))
    found, notes = [], []
    for folder in cells or [run]:
        report = read_report(folder)
        found += [replace(one, name=folder.name) if cells else one for one in diagnose(report)]
        notes += report.notes
    if as_json:
        typer.echo(json.dumps({"runs": [asdict(one) for one in found], "notes": notes}, indent=1))
        return
    for diagnosis in found:
        _print(diagnosis)
    for note in notes:
        typer.echo(f"Note: {_safe(note)}")


def _print(diagnosis: Diagnosis) -> None:
    count = len(diagnosis.findings)
    head = "nothing stands out" if not count else "1 thing to look at" if count == 1 else f"{count} things to look at"
    typer.echo(f"{_safe(diagnosis.name)}: {head}.")
    for number, finding in enumerate(diagnosis.findings, 1):
        typer.echo(f"\n{number}. [{finding.weight}] {_safe(finding.says)}")
        for line in finding.advice.split("\n"):
            typer.echo(f"   {_safe(line)}")
    if count:
        typer.echo("")
    for note in diagnosis.notes:
        typer.echo(f"Not judged: {_safe(note)}")


def _safe(text: str) -> str:
    """Names, reasons and settings come from files that anybody may have written."""
    from realm.display import printable

    return printable(text, 1000)
