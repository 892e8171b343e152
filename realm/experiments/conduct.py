"""An experiment from its file to its page: run what is owed, compare, write."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from realm.bank.store import Bank
from realm.config import Config
from realm.errors import ConfigError, DataError
from realm.experiments import page, patterns
from realm.experiments.facts import bank_facts, shown_routes
from realm.experiments.findings import compose
from realm.experiments.grid import Grid, make_grid
from realm.experiments.page import Section
from realm.experiments.plot import draw
from realm.experiments.results import Outcomes, make_results
from realm.experiments.runner import collect_banks, run_cells, seconds_of
from realm.experiments.spec import UNTRAINED, Spec, load
from realm.files import write_atomic, writing
from realm.locks import locked
from realm.tasks.base import Task
from realm.tasks.registry import load_task

#: Where the pages of the project's own experiments are.
PROJECT_DOCS = Path("docs/results")
_REPORT = "realm.report.experiment"


@dataclass(frozen=True)
class Order:
    """What the command line asks for.

    Attributes:
        file: of the experiment; its stem is the experiment's name.
        out: folder of all experiments.
        docs: folder of page and plot; None: that of the project where there is one, else that of the results. A fast
            run's page always goes to the results.
        seeds, workers: number of seeds, and of processes at once.
        overrides: KEY=VALUE.
        data: folder of real CoTs (kind `patterns`).
        command: as it was typed, for the page.
    """

    file: Path
    out: Path
    docs: Path | None
    seeds: int
    workers: int
    overrides: Sequence[str]
    fast: bool
    data: Path | None
    command: str

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def folder(self) -> Path:
        """Of results.json and report.html."""
        return self.out / self.name

    @property
    def pages(self) -> Path:
        if self.docs is not None:
            return self.docs
        return PROJECT_DOCS if PROJECT_DOCS.is_dir() and not self.fast else self.folder


def conduct(order: Order, console: Console) -> Path:
    """Run an experiment as far as it is owed, and write its results, plot and pages.

    Returns:
        The Markdown page.

    Raises:
        UserError: a mistake in the file or on the command line, before anything is written; or cells that failed for
            reasons the user can mend.
        JobError: cells failed otherwise; their logs are named.
        Stopped: by Ctrl-C or SIGTERM; the same command goes on.
    """
    spec = load(order.file)
    seeds = 1 if spec.kind == "patterns" else order.seeds
    grid = make_grid(spec, order.file, order.out, seeds=seeds, overrides=order.overrides, fast=order.fast)
    _check(spec, order.file, grid)
    with locked(order.out):
        console.print(f"realm experiment {order.name}: {spec.title}")
        made = _patterns(spec, order, grid, console) if spec.kind == "patterns" else _cells(spec, order, grid, console)
        return _write(spec, order, seconds_of(grid, order.out), *made, console)


def _check(spec: Spec, file: Path, grid: Grid) -> None:
    """Find out before anything is trained whether what is to be compared will be there.

    Raises:
        ConfigError: a split that is not evaluated, or a kind `bound` without what it needs.
        DataError: seeds would be asked different questions.
    """
    if spec.kind == "patterns":
        return
    from realm.evaluation.evaluate import evaluation_splits  # which needs torch, and --list does not

    common = grid.common
    task = load_task(common)
    known = evaluation_splits(common, task)
    for split, _ in (spec.headline, *spec.measures, *sorted(spec.asked)):
        if split not in known:
            raise ConfigError(f"{file}: no split {split!r} is evaluated; there are {', '.join(known)}.")
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

        bank = Bank.open(common.bank.path)
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


Made = tuple[dict[str, Any], list[Section]]


def _cells(spec: Spec, order: Order, grid: Grid, console: Console) -> Made:
    """Run the cells and compare them."""
    run_cells(grid, order.out, console, workers=order.workers)
    console.print("comparing")
    found = Outcomes(spec, grid)
    results = make_results(spec, grid, found)
    task = load_task(grid.common)
    shown = shown_routes(grid, list(spec.arms), task)
    facts = bank_facts(spec, grid, found, task) if spec.kind == "bound" else []
    results["shown"] = [asdict(one) for one in shown]
    results["banks"] = [asdict(one) for one in facts]
    results["finding"] = compose(results, found, shown, facts, fast=order.fast, tell=spec.tell)
    return results, page.comparison(results)


def _patterns(spec: Spec, order: Order, grid: Grid, console: Console) -> Made:
    """Analyse the errors of the desk's bank, or of the one that is configured, and of the files."""
    collect_banks(grid.banks, order.out, console, workers=order.workers)
    started = time.monotonic()
    own = grid.common.bank.path
    banks = {patterns.DESK: next(iter(grid.banks))} if own is None else {Path(own).name: Path(own)}
    if order.data is None:
        console.print("without the real CoTs: give --data DIR, or set REALM_DATA_DIR")
    banks |= patterns.import_files(spec, order.data, order.out.resolve(), console)
    seed = grid.common.run.seed
    found = patterns.analyse_banks(banks, seed, console)
    results = patterns.make_results(found, seed)
    results["finding"] = patterns.finding(found)
    results["seconds"] = round(time.monotonic() - started, 1)
    if order.data is not None and "--data" not in order.command:  # the folder came from the environment
        results["command"] = f"{order.command} --data DIR"
    return results, [patterns.verdicts(results), patterns.kinds(found)]


def _write(
    spec: Spec, order: Order, seconds: float, made: Mapping[str, Any], sections: Sequence[Section], console: Console
) -> Path:
    """Write results.json, plot and pages; the Markdown page's path is returned."""
    results = {
        "name": order.name,
        "title": spec.title,
        "question": spec.question,
        "kind": spec.kind,
        "command": order.command,
        "fast": order.fast,
        "seconds": seconds,
        **made,
    }
    for folder in (order.folder, order.pages):
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
    write_atomic(order.folder / "results.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    image, _ = draw(results, order.pages / order.name)
    target = order.pages / f"{order.name}.md"
    write_atomic(target, page.page(results, sections, image=image.name))
    console.print(results["finding"], markup=False)
    written = [str(target), *_report(results, order.folder)]
    console.print(f"wrote {' and '.join(written)}", soft_wrap=True)
    return target


def _report(results: Mapping[str, Any], folder: Path) -> list[str]:
    """The HTML page beside results.json, where this installation can make it."""
    if find_spec(_REPORT) is None:
        return []
    return [str(import_module(_REPORT).write_experiment_page(dict(results), folder))]
