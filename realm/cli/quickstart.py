"""`realm quickstart`: the whole method on the embedded desk, in one command."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from realm.cli.common import ARGUMENTS, ConfigFile, Overrides, Overwrite, resolve


def quickstart(
    context: typer.Context,
    config: ConfigFile = None,
    overrides: Overrides = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Fewer steps, under 3 minutes; its figures mean little.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Run folder.", show_default="runs/quickstart")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a tiny student three ways on this CPU, offline, and show what each way taught it.

    Collects the scripted teacher's CoTs, trains the recipes grpo, realm-zero and realm-r1 from the packaged base model,
    evaluates each without and with routes, in and out of distribution, and writes a table and report.html (10 minutes).
    """
    resolved = resolve(config, overrides if config else ["run.name=quickstart", *(overrides or ())])

    from rich.console import Console

    from realm.commands.configuring import DESK_CONFIG
    from realm.experiments.quickstart import run_quickstart
    from realm.stopping import stoppable

    with stoppable():
        run_quickstart(
            config or DESK_CONFIG,
            overrides or (),
            out or resolved.run_path,
            fast=fast,
            overwrite=overwrite,
            command=shlex.join(["realm", *context.meta[ARGUMENTS]]),
            console=Console(markup=False, highlight=False),
        )
