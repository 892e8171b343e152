"""`realm report`: the page of a run, of two runs, of an experiment or of a bank."""

from pathlib import Path
from typing import Annotated

import typer

from realm.cli.live import progress_bar


def report(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Folder of a training run, of an experiment (a quickstart is one), or of a bank."
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
    margin: Annotated[
        float | None,
        typer.Option(
            "--margin",
            metavar="POINTS",
            help="Of two runs: also test whether RUN is worse by less than so many points, and whether the two differ "
            "by less.",
            show_default="no such test",
        ),
    ] = None,
) -> None:
    """Write one self-contained HTML page from the files of a run, of two runs, of an experiment, or of a bank.

    Of a run: accuracy over training, the probability of routes, the parts of the reward, calibration of the scores,
    the completions. Of two runs (RUN/against-OTHER.html): settings that differ, paired differences, the questions that
    only one got right. Of an experiment: its finding and the figures that carry it. Of a bank: error ratios, what
    guidance changed, redundancy, and whether the errors are systematic.
    """
    from realm.commands import reporting

    share = None if margin is None else margin / 100
    page = reporting.report(run, other, out=out, figures=figures, model=model, margin=share, reading=progress_bar)
    typer.echo(f"wrote {page}" + (f", its figures to {figures}" if figures else ""))
