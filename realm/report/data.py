"""Reading a run folder for the report: whatever is there, however far the run has come.

The files are written by a run that may still be going, may have been killed, or may hold what a model wrote. Nothing
here trusts their shape: a line that is not a JSON object is counted and left out, a figure that is not a finite
number is missing. What could not be read is said on the page (`Report.notes`), never an exception.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from realm.errors import DataError
from realm.recipes import RECIPES
from realm.recipes.stage import Recipe

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

#: Figures beyond this are no measurement of a run; left out, they cannot overflow the arithmetic of a chart.
_LARGEST = 1e15


def number(value: object) -> float | None:
    """`value` as a float; None for anything else (text, booleans, NaN, infinities, absurdly large numbers)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST <= value <= _LARGEST:
        return None
    return float(value)


def share(value: object) -> float | None:
    """`value` as a share in [0, 1]; None for anything else."""
    found = number(value)
    return found if found is not None and 0.0 <= found <= 1.0 else None


def whole(value: object, default: int = 0) -> int:
    """`value` as an int, `default` where it is not a number."""
    found = number(value)
    return default if found is None else int(found)


def text(value: object, default: str = "") -> str:
    """`value` if it is a string, else `default`."""
    return value if isinstance(value, str) else default


def mapping(value: object) -> dict[str, Any]:
    """`value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[dict[str, Any]]:
    """The JSON objects of the list `value`; empty where it is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def split_title(split: str) -> str:
    """How a split is called on the page."""
    return SPLIT_TITLES.get(split, split)


def split_order(split: str) -> tuple[int, str]:
    """Sort key: test first, validation last, unknown splits by name in between."""
    return _SPLIT_ORDER.get(split, 5), split


