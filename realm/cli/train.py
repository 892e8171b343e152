"""`realm train`: one training run, from a configuration to a model, its evaluation and its report."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realm.cli.common import ARGUMENTS, ConfigFile, Model, Overrides, Overwrite, Resume, place_run, resolve
from realm.cli.estimate import say_unmeasured, show_estimate, show_probe
from realm.cli.live import progress_bar
from realm.processes import main_process

if TYPE_CHECKING:
    from realm.training.recorder import Progress


def train(
    context: typer.Context,
    config: ConfigFile = None,
    overrides: Overrides = None,
    model: Model = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The run folder.", show_default="run.name below run.dir"),
    ] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    launch: Annotated[
        str | None,
        typer.Option(
            "--launch",
            metavar="ARGS",
            help="Train on several processes: arguments of `accelerate launch`, or a file for it (configs/accelerate).",
            show_default=False,
        ),
    ] = None,
    only_estimate: Annotated[
        bool,
        typer.Option(
            "--estimate",
            help="Print what the run will need in memory, tokens and, where the weights are here, time (measured), "
            "and stop.",
        ),
    ] = False,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print every key with its value and meaning, and stop.")
    ] = False,
) -> None:
    """Train a student by the configured recipe, evaluate it without and with routes, and write the report.

    The run folder holds the resolved configuration, metrics, sampled completions, checkpoints, the final model in the
    Hugging Face format (model/) and report.html. Ctrl-C saves a checkpoint first; a stopped or killed run goes on with
    --resume, which also starts a run that is not there yet: one command for a job that may be queued again.
    """
    resolved = resolve(config, overrides, model=model, command=None if show_config else "train")
    place_run(resolved, out)
    if show_config:
        from realm.cli.show import annotate

        typer.echo(annotate(resolved, given=config is not None), nl=False)
        return

    from realm.exchange.run_bank import bank_settings
    from realm.run import RunFolder

    # First: what cannot work with another configuration is then told as just that.
    there = resume and RunFolder(resolved.run_path).check_resume(resolved)
    bank_settings(resolved, resume=there)  # a bank that is missing is told before the libraries, which take long
    if launch is not None:
        from realm.cli.launch import launch_here

        launch_here(launch, context.meta[ARGUMENTS])
    if resume and not there and main_process() and not only_estimate:
        typer.echo(f"{resolved.run_path}: no run to resume yet; it is started", err=True)

    with _no_garbage():
        from realm.cli.results import print_results
        from realm.commands import training

        if only_estimate and (found := training.sketched(resolved, resume=there)):
            show_estimate(found)
            say_unmeasured(resolved.model.path)
            return
        if only_estimate:
            with training.made_ready(resolved, resume=there, announce=show_estimate) as (prepared, pool):
                show_probe(prepared, pool)
            return
        trained = training.train(
            resolved,
            resume=resume,
            overwrite=overwrite,
            announce=show_estimate,
            training=_live,
            evaluating=progress_bar,
        )
    if trained is not None:
        from realm.pages.verdict import settled

        print_results(f"{trained.path.name}, {resolved.training.recipe}", trained.evaluations)
        for sentence in settled(resolved, RunFolder(trained.path).meta):
            typer.echo(sentence)
        typer.echo(f"model: {trained.model}\nreport: {trained.report}\nask it: realm ask {trained.path}")


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Look for no garbage until training begins: nothing that is imported and prepared is any, and the looking would
    take a tenth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()


def _live(name: str) -> AbstractContextManager[Progress]:
    from rich.console import Console

    from realm.training.progress import live

    gc.freeze()
    gc.enable()
    return live(Console(stderr=True), name)
