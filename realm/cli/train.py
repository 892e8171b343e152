"""`realm train`: one training run, from a configuration to a model, its evaluation and its report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realm.cli.common import ARGUMENTS, ConfigFile, Model, Overrides, Overwrite, Resume, place_run, resolve
from realm.cli.estimate import show_estimate, show_probe
from realm.cli.live import progress_bar
from realm.processes import main_process, rank

if TYPE_CHECKING:
    from realm.run import RunFolder
    from realm.tasks.workers import VerifierPool
    from realm.training.prepare import Prepared


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
            "--estimate", help="Print what the run will need in memory, tokens and time (measured), and stop."
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
    resolved = resolve(config, overrides, model=model)
    place_run(resolved, out)
    if show_config:
        from realm.cli.show import annotate

        typer.echo(annotate(resolved), nl=False)
        return

    from realm.exchange.run_bank import keep_bank, open_run_bank
    from realm.method.prompt import template_hash
    from realm.run import RunFolder
    from realm.stopping import stoppable
    from realm.student.prompts import make_wording
    from realm.tasks.registry import load_task
    from realm.tasks.workers import VerifierPool
    from realm.training.fit import refuse_what_hardly_fits
    from realm.training.group import wait_for_all
    from realm.training.prepare import prepare

    place = RunFolder(resolved.run_path)
    # First: what cannot work with another configuration is then told as just that.
    there = resume and place.check_resume(resolved)
    if launch is not None:
        from realm.cli.launch import launch_here

        launch_here(launch, context.meta[ARGUMENTS])
    if place.begun and main_process() and not only_estimate:
        place.hold()  # before all the work, and before anybody waits in vain
        there = resume and place.check_resume(resolved)
    if resume and not there and main_process() and not only_estimate:
        typer.echo(f"{place.path}: no run to resume yet; it is started", err=True)
    task = load_task(resolved)
    verifier = task.verifier.name, resolved.task.choices, resolved.task.verifier_timeout
    with stoppable(), VerifierPool(*verifier) as pool:
        bank = open_run_bank(resolved, task, pool, resume=there)
        prepared = prepare(resolved, task, bank)
        if only_estimate:
            show_estimate(prepared)
        if prepared.outline is not None:
            refuse_what_hardly_fits(resolved, prepared.outline, prepared.lengths, prepared.memory)
        if only_estimate:
            show_probe(prepared, pool)
            return
        wait_for_all()  # they have all looked at the folder that is changed now
        if not main_process():
            wait_for_all()  # what an earlier run of this name left is gone now
            with _noted(place):
                _train(prepared, place, pool, there)
            return
        prompt = template_hash(make_wording(resolved, task), resolved.prompt.tags())
        run = RunFolder.create(resolved, template_hash=prompt, overwrite=overwrite, resume=resume, there=there)
        try:
            if bank is not None and bank.path is None:
                keep_bank(bank, run.path)
            show_estimate(prepared)
            wait_for_all()
            _train(prepared, run, pool, there)
            _conclude(prepared, run, pool)
        except BaseException as error:
            with suppress(Exception):  # what stopped the run matters more than that it cannot be noted
                if isinstance(error, KeyboardInterrupt):
                    run.finish("interrupted")
                else:
                    run.finish("failed", str(error) or type(error).__name__)
            raise
        run.finish()
    from realm.report import write_report

    typer.echo(f"model: {run.path / 'model'}\nreport: {write_report(run.path)}")


@contextmanager
def _noted(run: RunFolder) -> Iterator[None]:
    """Leave the main process and `realm doctor` the reason for which this process, another one, fails."""
    try:
        yield
    except Exception as error:
        with suppress(Exception):  # what stopped it matters more than that it cannot be noted
            run.note_failure(rank(), str(error) or type(error).__name__)
        raise


def _train(prepared: Prepared, run: RunFolder, pool: VerifierPool, resume: bool) -> None:
    from rich.console import Console

    from realm.training.progress import live
    from realm.training.recipes import train

    with live(Console(stderr=True), run.path.name) as progress:
        train(prepared, run=run, pool=pool, resume=resume, progress=progress)


def _conclude(prepared: Prepared, run: RunFolder, pool: VerifierPool) -> None:
    """Evaluate the final model on the held-out splits and print the table."""
    from realm.cli.results import print_results
    from realm.evaluation.evaluate import evaluate_directory

    last = prepared.stages[-1]
    with progress_bar("evaluating") as progress:
        summaries = evaluate_directory(
            run.path / "model",
            prepared.config,
            prepared.task,
            prepared.bank,
            pool,
            out=run.path,
            round_=last.round,
            step=last.steps,
            progress=progress,
        )
    print_results(f"{run.path.name}, {prepared.config.training.recipe}", summaries)
