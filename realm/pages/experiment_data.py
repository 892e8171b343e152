"""The results of an experiment as its page needs them: what is shown of them, by arm and measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from realm.display import printable
from realm.rows.experiment import (
    Accuracy,
    BankFacts,
    Course,
    Curve,
    Gap,
    GapPair,
    Judging,
    Measure,
    Pair,
    Results,
    Shown,
    Took,
)

#: Characters of a name and of a paragraph that the page shows.
_NAME, _LONG = 60, 8_000
#: Arms of one experiment that the page shows.
_MOST_ARMS = 40
#: Kinds of questions, likewise.
MOST_KINDS = 24

OfArm = TypeVar("OfArm", Curve, Course, Gap, Judging, Shown, Took)


@dataclass(frozen=True)
class Experiment:
    """Everything the page shows. `arms` maps each name to what it sets, `axis` each arm to its place on an axis.

    `all_arms` counts the arms that the page leaves out too; rows are those of arms that it shows.
    """

    results: Results
    name: str
    title: str
    question: str
    finding: str
    arms: dict[str, dict[str, Any]]
    all_arms: int
    measures: list[Measure]
    cells: dict[tuple[str, str], Accuracy]
    gaps: list[Gap]
    pairs: list[Pair]
    gap_pairs: list[GapPair]
    axis_label: str
    axis: dict[str, float]
    kinds: dict[tuple[str, str], float]
    cost: list[Took]
    curves: list[Curve]
    training: list[Course]
    judging: list[Judging]
    shown: list[Shown]
    banks: Sequence[BankFacts]

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.results.seeds)

    @property
    def headline(self) -> Measure:
        """The measure that answers the question."""
        return next((one for one in self.measures if one.name == self.results.headline), self.measures[0])


def _paragraph(text: str) -> str:
    """A text of others, its end marked where it is cut."""
    return text if len(text) <= _LONG else f"{text[:_LONG]} …"


def shown(name: str) -> str:
    """A name of others as the page shows it."""
    return printable(name, _NAME)


def read_experiment(results: Results) -> Experiment:
    """Results as the page needs them."""
    arms = {arm.name: arm.set_ for arm in results.arms[:_MOST_ARMS]}

    def known(rows: Sequence[OfArm]) -> list[OfArm]:
        return [row for row in rows if row.arm in arms]

    values = results.axis.values if results.axis is not None else {}
    return Experiment(
        results=results,
        name=shown(results.name),
        title=printable(results.title, 200),
        question=_paragraph(results.question),
        finding=_paragraph(results.finding),
        arms=arms,
        all_arms=len(results.arms),
        measures=[Measure(**{**vars(one), "label": shown(one.label)}) for one in results.measures],
        cells={(row.arm, row.measure): row for row in results.cells if row.arm in arms},
        gaps=known(results.gaps),
        pairs=[row for row in results.pairs if row.arm in arms and row.against in arms],
        gap_pairs=[row for row in results.gap_pairs if row.arm in arms and row.against in arms],
        axis_label=shown(results.axis.label) if results.axis is not None else "",
        axis={arm: values[arm] for arm in arms if arm in values},
        kinds={(row.arm, row.kind): row.mean for row in results.kinds if row.arm in arms},
        cost=known(results.cost),
        curves=known(results.curves),
        training=known(results.training),
        judging=known(results.judging),
        shown=known(results.shown),
        banks=results.banks[:_MOST_ARMS],
    )
