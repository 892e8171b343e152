"""`realm report`: the page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run or of a quickstart.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page.", show_default="RUN/report.html")
    ] = None,
) -> None:
    """Write one self-contained HTML page from the files of a run.

    Accuracy over training, the probability of routes, the parts of the reward, the final table, sampled completions.
    """
    from realm.report import write_report

    typer.echo(f"wrote {write_report(run, out)}")
