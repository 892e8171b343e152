"""`realm evaluate`: any model directory, without and with routes."""

from pathlib import Path
from typing import Annotated

import typer

from realm.cli.common import ConfigFile, Model, Overrides, Overwrite, resolve
from realm.cli.live import progress_bar
from realm.files import fresh


def evaluate(
    config: ConfigFile = None,
    overrides: Overrides = None,
    model: Model = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder of the results.", show_default="the run folder's name + -evaluation"
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Evaluate a model on the held-out splits, without routes and with routes.k of them.

    The model is --model, else the trained model where CONFIG is the folder of a run, else model.path. Every model sees
    the same routes for the same configuration. Prints a table, and writes evaluations.jsonl (one summary a line) and
    predictions.jsonl (every completion with its parts), config.yaml and meta.json. Without a bank there are no routes.
    """
    resolved = resolve(config, overrides, model=model, command="evaluate")
    trained = config / "model" if config is not None and config.is_dir() and model is None else None
    folder = out or resolved.run_path.with_name(f"{resolved.run.name}-evaluation")
    fresh(folder / "evaluations.jsonl", overwrite)  # before the libraries, which take seconds

    from realm.cli.results import print_results
    from realm.commands import evaluating

    student = trained or resolved.model.path
    summaries = evaluating.evaluate(resolved, student, out=folder, overwrite=overwrite, evaluating=progress_bar)
    print_results(str(student), summaries)
    typer.echo(f"wrote {folder / 'evaluations.jsonl'} and {folder / 'predictions.jsonl'}")
