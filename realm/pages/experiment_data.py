"""The results of an experiment, read for its page: the runner's JSON, of which nothing is trusted to be whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realm.display import printable
from realm.errors import DataError
from realm.pages.untrusted import items, mapping, number, share, text, whole

#: Characters of a name and of a paragraph that the page shows.
_NAME, _LONG = 60, 8_000
#: Arms and seeds of one experiment that the page shows.
_MOST_ARMS, _MOST_SEEDS = 40, 20
#: Kinds of questions, likewise.
MOST_KINDS = 24


@dataclass(frozen=True)
class Measure:
    """What was measured: the accuracy on a split without or with routes; `label` is its name on the page."""

    name: str
    split: str
    routes: bool
    label: str


@dataclass(frozen=True)
class Cell:
    """One arm on one measure: the mean over seeds and questions with its 95 % interval, and each seed's own mean."""

    mean: float
    low: float | None
    high: float | None
    seeds: Mapping[str, float]


@dataclass(frozen=True)
class Gap:
    """Accuracy with − without routes of an arm on a split, with its 95 % interval."""

    arm: str
    split: str
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Pair:
    """Arm minus arm on one measure, with its 95 % interval; `p` plain and corrected for the number of pairs.

    Of autonomy gaps `measure` is the split.
    """

    arm: str
    against: str
    measure: str
    difference: float
    low: float
    high: float
    p: float | None
    p_corrected: float | None


@dataclass(frozen=True)
class Curve:
    """Accuracy on the validation questions over the steps of one seed's training."""

    arm: str
    seed: str
    routes: bool
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Experiment:
    """Everything the page shows. `arms` maps each name to what it sets, `axis` each arm to its place on an axis.

    `all_arms` counts the arms that the page leaves out too.

    `training`, `judging`, `shown` and `banks` are rows as results.json holds them, of known arms.
    """

    name: str
    title: str
    question: str
    finding: str
    fast: bool
    arms: dict[str, dict[str, Any]]
    all_arms: int
    measures: list[Measure]
    headline: str
    cells: dict[tuple[str, str], Cell]
    gaps: list[Gap]
    pairs: list[Pair]
    axis_label: str
    axis: dict[str, float]
    kinds: dict[tuple[str, str], float]
    costs: list[dict[str, Any]]
    curves: list[Curve]
    gap_pairs: list[Pair] = field(default_factory=list)
    training: list[dict[str, Any]] = field(default_factory=list)
    judging: list[dict[str, Any]] = field(default_factory=list)
    shown: list[dict[str, Any]] = field(default_factory=list)
    banks: list[dict[str, Any]] = field(default_factory=list)
    threads: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def seeds(self) -> int:
        """Number of seeds; at least 1."""
        seeds = self.facts.get("seeds")
        return max(1, len(seeds)) if isinstance(seeds, list) else 1

    def measure(self, name: str) -> Measure | None:
        """The measure of this name."""
        return next((one for one in self.measures if one.name == name), None)


def _paragraph(value: object) -> str:
    """A text of others, its end marked where it is cut."""
    found = text(value)
    return found if len(found) <= _LONG else f"{found[:_LONG]} …"


def shown(name: str) -> str:
    """A name of others as the page shows it."""
    return printable(name, _NAME)


def read_results(folder: Path) -> dict[str, Any]:
    """The results.json of an experiment's folder.

    Raises:
        DataError: it cannot be read or is not a JSON object.
    """
    path = folder / "results.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror or error}).") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected the JSON of an experiment's results, found something else.") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected one JSON object, found a {type(found).__name__}.")
    return found


