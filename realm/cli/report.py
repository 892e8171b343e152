"""`realm report`: the page of a run, of two runs, of an experiment or of a bank."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from realm.cli.live import progress_bar
from realm.errors import ConfigError


def report(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Folder of a training run, of a quickstart, of an experiment, or of a bank."
        ),
    ],
    other: Annotated[
        Path | None,
        typer.Argument(metavar="[OTHER]", help="A second run, set beside the first.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page.", show_default="RUN/report.html")
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option("--figures", metavar="DIR", help="Also save every figure as SVG and PNG.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="DIR", help="Of a bank: the student whose tokens are counted.", show_default=False
        ),
    ] = None,
) -> None:
    """Write one self-contained HTML page from the files of a run, of two runs, of an experiment, or of a bank.

    Of a run: accuracy over training, the probability of routes, the parts of the reward, calibration of the scores,
    the completions. Of two runs (RUN/against-OTHER.html): settings that differ, paired differences, the questions that
    only one got right. Of an experiment: its finding and the figures that carry it. Of a bank: error ratios, what
    guidance changed, redundancy, and whether the errors are systematic.
    """
    if model is not None and not (run / "bank.json").is_file():
        raise ConfigError(f"--model: counts a student's tokens in a bank, and {run} is none.")
    if other is not None:
        from realm.report.pair import write_comparison

        page = write_comparison(run, other, out, figures)
    elif (run / "bank.json").is_file():
        page = _bank(run, out, figures, model)
    elif (run / "results.json").is_file():
        from realm.report.experiment import write_experiment_page
        from realm.report.experiment_data import read_results

        page = write_experiment_page(read_results(run), run, out, figures)
    else:
        from realm.report import write_report

        page = write_report(run, out, figures)
    typer.echo(f"wrote {page}" + (f", its figures to {figures}" if figures else ""))


def _bank(run: Path, out: Path | None, figures: Path | None, model: str | None) -> Path:
    from realm.report.bank import write_bank_report

    reader = None
    if model is not None:
        from realm.analysis.reading_student import student
        from realm.bank.folder import BankFolder

        reader = student(model, None, 4, BankFolder.open(run).info)
    with progress_bar("reading the bank") as progress:
        return write_bank_report(run, out, progress, reader, figures)
