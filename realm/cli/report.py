"""`realm report`: the page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from realm.cli.live import progress_bar
from realm.errors import ConfigError


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a training run, of a quickstart, or of a bank.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page.", show_default="RUN/report.html")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="DIR", help="Of a bank: the student whose tokens are counted.", show_default=False
        ),
    ] = None,
) -> None:
    """Write one self-contained HTML page from the files of a run, or of a bank.

    Of a run: accuracy over training, the probability of routes, the parts of the reward, the final table, sampled
    completions. Of a bank: error ratios, what guidance changed, redundancy, and whether the errors are systematic.
    """
    if (run / "bank.json").is_file():
        from realm.report.bank import write_bank_report

        reader = None
        if model is not None:
            from realm.bank.folder import BankFolder
            from realm.evaluation.student import student

            reader = student(model, None, 4, BankFolder.open(run).info)
        with progress_bar("reading the bank") as progress:
            typer.echo(f"wrote {write_bank_report(run, out, progress, reader)}")
        return
    if model is not None:
        raise ConfigError(f"--model: counts a student's tokens in a bank, and {run} is none.")
    from realm.report import write_report

    typer.echo(f"wrote {write_report(run, out)}")
