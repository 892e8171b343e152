"""An experiment from its file to its page: run what is owed, compare, write."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from realm.config import Config
from realm.errors import ConfigError, DataError
from realm.exchange.run_bank import open_bank
from realm.experiments import page
from realm.experiments.facts import bank_facts, shown_routes
from realm.experiments.findings import compose
from realm.experiments.grid import FAST_NOTE, Grid, make_grid
from realm.experiments.results import Outcomes, make_results
from realm.experiments.runner import clear, run_cells, seconds_of
from realm.experiments.spec import UNTRAINED, Spec, load
from realm.files import write_atomic, writing
from realm.locks import locked
from realm.pages.experiment import experiment_page, write_experiment_figure
from realm.rows.base import record
from realm.rows.experiment import Results
from realm.tasks.base import Task
from realm.tasks.registry import load_task
from realm.tasks.workers import VerifierPool

#: Where the pages of the project's own experiments are.
PROJECT_DOCS = Path("docs/results")


@dataclass(frozen=True)
class Order:
    """What the command line asks for.

    Attributes:
        file: of the experiment; its stem is the experiment's name.
        out: folder of all experiments: banks and cells.
        folder: of this one: results.json and report.html.
        docs: folder of page and plot; None: that of the project where there is one, else that of the results. A fast
            run's page always goes to the results.
        seeds, workers: number of seeds, and of processes at once.
        overrides: KEY=VALUE.
        command: as it was typed, for the page.
        config: takes the place of the file's `config`.
        overwrite: what is in `out` is deleted first, all but its banks.
    """

    file: Path
    out: Path
    folder: Path
    docs: Path | None
    seeds: int
    workers: int
    overrides: Sequence[str]
    fast: bool
    command: str
    config: Path | None = None
    overwrite: bool = False

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def pages(self) -> Path:
        if self.docs is not None:
            return self.docs
        return PROJECT_DOCS if PROJECT_DOCS.is_dir() and not self.fast else self.folder


def conduct(order: Order, console: Console) -> Results:
    """Run an experiment as far as it is owed, and write its results, plot and pages.

    Returns:
        The results, as in results.json.

    Raises:
        UserError: a mistake in the file or on the command line, before anything is written; or cells that failed for
            reasons the user can mend.
        JobError: cells failed otherwise; their logs are named.
        Stopped: by Ctrl-C or SIGTERM; the same command goes on.
    """
    spec = load(order.file)
    if order.config is not None:
        spec = spec.model_copy(update={"config": str(order.config)})
    grid = make_grid(spec, order.file, order.out, seeds=order.seeds, overrides=order.overrides, fast=order.fast)
    _check(spec, order.file, grid)
    with locked(order.out):
        if order.overwrite:
            clear(order.out)
        console.print(f"realm experiment {order.name}: {spec.title}")
        if order.fast:
            console.print(FAST_NOTE)
        return _write(order, _compare(spec, order, grid, console), console)


def _check(spec: Spec, file: Path, grid: Grid) -> None:
    """Find out before anything is trained whether what is to be compared will be there.

    Raises:
        ConfigError: a split that is not evaluated, or a kind `bound` without what it needs.
        DataError: seeds would be asked different questions.
        ModelError, TeacherError: there is no student, or a bank cannot be collected.
    """
    from realm.evaluation.also import other_task  # which needs torch, and --list does not
    from realm.evaluation.evaluate import evaluation_splits
    from realm.student.load import load_settings
    from realm.teacher.collect import make_plan

    common = grid.common
    task = load_task(common)
    known = evaluation_splits(common, task)
    other = other_task(common)
    besides = [f"{other.name}:{split}" for split in other.questions] if other else []
    for split, ways in (spec.headline, *spec.measures, *sorted(spec.asked)):
        if split not in known and (split not in besides or ways == "with"):
            names = ", ".join([*known, *(f"{split} without routes" for split in besides)])
            raise ConfigError(f"{file}: no split {split!r} is evaluated; there are {names}.")
    _check_routes(spec, file, common, task)
    split, ways = spec.headline
    if spec.kind == "bound" and not (spec.untrained and any(pair.of((split, ways == "with")) for pair in spec.pairs)):
        raise ConfigError(
            f"{file}: the kind `bound` needs `untrained: true`, and `pairs` that are compared in the headline "
            f"({split}/{ways})."
        )
    if spec.kind == "bound" and any(UNTRAINED in pair for pair in spec.pairs):
        raise ConfigError(f"{file}: pairs of the kind `bound` are of trained arms.")
    _check_questions(grid, task, known)
    if spec.axis and spec.axis.by == "teacher_cost":
        unpriced = [name for name, one in common.teachers.items() if one.share and one.cost(1, 1) is None]
        if unpriced:
            raise ConfigError(f"{file}: axis.by: teacher_cost needs the prices teachers.{unpriced[0]}.price.")
    for path in {common.model.path, *(cell.config.model.path for cell in grid.cells if cell.trained is None)}:
        load_settings(path)
    for folder, config in grid.banks.items():
        if config.run.seed == common.run.seed and not folder.exists():
            make_plan(config, task)


def _check_routes(spec: Spec, file: Path, common: Config, task: Task) -> None:
    """What is asked of prompts with routes needs routes: a bank without any would be noticed after all training."""
    asked = dict.fromkeys((spec.headline, *spec.measures, *sorted(spec.asked)))
    splits = [split for split, ways in asked if ways == "with"]
    if not splits:
        return
    if common.bank.path is None:
        wanted = common.collect.splits
        missing = [split for split in splits if common.routes.k == 0 or (wanted and split not in wanted)]
    else:
        from realm.evaluation.evaluate import has_routes  # which needs torch

        with VerifierPool(task.verifier.name, common.task.choices, common.task.verifier_timeout) as pool:
            bank = open_bank(common, task, pool)
        missing = [split for split in splits if not has_routes(bank, task.rows(split), common)]
    if missing:
        raise ConfigError(
            f"{file}: {missing[0]}/with is asked for, but there will be no routes for split {missing[0]!r}: its "
            "questions need CoTs in the bank (collect.splits, or bank.path), and routes.k must not be 0."
        )


def _check_questions(grid: Grid, task: Task, splits: Sequence[str]) -> None:
    """Every seed is to be asked the same questions: outcomes are pooled over the seeds, question by question."""
    wanted = {split: [question.id for question in task.rows(split)] for split in splits}
    others = {cell.seed: cell.config for cell in grid.cells if cell.seed != grid.common.run.seed}
    for seed, config in others.items():
        other = load_task(config)
        for split, ids in wanted.items():
            if [question.id for question in other.rows(split)] != ids:
                raise DataError(
                    f"split {split!r}: seed {seed} would be asked other questions than the first seed, so the seeds "
                    "cannot be pooled; give the questions of the test a file of their own (task.test_path)."
                )


def _compare(spec: Spec, order: Order, grid: Grid, console: Console) -> Results:
    """Run the cells and compare them."""
    run_cells(grid, order.out, console, workers=order.workers)
    console.print("comparing")
    found = Outcomes(spec, grid)
    task = load_task(grid.common)
    results = make_results(
        spec,
        grid,
        found,
        name=order.name,
        command=order.command,
        fast=order.fast,
        seconds=seconds_of(grid, order.out),
        shown=tuple(shown_routes(grid, list(spec.arms), task)),
        banks=tuple(bank_facts(spec, grid, found, task)) if spec.kind == "bound" else (),
    )
    return replace(results, finding=compose(results, found, tell=spec.tell))


def _write(order: Order, results: Results, console: Console) -> Results:
    """Write results.json, plot and pages; the results are returned."""
    for folder in (order.folder, order.pages):
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
    write_atomic(order.folder / Results.FILE, json.dumps(record(results), indent=1, ensure_ascii=False) + "\n")
    image, _ = write_experiment_figure(results, order.pages / order.name)
    target = order.pages / f"{order.name}.md"
    write_atomic(target, page.page(results, image=image.name))
    console.print(results.finding, markup=False)
    written = experiment_page(results).write(order.folder / "report.html")
    console.print(f"wrote {target} and {written}", soft_wrap=True)
    return results
