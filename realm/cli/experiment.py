"""`realm experiment`: one of the method's ablations, from its file to its page."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from realm.cli.common import ARGUMENTS, Overrides


def experiment(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="One of --list, or a YAML file of your own.", show_default=False),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Number of seeds, counted from run.seed.")] = 5,
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, help="Processes at once; on the desk one thread and up to 2 GB each.")
    ] = 1,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of all experiments; cells are shared.")
    ] = Path("runs/experiments"),
    docs: Annotated[
        Path | None,
        typer.Option(
            "--docs",
            metavar="DIR",
            help="Folder of page and plot.",
            show_default="docs/results where that is here, else NAME in --out",
        ),
    ] = None,
    overrides: Overrides = None,
    fast: Annotated[bool, typer.Option("--fast", help="A few steps only; the figures mean little.")] = False,
    show_list: Annotated[bool, typer.Option("--list", help="Print the experiments there are, and stop.")] = False,
) -> None:
    """Train every arm of an experiment with several seeds, compare them, and write table, plot and finding.

    Cells that are finished are kept and shared with other experiments; a stopped experiment goes on with the same
    command. --set holds for every arm that does not set the key itself.
    """
    if show_list:
        _print_list(seeds)
        return

    from rich.console import Console

    from realm.errors import ConfigError
    from realm.experiments.spec import find

    if name is None:
        raise ConfigError("NAME is missing: realm experiment --list names the experiments there are.")
    file = find(name)

    from realm.experiments.conduct import Order, conduct
    from realm.stopping import stoppable

    command = shlex.join(["realm", *context.meta[ARGUMENTS]])
    with stoppable():
        conduct(
            Order(file, out, out / file.stem, docs, seeds, jobs, overrides or (), fast, command), Console(markup=False)
        )


def _print_list(seeds: int) -> None:
    """Names, titles and numbers of cells of the packaged experiments."""
    from realm.experiments.spec import load, packaged

    for name, path in packaged().items():
        spec = load(path)
        times = 1 if spec.kind == "models" else seeds
        size = f"{times * (len(spec.arms) + spec.untrained)} cells with {times} seed{'s' if times > 1 else ''}"
        typer.echo(f"{name:<16} {spec.title} ({size})")