def recipe_order(name: str) -> tuple[int, str]:
    """Sort key: the base first, then the recipes in the order of the method, unknown names after them."""
    return _PLACES.get(name, Recipe.place), name


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of one model on one split, without (`routes` 0) or with routes; shares in [0, 1]."""

    name: str
    split: str
    routes: int
    n: int
    accuracy: float
    low: float | None
    high: float | None
    stage: str = "final"
    round: int = 0
    step: int = 0
    by_kind: dict[str, tuple[int, float]] = field(default_factory=dict)
    more: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
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
    config: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)

    def stage_steps(self, stage: str) -> dict[int, int]:
        """Last step seen per round of the stage `sft` or `rl`."""
        steps: dict[int, int] = {}
        for row in self.metrics:
            if row.get("stage") == stage:
                round_ = whole(row.get("round"))
                steps[round_] = max(steps.get(round_, 0), whole(row.get("step")))
        for evaluation in self.evaluations:
            if evaluation.stage == stage:
                steps[evaluation.round] = max(steps.get(evaluation.round, 0), evaluation.step)
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
    facts: dict[str, Any] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    base: list[Evaluation] = field(default_factory=list)
    results: list[Evaluation] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    cost: list[dict[str, Any]] = field(default_factory=list)
    config_text: str = ""
    notes: list[str] = field(default_factory=list)

    def names(self) -> list[str]:
        """Every model on the page, the base first."""
        found = {run.name for run in self.runs} | {row.name for row in self.results}
        return sorted(found, key=recipe_order)

    def splits(self) -> list[str]:
        """The splits of the final table, in the order of reading."""
        return sorted({row.split for row in self.results}, key=split_order)

    def result(self, name: str, split: str, with_routes: bool) -> Evaluation | None:
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
                low, high = row.more.get("autonomy_gap_low"), row.more.get("autonomy_gap_high")
        return shown.accuracy - without.accuracy, low, high

    def routes(self) -> int:
        """Number of routes shown in the evaluations with routes; 0 where there were none."""
        rows = self.results + [row for run in self.runs for row in run.evaluations]
        return max((row.routes for row in rows), default=0)


def read_lines(path: Path, notes: list[str]) -> Iterator[dict[str, Any]]:
    """The JSON objects of a JSONL file, one by one.

    The last line without a newline is a write still under way and is passed over in silence if it is torn; any other
    unreadable line is counted in `notes`. A missing file has no rows.
    """
    bad = 0
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    bad += line.endswith("\n")
                    continue
                if isinstance(row, dict):
                    yield row
                else:
                    bad += 1
    except FileNotFoundError:
        return
    except OSError as error:
        notes.append(f"{path.parent.name}/{path.name} cannot be read: {error.strerror or error}.")
    if bad:
        notes.append(
            f"{path.parent.name}/{path.name}: {bad} unreadable {'line was' if bad == 1 else 'lines were'} left out."
        )


def read_object(path: Path, notes: list[str]) -> dict[str, Any]:
    """A JSON or YAML file that holds one mapping; empty, with a note, where it holds something else."""
    try:
        content = path.read_text(encoding="utf-8", errors="replace")
        loaded = json.loads(content) if path.suffix == ".json" else yaml.safe_load(content)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        notes.append(f"{path.parent.name}/{path.name} cannot be read.")
        return {}
    return mapping(loaded)


def _evaluation(row: dict[str, Any], name: str, low: str, high: str) -> Evaluation | None:
    accuracy = share(row.get("accuracy"))
    if accuracy is None:
        return None
    kinds = {}
    for kind, part in mapping(row.get("by_kind")).items():
        found = share(mapping(part).get("accuracy"))
        if found is not None:
            kinds[kind] = (max(0, whole(mapping(part).get("n"))), found)
    more = {key: figure for key, value in row.items() if (figure := number(value)) is not None}
    return Evaluation(
        name=name,
        split=text(row.get("split"), "test"),
        routes=whole(row.get("routes")),
        n=whole(row.get("n")),
        accuracy=accuracy,
        low=share(row.get(low)),
        high=share(row.get(high)),
        stage=text(row.get("stage"), "final"),
        round=whole(row.get("round")),
        step=whole(row.get("step")),
        by_kind=kinds,
        more=more,
    )


def read_evaluations(path: Path, name: str, notes: list[str]) -> list[Evaluation]:
    """The rows of an evaluations.jsonl that hold an accuracy."""
    rows = (_evaluation(row, name, "accuracy_low", "accuracy_high") for row in read_lines(path, notes))
    return [row for row in rows if row is not None]


def _read_run(folder: Path, name: str | None, notes: list[str]) -> Run:
    config, meta = read_object(folder / "config.yaml", notes), read_object(folder / "meta.json", notes)
    # The recipe in the configuration of a mere evaluation says nothing of the model.
    recipe = "" if "evaluated" in meta else text(mapping(config.get("training")).get("recipe"))
    label = name or recipe or folder.resolve().name
    return Run(
        name=label,
        folder=folder,
        config=config,
        meta=meta,
        metrics=list(read_lines(folder / "metrics.jsonl", notes)),
        evaluations=read_evaluations(folder / "evaluations.jsonl", label, notes),
    )


def _difference(row: dict[str, Any]) -> Difference | None:
    value, low, high = (number(row.get(key)) for key in ("difference", "low", "high"))
    if value is None or low is None or high is None or not -1.0 <= low <= value <= high <= 1.0:
        return None
    return Difference(
        text(row.get("name")),
        text(row.get("against")),
        text(row.get("split")),
        whole(row.get("routes")),
        value,
        low,
        high,
    )


def _last(rows: list[Evaluation]) -> list[Evaluation]:
    """The last row of every (model, split, number of routes): an evaluation may have been repeated."""
    return list({(row.name, row.split, row.routes): row for row in rows}.values())


def _quickstart(folder: Path, children: list[Path]) -> Report:
    report = Report(folder, quickstart=True)
    summary = read_object(folder / "summary.json", report.notes)
    report.title = text(summary.get("title"))
    report.note = text(summary.get("note"))
    meta = read_object(folder / "meta.json", report.notes)
    report.facts = {
        **meta,
        **{key: summary[key] for key in ("machine", "versions", "seed", "seconds", "budget") if key in summary},
    }
    report.runs = [_read_run(child, child.name, report.notes) for child in children if child.name != "base"]
    report.runs.sort(key=lambda run: recipe_order(run.name))
    report.base = read_evaluations(folder / "base" / "evaluations.jsonl", "base", report.notes)
    rows = (_evaluation(row, text(row.get("name"), "?"), "low", "high") for row in items(summary.get("rows")))
    report.results = _last([row for row in rows if row is not None])
    if not report.results:
        finals = [row for run in report.runs for row in run.evaluations if row.stage == "final"]
        report.results = _last([row for row in report.base if row.split != "validation"] + finals)
    report.differences = [found for row in items(summary.get("differences")) if (found := _difference(row))]
    report.cost = items(summary.get("cost"))
    if not summary:
        report.notes.insert(0, "There is no summary.json yet: the quickstart has not finished.")
    return report


def _single(folder: Path) -> Report:
    report = Report(folder, quickstart=False)
    run = _read_run(folder, None, report.notes)
    report.runs, report.facts = [run], run.meta
    report.base = [Evaluation(**{**row.__dict__, "name": "base"}) for row in run.evaluations if row.stage == "base"]
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
        if run.meta.get("status") in ("failed", "interrupted"):
            report.notes.append(
                f"{run.name}: the run has {'failed' if run.meta['status'] == 'failed' else 'been interrupted'}."
            )
        if absent:
            report.notes.append(f"{run.name}: no {', no '.join(absent)} yet.")
    if report.quickstart and not report.runs:
        report.notes.append("No recipe has started yet.")
