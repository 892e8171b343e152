"""`realm train`: one training run, from a configuration to a model, its evaluation and its report."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realm.cli.common import ARGUMENTS, ConfigFile, Model, Overrides, Overwrite, Resume, place_run, resolve
from realm.cli.estimate import refuse, refuse_with_prompts, show_estimate, show_probe
from realm.cli.live import progress_bar
from realm.processes import main_process, rank

if TYPE_CHECKING:
    from realm.bank.store import Bank
    from realm.config import Config
    from realm.run import RunFolder
    from realm.tasks.base import Task
    from realm.tasks.workers import VerifierPool


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

    from realm.method.prompt import template_hash
    from realm.report import write_report
    from realm.run import RunFolder
    from realm.stopping import stoppable
    from realm.student.prompts import make_wording
    from realm.tasks.registry import load_task
    from realm.tasks.workers import VerifierPool
    from realm.training.group import wait_for_all
    from realm.training.recipes import check

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
    refuse(resolved)
    verifier = task.verifier.name, resolved.task.choices, resolved.task.verifier_timeout
    with stoppable(), VerifierPool(*verifier) as pool:
        bank = open_training_bank(resolved, task, pool, resume=there)
        check(resolved, task, bank)
        if only_estimate:
            show_estimate(resolved, task, bank)
        refuse_with_prompts(resolved, task, bank)
        if only_estimate:
            show_probe(resolved, task, bank, pool)
            return
        wait_for_all()  # they have all looked at the folder that is changed now
        if not main_process():
            wait_for_all()  # what an earlier run of this name left is gone now
            with _noted(place):
                _train(resolved, place, task, bank, pool, there)
            return
        prompt = template_hash(make_wording(resolved, task), resolved.prompt.tags())
        run = RunFolder.create(resolved, template_hash=prompt, overwrite=overwrite, resume=resume, there=there)
        try:
            if bank is not None and bank.path is None:
                _keep_bank(bank, run.path)
            show_estimate(resolved, task, bank)
            wait_for_all()
            _train(resolved, run, task, bank, pool, there)
            _conclude(resolved, run, task, bank, pool)
        except BaseException as error:
            with suppress(Exception):  # what stopped the run matters more than that it cannot be noted
                if isinstance(error, KeyboardInterrupt):
                    run.finish("interrupted")
                else:
                    run.finish("failed", str(error) or type(error).__name__)
            raise
        run.finish()
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


def has_bank(config: Config) -> bool:
    """Whether a bank was named, or collected for this run."""
    return bool(config.bank.path) or (config.run_path / "bank").exists()


def open_training_bank(config: Config, task: Task, pool: VerifierPool, *, resume: bool = False) -> Bank | None:
    """The configured bank; none for the recipe grpo where none was named or collected.

    A resumed run goes on with its own copy of an imported file, whatever became of the file.
    """
    from realm.exchange.importing import open_bank

    if config.training.recipe == "grpo" and not has_bank(config):
        return None
    if resume and config.bank.path and Path(config.bank.path).suffix == ".jsonl" and _imported(config.run_path):
        config = config.model_copy(update={"bank": config.bank.model_copy(update={"path": None})})
    return open_bank(config, task, pool)


def _imported(run: Path) -> bool:
    """Whether the bank in the folder of a run is a copy that `_keep_bank` made, not one that was collected there."""
    from realm.bank.store import Bank

    return (run / "bank" / "bank.json").is_file() and "source" in Bank.open(run / "bank").info


def _keep_bank(bank: Bank, run: Path) -> None:
    """Put an imported bank into the run's folder: the labels that this run rests on stay with it.

    The copy of an earlier run is replaced; a bank that was collected there stays: it may have cost a teacher's fees.
    """
    from realm.files import writing

    if (run / "bank").exists() and not _imported(run):
        return
    temporary = run / "bank.tmp"  # renamed when whole, so that a resumed run never takes half a bank
    with writing(temporary):
        shutil.rmtree(temporary, ignore_errors=True)
        bank.save(temporary)
        if (run / "bank").exists():
            shutil.rmtree(run / "bank")
        temporary.rename(run / "bank")


def _train(config: Config, run: RunFolder, task: Task, bank: Bank | None, pool: VerifierPool, resume: bool) -> None:
    from rich.console import Console

    from realm.training.progress import live
    from realm.training.recipes import train

    with live(Console(stderr=True), run.path.name) as progress:
        train(config, run=run, task=task, bank=bank, pool=pool, resume=resume, progress=progress)


def _conclude(config: Config, run: RunFolder, task: Task, bank: Bank | None, pool: VerifierPool) -> None:
    """Evaluate the final model on the held-out splits and print the table."""
    from realm.cli.results import print_results
    from realm.evaluation.evaluate import evaluate_directory
    from realm.recipes import plan

    last = plan(config)[-1]
    with progress_bar("evaluating") as progress:
        summaries = evaluate_directory(
            run.path / "model",
            config,
            task,
            bank,
            pool,
            out=run.path,
            round_=last.round,
            step=last.steps,
            progress=progress,
        )
    print_results(f"{run.path.name}, {config.training.recipe}", summaries)
