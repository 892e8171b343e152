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
    predictions.jsonl (every completion with its parts), config.yaml and meta.json. Without a bank there are no routes.
    """
    resolved = resolve(config, overrides, model=model)
    trained = config / "model" if config is not None and config.is_dir() else None
    student = str(trained) if model is None and trained is not None else resolved.model.path
    folder = out or resolved.run_path.with_name(f"{resolved.run.name}-evaluation")
    fresh(folder / "evaluations.jsonl", overwrite)
    resolved.model.path = student

    from realm.cli.results import print_results
    from realm.errors import ResourceError
    from realm.evaluation.evaluate import evaluate_directory
    from realm.exchange.importing import open_bank
    from realm.exchange.run_bank import has_bank
    from realm.run import RunFolder
    from realm.student.load import find
    from realm.tasks.registry import load_task
    from realm.tasks.workers import VerifierPool

    results = RunFolder(folder)
    if (folder / "meta.json").is_file() and results.meta.evaluated is None:
        raise ResourceError(f"{folder}: is the folder of a run, whose files stay. Choose another place with --out.")
    find(student)
    task = load_task(resolved)
    with (
        VerifierPool(task.verifier.name, resolved.task.choices, resolved.task.verifier_timeout) as pool,
        progress_bar("evaluating") as progress,
    ):
        bank = open_bank(resolved, task, pool) if has_bank(resolved) else None
        if bank is None and resolved.routes.k:
            typer.echo(
                f"without routes only: bank.path is not set, and there is no {resolved.run_path / 'bank'}", err=True
            )
        summaries = evaluate_directory(student, resolved, task, bank, pool, out=folder, progress=progress)
    results.record_evaluation(resolved)
    print_results(student, summaries)
    typer.echo(f"wrote {folder / 'evaluations.jsonl'} and {folder / 'predictions.jsonl'}")
