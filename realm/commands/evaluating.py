"""Any model directory on the held-out questions, without and with routes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from realm.commands.configuring import as_taught
from realm.commands.showing import Showing, silent
from realm.config import Config
from realm.errors import ResourceError
from realm.evaluation.also import ask_besides, other_task
from realm.evaluation.evaluate import evaluate_directory
from realm.exchange.run_bank import has_bank, open_bank
from realm.files import fresh
from realm.rows.base import Place
from realm.rows.evaluation import Evaluation
from realm.run import RunFolder
from realm.student.load import find
from realm.tasks.registry import load_task
from realm.tasks.workers import VerifierPool

_LOG = logging.getLogger(__name__)


def evaluate(
    config: Config,
    model: str | Path | None = None,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    evaluating: Showing[Callable[[int, int], None] | None] = silent,
) -> list[Evaluation]:
    """What `realm evaluate` does: a model on the held-out splits, without routes and with `routes.k` of them.

    Args:
        model: directory or Hub name; None: `model.path`.
        out: folder of the results; None: the run folder's name + -evaluation.
        overwrite: results that are there make room.

    Returns:
        A summary of each split without and with routes, as the rows of evaluations.jsonl are.

    Raises:
        UserError: there are results already, or `out` is a run's folder; the model, the task or the bank is not usable.
    """
    config = config.model_copy(deep=True)
    base = config.model.path
    student = config.model.path = str(model or base)
    config = as_taught(config, student)
    folder = Path(out or config.run_path.with_name(f"{config.run.name}-evaluation"))
    fresh(folder / "evaluations.jsonl", overwrite)
    results = RunFolder(folder)
    if (folder / "meta.json").is_file() and results.meta.evaluated is None:
        raise ResourceError(f"{folder}: is the folder of a run, whose files stay. Choose another place with --out.")
    find(student)
    task = load_task(config)
    other_task(config)  # what is wrong with it is told before the work
    with (
        VerifierPool(task.verifier.name, config.task.choices, config.task.verifier_timeout) as pool,
        evaluating("evaluating") as shown,
    ):
        bank = open_bank(config, task, pool) if has_bank(config) else None
        if bank is None and config.routes.k:
            _LOG.warning("without routes only: bank.path is not set, and there is no %s", config.run_path / "bank")
        summaries = evaluate_directory(student, config, task, bank, pool, out=folder, progress=shown)
        # Results of another model that lay here are gone now, and so is what was said of them.
        results.record_evaluation(config, "running")
        place, untrained = Place(stage="final", step=0), base if base != student else None
        summaries += ask_besides(config, student, out=folder, place=place, untrained=untrained, progress=shown)
    results.record_evaluation(config)
    return summaries
