"""Reading a run folder for the report: whatever is there, however far the run has come.

The files are written by a run that may still be going or may have been killed. A row that does not fit its type
(`realm.rows`) is left out and told on the page (`Report.notes`); texts in it are a model's, and escaped where they are
shown.
"""

from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

import yaml
from pydantic import ValidationError

from realm.config import READING, Config
from realm.display import printable
from realm.errors import DataError
from realm.recipes import RECIPES, known
from realm.recipes.stage import Recipe
from realm.rows.base import STAGES
from realm.rows.evaluation import Evaluation
from realm.rows.run import Meta
from realm.rows.training import RlStep, Step
from realm.run_rows import read_row, read_rows
from realm.statistics.equivalence import Equivalence
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
#: The stages of training, in the order within a round.
TRAINED = tuple(stage for stage in STAGES if stage not in ("base", "final"))
#: Figures beyond this are of a run that fell apart; left out, they cannot overflow the arithmetic of a chart.
_LARGEST = 1e15


def figure(row: Step, name: str) -> float | None:
    """A column of metrics.jsonl, or TABLE/NAME of one that is a table; None where it is missing or absurdly large."""
    column, _, key = name.partition("/")
    value = getattr(row, column)
    if key:
        value = (value or {}).get(key)
    return value if value is not None and abs(value) <= _LARGEST else None


def when(stage: str, round_: int, step: int) -> str:
    """A place in training, in words."""
    if stage == "base":
        return "base model"
    return f"{stage.upper()} step {step}" + (f", round {round_ + 1}" if round_ else "")


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
class Difference:
    """A difference in accuracy, `name` minus `against`, paired by question; in [-1, 1] with its 95 % interval."""

    name: str
    against: str
    split: str
    routes: int
    difference: float
    low: float
    high: float
    equivalence: Equivalence | None = None
    """Against the margin that was asked for."""


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

    @property
    def has_rl(self) -> bool:
        """Whether RL is a part of it, where its recipe is known; RL alone samples completions and shows a course."""
        if self.meta.evaluated is not None:
            return False
        recipe = known(self.config.training.recipe) if self.config is not None else None
        if recipe is None or self.config is None:
            return True
        return any(stage.kind == "rl" for stage in recipe.stages(self.config))

    def setting(self, key: str) -> object:
        """The value of a dotted key of its configuration; None where there is none."""
        return reduce(lambda section, part: getattr(section, part, None), key.split("."), self.config)

    def stage_steps(self, stage: str) -> dict[int, int]:
        """Last step seen per round of a stage."""
        steps: dict[int, int] = {}
        for row in (*self.metrics, *self.evaluations):
            if row.stage == stage:
                steps[row.round] = max(steps.get(row.round, 0), row.step)
        return steps

    def position(self, stage: str, round_: int, step: int) -> int:
        """Optimizer steps since the base model: the stages stand one after the other, the base itself at 0."""
        if stage not in TRAINED:
            return 0
        here = round_, TRAINED.index(stage)
        before = [(other, place, n) for place, one in enumerate(TRAINED) for other, n in self.stage_steps(one).items()]
        return sum(n for other, place, n in before if (other, place) < here) + step


@dataclass
class Report:
    """Everything the page of a run, or of two side by side, shows before it is drawn."""

    folder: Path
    runs: list[Run] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    config_text: str = ""
    notes: list[str] = field(default_factory=list)

    def names(self) -> list[str]:
        """Every model on the page."""
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
        return shown.accuracy - without.accuracy, shown.autonomy_gap_low, shown.autonomy_gap_high

    def routes(self) -> int:
        """Number of routes shown in the evaluations with routes; 0 where there were none."""
        rows = self.results + [row for run in self.runs for row in run.evaluations]
        return max((row.routes for row in rows), default=0)


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
            return Config.model_validate(tree, context=READING)
        except ValidationError as error:
            problems = error.errors(include_url=False)
            for problem in problems:
                *parents, last = problem["loc"]
                if problem["type"] == "extra_forbidden":
                    reduce(lambda node, part: node[part], parents, tree).pop(last, None)
    told = f"{'.'.join(map(str, problems[0]['loc']))}: {problems[0]['msg']}"
    notes.append(f"{path.parent.name}/{path.name} cannot be read: {printable(told, 200)}.")
    return None


def _read_run(folder: Path, notes: list[str]) -> Run:
    config, meta = read_settings(folder / "config.yaml", notes), read_row(folder, Meta, notes) or Meta()
    # The recipe in the configuration of a mere evaluation says nothing of the model.
    recipe = config.training.recipe if config is not None and meta.evaluated is None else ""
    name = recipe or folder.resolve().name
    return Run(
        name=name,
        folder=folder,
        config=config,
        meta=meta,
        metrics=list(read_rows(folder, Step, notes)),
        evaluations=[Result(**vars(row), name=name) for row in read_rows(folder, Evaluation, notes)],
    )


def read_report(folder: Path) -> Report:
    """Read the folder of a training run.

    Raises:
        DataError: the folder is missing, holds none of a run's files, or holds several runs.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: expected the folder of a run, found {'a file' if folder.exists() else 'nothing'} there."
        )
    places = [*folder.iterdir(), *folder.glob("cells/*")]
    children = sorted(child for child in places if any((child / file).is_file() for file in RUN_FILES))
    own = any((folder / file).is_file() for file in ("metrics.jsonl", "evaluations.jsonl", "completions.jsonl"))
    if not own and (folder / "summary.json").is_file():
        raise DataError(
            f"{folder}: expected one run, found the quickstart of an earlier version (summary.json), which has no page "
            "any more. Name one of the runs in it, or run `realm quickstart` anew."
        )
    if not own and children:
        names = ", ".join(str(child.relative_to(folder)) for child in children)
        raise DataError(f"{folder}: expected one run, found several runs: {names}. Name one of them.")
    if not any((folder / file).is_file() for file in RUN_FILES):
        raise DataError(f"{folder}: expected a run folder, found none of {', '.join(RUN_FILES)}, results.json in it.")
    report = Report(folder)
    run = _read_run(folder, report.notes)
    report.runs = [run]
    # The last row of every (split, number of routes): an evaluation may have been repeated.
    report.results = list({(row.split, row.routes): row for row in run.evaluations if row.stage == "final"}.values())
    try:
        report.config_text = (folder / "config.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        report.config_text = ""
    report.notes += _missing(run)
    return report


def _missing(run: Run) -> list[str]:
    """What of a run is not there, and what will come while it is under way; of a mere evaluation nothing is missing."""
    notes, absent = [], []
    if not run.metrics and run.meta.evaluated is None:
        absent.append("training steps (metrics.jsonl)")
    if not run.evaluations:
        absent.append("evaluations (evaluations.jsonl)")
    elif not any(row.stage == "final" for row in run.evaluations):
        absent.append("final evaluation")
    if run.has_rl and not (run.folder / "completions.jsonl").is_file():
        absent.append("sampled completions (completions.jsonl)")
    if run.meta.status in ("failed", "interrupted"):
        ended = "failed" if run.meta.status == "failed" else "been interrupted"
        notes.append(f"{run.name}: the run has {ended}.")
    if absent:
        notes.append(f"{run.name}: no {', no '.join(absent)}{' yet' if run.meta.status in (None, 'running') else ''}.")
    return notes
