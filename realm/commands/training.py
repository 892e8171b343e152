"""One training run, from a configuration to a model, its evaluation and its report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from realm.commands.configuring import as_taught
from realm.commands.showing import Showing, silent
from realm.config import Config
from realm.evaluation.also import ask_besides, other_task
from realm.evaluation.evaluate import evaluate_directory, evaluation_questions
from realm.exchange.run_bank import keep_bank, open_run_bank
from realm.method.prompt import template_hash
from realm.pages import write_report
from realm.pages.card import CARD, outdated, write_card
from realm.processes import main_process, rank
from realm.rows.base import Place
from realm.rows.evaluation import Evaluation
from realm.run import RunFolder
from realm.stopping import stoppable
from realm.tasks.base import questions_hash
from realm.tasks.registry import load_task
from realm.tasks.workers import VerifierPool
from realm.training import recipes
from realm.training.estimate import weights_here
from realm.training.fit import refuse_what_hardly_fits
from realm.training.group import wait_for_all
from realm.training.prepare import Prepared, Sketch, prepare, sketch
from realm.training.recorder import Progress

_LOG = logging.getLogger(__name__)
Announce = Callable[[Prepared], None]


@dataclass(frozen=True)
class Trained:
    """What a run left: its folder, the directory of its model, its page, and a summary of each evaluation of the final
    model (rows of evaluations.jsonl)."""

    path: Path
    model: Path
    report: Path
    evaluations: list[Evaluation]


@contextmanager
def made_ready(
    config: Config, *, resume: bool = False, announce: Announce | None = None
) -> Iterator[tuple[Prepared, VerifierPool]]:
    """A run that can start (see `prepare`), and the verifier of its task, while the block lasts.

    Args:
        resume: it goes on with its own copy of an imported bank.
        announce: is told what was prepared, before what hardly fits is refused.
    """
    if resume:
        config = RunFolder(config.run_path).as_begun(config)
    config = as_taught(config, config.model.path)
    task = load_task(config)
    if resume:  # before its bank is held against them
        RunFolder(config.run_path).check_questions(questions_hash(task))
    evaluation_questions(config, task)  # what is wrong with it is told before the work
    other_task(config)
    with stoppable(), VerifierPool(task.verifier.name, config.task.choices, config.task.verifier_timeout) as pool:
        prepared = prepare(config, task, open_run_bank(config, task, pool, resume=resume))
        if announce is not None:
            announce(prepared)
        if prepared.outline is not None:
            refuse_what_hardly_fits(config, prepared.outline, prepared.lengths, prepared.memory)
        yield prepared, pool


def sketched(config: Config, *, resume: bool = False) -> Sketch | None:
    """What a run will need whose student's weights are not on this machine; None where they are, see `made_ready`."""
    if weights_here(config.model.path):
        return None
    if resume:
        config = RunFolder(config.run_path).as_begun(config)
    config = as_taught(config, config.model.path)
    task = load_task(config)
    with VerifierPool(task.verifier.name, config.task.choices, config.task.verifier_timeout) as pool:
        return sketch(config, task, open_run_bank(config, task, pool, resume=resume))


def train(
    config: Config,
    *,
    resume: bool = False,
    overwrite: bool = False,
    announce: Announce | None = None,
    training: Showing[Progress | None] = silent,
    evaluating: Showing[Callable[[int, int], None] | None] = silent,
) -> Trained | None:
    """What `realm train` does: train a student by the configured recipe, evaluate it, write the report.

    Args:
        resume: go on with a run that was stopped; one that is not there yet is started.
        overwrite: a run of that name makes room; its bank stays.
        announce: is told what was prepared, before the first step.
        training, evaluating: show how far it is.

    Returns:
        What the run left; None in a process that is not the main one.

    Raises:
        UserError: see `prepare`; there is a run of that name; the disk or the memory is full; a loss is no number.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint.
    """
    place = RunFolder(config.run_path)
    # First: what cannot work with another configuration is then told as just that.
    there = resume and place.check_resume(config)
    if place.begun and main_process():
        place.hold()  # before all the work, and before anybody waits in vain
        there = resume and place.check_resume(config)
    with made_ready(config, resume=there) as (prepared, pool):
        wait_for_all()  # they have all looked at the folder that is changed now
        if not main_process():
            wait_for_all()  # what an earlier run of this name left is gone now
            with _noted(place), training(place.path.name) as progress:
                recipes.train(prepared, run=place, pool=pool, resume=there, progress=progress)
            return None
        config = prepared.config
        prompt = template_hash(prepared.renderer.wording, prepared.renderer.tags)
        run = RunFolder.create(
            config,
            template_hash=prompt,
            questions_hash=questions_hash(prepared.task),
            overwrite=overwrite,
            resume=resume,
            there=there,
        )
        try:
            if prepared.bank is not None and prepared.bank.path is None:
                keep_bank(prepared.bank, run.path)
            if announce is not None:
                announce(prepared)
            wait_for_all()
            with training(run.path.name) as progress:
                recipes.train(prepared, run=run, pool=pool, resume=there, progress=progress)
            last = prepared.stages[-1]
            with evaluating("evaluating") as shown:
                summaries = evaluate_directory(
                    run.path / "model",
                    config,
                    prepared.task,
                    prepared.bank,
                    pool,
                    out=run.path,
                    round_=last.round,
                    step=last.steps,
                    progress=shown,
                )
                summaries += ask_besides(
                    config,
                    run.path / "model",
                    out=run.path,
                    place=Place(stage="final", round=last.round, step=last.steps),
                    untrained=config.model.path,
                    progress=shown,
                )
            if not (run.path / "model" / CARD).is_file():  # one that is there is of this model, and maybe edited
                write_card(run.path, config, prepared.task)
            elif outdated(run.path, config, prepared.task):
                _LOG.warning(
                    "%s: tells other figures than this evaluation, or another length of answers; it may be edited, and "
                    "stays. Remove it and give the command with --resume once more to have it written anew.",
                    run.path / "model" / CARD,
                )
        except BaseException as error:
            with suppress(Exception):  # what stopped the run matters more than that it cannot be noted
                if isinstance(error, KeyboardInterrupt):
                    run.finish("interrupted")
                else:
                    run.finish("failed", str(error) or type(error).__name__)
            raise
        run.finish()
    return Trained(run.path, run.path / "model", write_report(run.path), summaries)


@contextmanager
def _noted(run: RunFolder) -> Iterator[None]:
    """Leave the main process and `realm doctor` the reason for which this process, another one, fails."""
    try:
        yield
    except Exception as error:
        with suppress(Exception):  # what stopped it matters more than that it cannot be noted
            run.note_failure(rank(), str(error) or type(error).__name__)
        raise
