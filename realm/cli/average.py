"""`realm average`: models of one shape, averaged."""

from pathlib import Path
from typing import Annotated

import typer


def average(
    models: Annotated[
        list[str],
        typer.Argument(metavar="A B …", help="Runs or models: directories, Hub names, desk-base.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the mean; it is made.")],
    share: Annotated[
        list[float] | None,
        typer.Option(
            "--share",
            help="Of each model in the mean, in their order, together 1; of two models that of B alone will do.",
            show_default="all the same",
        ),
    ] = None,
) -> None:
    """Average the weights of models of one shape: a trained model and its base, several seeds, places of one training.

    A share of the base may bring back what training unlearned, and takes from what was learned: choose it on validation
    questions. Nothing is trained, and nothing is overwritten; tokenizer and settings are those of A. The folder's
    README.md says of what it was made.
    """
    from realm.commands.averaging import average
    from realm.display import printable
    from realm.processes import command
    from realm.text import percent

    shares = average(models, out, share or ())
    for model, part in zip(models, shares, strict=True):
        typer.echo(printable(f"{percent(part)}: {model}"))
    typer.echo(printable(f"Next: {command('evaluate', 'CONFIG', '--model', str(out), launch=None)}"))
