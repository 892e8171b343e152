"""Reading a run folder for the report: whatever is there, however far the run has come.

The files are written by a run that may still be going or may have been killed. A row that does not fit its type
(`realm.rows`) is left out and told on the page (`Report.notes`); texts in it are a model's, and escaped where they are
shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import ClassVar

import yaml
from pydantic import ValidationError

from realm.config import Config
from realm.display import printable
from realm.errors import DataError
from realm.recipes import RECIPES
from realm.recipes.stage import Recipe
from realm.rows.base import Count, Record, Row, Seconds, Share, Tokens, record
from realm.rows.evaluation import Evaluation, Part
from realm.rows.run import Meta
from realm.rows.training import RlStep, Step
from realm.run_rows import read_row, read_rows
from realm.written import read_yaml

RUN_FILES = ("config.yaml", "meta.json", "metrics.jsonl", "evaluations.jsonl", "completions.jsonl")
SPLIT_TITLES = {
    "test": "Test",
    "ood": "Out of distribution",
    "uncommented": "Rules without comments",
    "validation": "Validation",
}
_SPLIT_ORDER = {"test": 0, "ood": 1, "uncommented": 2, "validation": 9}
#: Place of a model that has one of its own: the untrained one, and recipes.
_PLACES = {"base": 0, **{recipe.name: recipe.place for recipe in RECIPES.values() if recipe.place < Recipe.place}}
#: Figures beyond this are of a run that fell apart; left out, they cannot overflow the arithmetic of a chart.
_LARGEST = 1e15


def figure(row: Step, name: str) -> float | None:
    """A column of metrics.jsonl; None where it is missing or absurdly large."""
    value: float | None = getattr(row, name)
    return value if value is not None and abs(value) <= _LARGEST else None


def split_title(split: str) -> str:
    """How a split is called on the page."""
    return SPLIT_TITLES.get(split, split)


def split_order(split: str) -> tuple[int, str]:
    """Sort key: test first, validation last, unknown splits by name in between."""
    return _SPLIT_ORDER.get(split, 5), split


def recipe_order(name: str) -> tuple[int, str]:
    """Sort key: the base first, then the recipes in the order of the method, unknown names after them."""
    return _PLACES.get(name, Recipe.place), name


@dataclass(frozen=True, kw_only=True)
class Result(Evaluation):
    """An evaluation of the model that the page calls `name`."""

    name: str

    @property
    def interval(self) -> tuple[float, float]:
        """Of the accuracy, 95 %."""
        return self.accuracy_low, self.accuracy_high


@dataclass(frozen=True)
class Difference(Record):
    """A difference in accuracy, `name` minus `against`, paired by question; in [-1, 1] with its 95 % interval."""

    name: str
    against: str
    split: str
    routes: int
    difference: float
    low: float
    high: float


@dataclass
class Run:
    """One training run: its recipe, configuration, and the rows of its files."""

    name: str
    folder: Path
    config: Config | None = None
    meta: Meta = field(default_factory=Meta)
    metrics: list[Step] = field(default_factory=list)
    evaluations: list[Result] = field(default_factory=list)

    @property
    def rl(self) -> list[RlStep]:
        """The rows of its RL."""
        return [row for row in self.metrics if isinstance(row, RlStep)]

    def setting(self, key: str) -> object:
        """The value of a dotted key of its configuration; None where there is none."""
        return reduce(lambda section, part: getattr(section, part, None), key.split("."), self.config)

    def stage_steps(self, stage: str) -> dict[int, int]:
        """Last step seen per round of the stage `sft` or `rl`."""
        steps: dict[int, int] = {}
        for row in (*self.metrics, *self.evaluations):
            if row.stage == stage:
                steps[row.round] = max(steps.get(row.round, 0), row.step)
        return steps

    def position(self, stage: str, round_: int, step: int) -> int:
        """Optimizer steps since the base model: the stages stand one after the other, the base itself at 0."""
        if stage not in ("sft", "rl"):
            return 0
        before = sum(steps for other, steps in self.stage_steps("sft").items() if other < round_ + (stage == "rl"))
        return before + sum(steps for other, steps in self.stage_steps("rl").items() if other < round_) + step


@dataclass
class Report:
    """Everything the page shows, before it is drawn."""

    folder: Path
    quickstart: bool
    title: str = ""
    note: str = ""
    facts: dict[str, object] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    base: list[Result] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    cost: list[Spent] = field(default_factory=list)
    config_text: str = ""
    notes: list[str] = field(default_factory=list)

    def names(self) -> list[str]:
        """Every model on the page, the base first."""
        found = {run.name for run in self.runs} | {row.name for row in self.results}
        return sorted(found, key=recipe_order)

    def splits(self) -> list[str]:
        """The splits of the final table, in the order of reading."""
        return sorted({row.split for row in self.results}, key=split_order)

    def result(self, name: str, split: str, with_routes: bool) -> Result | None:
        """The final figure of a model; None where it was not evaluated."""
        for row in self.results:
            if row.name == name and row.split == split and (row.routes > 0) == with_routes:
                return row
        return None

    def gap(self, name: str, split: str) -> tuple[float, float | None, float | None] | None:
        """Accuracy with − without routes, and its interval paired by question where the evaluation holds one."""
        without, shown = self.result(name, split, False), self.result(name, split, True)
        if without is None or shown is None:
            return None
        low = high = None
        for row in self.base + [row for run in self.runs for row in run.evaluations if row.stage == "final"]:
            if (row.name, row.split, row.routes) == (name, split, shown.routes):
                low, high = row.autonomy_gap_low, row.autonomy_gap_high
        return shown.accuracy - without.accuracy, low, high

    def routes(self) -> int:
        """Number of routes shown in the evaluations with routes; 0 where there were none."""
        rows = self.results + [row for run in self.runs for row in run.evaluations]
        return max((row.routes for row in rows), default=0)


def read_evaluations(folder: Path, name: str, notes: list[str]) -> list[Result]:
    """The rows of an evaluations.jsonl, of the model `name`."""
    return [Result(**vars(row), name=name) for row in read_rows(folder, Evaluation, notes)]


def read_settings(path: Path, notes: list[str]) -> Config | None:
    """A run's config.yaml, without the settings that this version no longer has; None where it is missing or, told in
    `notes`, cannot be read."""
    try:
        tree = read_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        notes.append(f"{path.parent.name}/{path.name} cannot be read.")
        return None
    for _ in range(2):
        try:
            return Config.model_validate(tree)
        except ValidationError as error:
            problems = error.errors(include_url=False)
            for problem in problems:
                *parents, last = problem["loc"]
                if problem["type"] == "extra_forbidden":
                    reduce(lambda node, part: node[part], parents, tree).pop(last, None)
    told = f"{'.'.join(map(str, problems[0]['loc']))}: {problems[0]['msg']}"
    notes.append(f"{path.parent.name}/{path.name} cannot be read: {printable(told, 200)}.")
    return None


def _read_run(folder: Path, name: str | None, notes: list[str]) -> Run:
    config, meta = read_settings(folder / "config.yaml", notes), read_row(folder, Meta, notes) or Meta()
    # The recipe in the configuration of a mere evaluation says nothing of the model.
    recipe = config.training.recipe if config is not None and meta.evaluated is None else ""
    label = name or recipe or folder.resolve().name
    return Run(
        name=label,
        folder=folder,
        config=config,
        meta=meta,
        metrics=list(read_rows(folder, Step, notes)),
        evaluations=read_evaluations(folder, label, notes),
    )


def _last(rows: Iterable[Result]) -> list[Result]:
    """The last row of every (model, split, number of routes): an evaluation may have been repeated."""
    return list({(row.name, row.split, row.routes): row for row in rows}.values())


@dataclass(frozen=True, kw_only=True)
class Spent(Record):
    """What a recipe, or a stage of one run, took; `style`: the model whose colour it has."""

    name: str
    steps: Count
    completions: Count | None
    tokens: Tokens
    seconds: Seconds
    style: str = ""


@dataclass(frozen=True, kw_only=True)
class _Final(Record):
    """The final figure of a model in a quickstart."""

    name: str
    split: str
    routes: Count
    n: Count
    accuracy: Share
    low: Share
    high: Share
    by_kind: dict[str, Part]

    def result(self) -> Result:
        return Result(
            stage="final",
            step=0,
            accuracy_low=self.low,
            accuracy_high=self.high,
            **{name: value for name, value in vars(self).items() if name not in ("low", "high")},
        )


@dataclass(frozen=True, kw_only=True)
class _Summary(Row):
    """What the quickstart leaves beside its runs."""

    FILE: ClassVar[str] = "summary.json"

    title: str = ""
    note: str = ""
    machine: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    seed: int | None = None
    seconds: Seconds | None = None
    budget: dict[str, Count] = field(default_factory=dict)
    rows: tuple[_Final, ...] = ()
    differences: tuple[Difference, ...] = ()
    cost: tuple[Spent, ...] = ()


def _quickstart(folder: Path, children: list[Path]) -> Report:
    report = Report(folder, quickstart=True)
    meta = read_row(folder, Meta, report.notes) or Meta()
    summary = read_row(folder, _Summary, report.notes)
    if summary is None and not (folder / _Summary.FILE).exists():
        report.notes.insert(0, "There is no summary.json yet: the quickstart has not finished.")
    summary = summary or _Summary()
    report.title, report.note = summary.title, summary.note
    told = {name: getattr(summary, name) for name in ("machine", "versions", "seed", "seconds", "budget")}
    report.facts = record(meta) | {name: value for name, value in told.items() if value}
    report.runs = [_read_run(child, child.name, report.notes) for child in children if child.name != "base"]
    report.runs.sort(key=lambda run: recipe_order(run.name))
    report.base = read_evaluations(folder / "base", "base", report.notes)
    report.results = _last(row.result() for row in summary.rows)
    if not report.results:
        finals = [row for run in report.runs for row in run.evaluations if row.stage == "final"]
        report.results = _last([row for row in report.base if row.split != "validation"] + finals)
    report.differences, report.cost = list(summary.differences), list(summary.cost)
    return report


def _single(folder: Path) -> Report:
    report = Report(folder, quickstart=False)
    run = _read_run(folder, None, report.notes)
    report.runs, report.facts = [run], record(run.meta)
    report.base = [replace(row, name="base") for row in run.evaluations if row.stage == "base"]
    report.results = _last(
        [row for row in report.base if row.split != "validation"]
        + [row for row in run.evaluations if row.stage == "final"]
    )
    return report


def read_report(folder: Path) -> Report:
    """Read the folder of a training run or of a quickstart (a folder with summary.json or with its recipes below it).

    Raises:
        DataError: the folder is missing, holds none of a run's files, or holds runs that are not a quickstart's.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: expected the folder of a run, found {'a file' if folder.exists() else 'nothing'} there."
        )
    children = sorted(child for child in folder.iterdir() if any((child / file).is_file() for file in RUN_FILES))
    own = any((folder / file).is_file() for file in ("metrics.jsonl", "evaluations.jsonl", "completions.jsonl"))
    if (folder / "summary.json").is_file() or (not own and any(child.name in _PLACES for child in children)):
        report = _quickstart(folder, children)
    elif children and not own:
        raise DataError(
            f"{folder}: expected one run or a quickstart, found several runs: "
            f"{', '.join(child.name for child in children)}. Name one of them."
        )
    elif any((folder / file).is_file() for file in RUN_FILES):
        report = _single(folder)
    else:
        raise DataError(
            f"{folder}: expected a run folder, found none of {', '.join(RUN_FILES)}, summary.json, results.json in it."
        )
    try:
        report.config_text = (folder / "config.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        report.config_text = ""
    _missing(report)
    return report


def _missing(report: Report) -> None:
    """Say for every run which of its parts are not there."""
    for run in report.runs:
        absent = []
        if not run.metrics:
            absent.append("training steps (metrics.jsonl)")
        if not run.evaluations:
            absent.append("evaluations (evaluations.jsonl)")
        elif not any(row.stage == "final" for row in run.evaluations) and not report.result(run.name, "test", False):
            absent.append("final evaluation")
        if not (run.folder / "completions.jsonl").is_file():
            absent.append("sampled completions (completions.jsonl)")
        if run.meta.status in ("failed", "interrupted"):
            ended = "failed" if run.meta.status == "failed" else "been interrupted"
            report.notes.append(f"{run.name}: the run has {ended}.")
        if absent:
            report.notes.append(f"{run.name}: no {', no '.join(absent)} yet.")
    if report.quickstart and not report.runs:
        report.notes.append("No recipe has started yet.")
