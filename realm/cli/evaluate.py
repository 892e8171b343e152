"""`realm evaluate`: any model directory, without and with routes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from realm.cli.common import ConfigFile, Model, Overrides, Overwrite, fresh, resolve
from realm.cli.live import progress_bar


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
    predictions.jsonl (every completion with its parts).
    """
    resolved = resolve(config, overrides, model=model)
    trained = config / "model" if config is not None and config.is_dir() else None
    student = str(trained) if model is None and trained is not None else resolved.model.path
    folder = out or resolved.run_path.with_name(f"{resolved.run.name}-evaluation")
    fresh(folder / "evaluations.jsonl", overwrite)

    from realm.cli.results import print_results
    from realm.cli.train import open_training_bank
    from realm.evaluation.evaluate import evaluate_directory
    from realm.tasks.registry import load_task
    from realm.tasks.workers import VerifierPool

    task = load_task(resolved)
    with (
        VerifierPool(task.verifier.name, resolved.task.choices, resolved.task.verifier_timeout) as pool,
        progress_bar("evaluating") as progress,
    ):
        bank = open_training_bank(resolved, task, pool)
        summaries = evaluate_directory(student, resolved, task, bank, pool, out=folder, progress=progress)
    print_results(student, summaries)
    typer.echo(f"wrote {folder / 'evaluations.jsonl'} and {folder / 'predictions.jsonl'}")