def read_experiment(results: Mapping[str, Any]) -> Experiment:
    """Results as the page needs them; rows that hold no figure or name an unknown arm or measure are left out.

    Raises:
        DataError: there is no arm or no measure.
    """
    named = [(text(row.get("name")), mapping(row.get("set"))) for row in items(results.get("arms"))]
    every = {name: chosen for name, chosen in named if name}
    arms = dict(list(every.items())[:_MOST_ARMS])
    measures = [
        Measure(name, text(row.get("split")), row.get("routes") is True, shown(text(row.get("label"), name)))
        for row in items(results.get("measures"))
        if (name := text(row.get("name")))
    ]
    if not arms or not measures:
        raise DataError("an experiment's results need at least one arm and one measure (keys `arms` and `measures`).")
    known = {one.name for one in measures}
    headline = text(results.get("headline"))
    axis = mapping(results.get("axis"))
    places = {arm: place for arm, value in mapping(axis.get("values")).items() if (place := number(value)) is not None}
    return Experiment(
        name=shown(text(results.get("name"), "experiment")),
        title=printable(text(results.get("title")), 200) or shown(text(results.get("name"), "experiment")),
        question=_paragraph(results.get("question")),
        finding=_paragraph(results.get("finding")),
        fast=results.get("fast") is True,
        arms=arms,
        all_arms=len(every),
        measures=measures,
        headline=headline if headline in known else measures[0].name,
        cells=_cells(results, arms, known),
        gaps=list(_gaps(results, arms)),
        pairs=list(_pairs(results.get("pairs"), arms, "measure", known)),
        axis_label=shown(text(axis.get("label"))),
        axis={arm: places[arm] for arm in arms if arm in places},
        kinds={
            (text(row.get("arm")), text(row.get("kind"))): mean
            for row in items(results.get("kinds"))
            if (mean := share(row.get("mean"))) is not None and text(row.get("arm")) in arms
        },
        costs=_of_arms(results.get("cost"), arms),
        curves=list(_curves(results, arms)),
        gap_pairs=list(_pairs(results.get("gap_pairs"), arms, "split")),
        training=_of_arms(results.get("training"), arms),
        judging=_of_arms(results.get("judging"), arms),
        shown=_of_arms(results.get("shown"), arms),
        banks=items(results.get("banks"))[:_MOST_ARMS],
        threads=whole(results.get("threads")),
        facts={
            key: results[key]
            for key in ("command", "machine", "versions", "seeds", "seconds", "budget")
            if results.get(key) not in (None, "", [], {})
        },
    )


def _of_arms(rows: object, arms: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of known arms."""
    return [row for row in items(rows) if text(row.get("arm")) in arms]


def _cells(results: Mapping[str, Any], arms: Mapping[str, Any], known: set[str]) -> dict[tuple[str, str], Cell]:
    found = {}
    for row in items(results.get("cells")):
        arm, measure, mean = text(row.get("arm")), text(row.get("measure")), share(row.get("mean"))
        if arm in arms and measure in known and mean is not None:
            seeds = {
                shown(str(seed)): figure
                for seed, value in list(mapping(row.get("seeds")).items())[:_MOST_SEEDS]
                if (figure := share(value)) is not None
            }
            found[arm, measure] = Cell(mean, share(row.get("low")), share(row.get("high")), seeds)
    return found


def _gaps(results: Mapping[str, Any], arms: Mapping[str, Any]) -> Iterator[Gap]:
    for row in items(results.get("gaps")):
        mean = _difference(row.get("mean"))
        if text(row.get("arm")) in arms and mean is not None:
            low, high = _difference(row.get("low")), _difference(row.get("high"))
            yield Gap(text(row.get("arm")), text(row.get("split")), mean, low, high)


def _pairs(rows: object, arms: Mapping[str, Any], where: str, known: set[str] | None = None) -> Iterator[Pair]:
    """Differences, the measure or split under the key `where`; of `known` ones alone where these are given.

    A gap is a difference already, so that one of gaps may reach from -2 to 2.
    """
    most = 1.0 if known is not None else 2.0
    for row in items(rows):
        arm, against, measure = text(row.get("arm")), text(row.get("against")), text(row.get(where))
        value, low, high = (_difference(row.get(key), most) for key in ("difference", "low", "high"))
        told = arm in arms and against in arms and (known is None or measure in known)
        if told and None not in (value, low, high):
            assert value is not None and low is not None and high is not None
            yield Pair(arm, against, measure, value, low, high, share(row.get("p")), share(row.get("p_corrected")))


def _curves(results: Mapping[str, Any], arms: Mapping[str, Any]) -> Iterator[Curve]:
    for row in items(results.get("curves")):
        points = row.get("points")
        found = [
            (step, accuracy)
            for point in (points if isinstance(points, list) else [])
            if isinstance(point, list)
            and len(point) == 2
            and (step := number(point[0])) is not None
            and (accuracy := share(point[1])) is not None
        ]
        if text(row.get("arm")) in arms and found:
            yield Curve(text(row.get("arm")), str(whole(row.get("seed"))), row.get("measure") == "with", sorted(found))


def _difference(value: object, most: float = 1.0) -> float | None:
    """`value` as a difference of shares, in [-most, most]; None for anything else."""
    found = number(value)
    return found if found is not None and -most <= found <= most else None
