"""The results of an experiment as its page needs them: by arm and measure, with names of others made safe to show."""

from dataclasses import dataclass, replace
from typing import Any

from realm.display import printable
from realm.rows.experiment import Accuracy, Measure, Results

#: Characters of a name and of a paragraph that the page shows.
_NAME, _LONG = 60, 8_000
#: Kinds of questions that the page shows.
MOST_KINDS = 24


@dataclass(frozen=True)
class Experiment:
    """`arms` maps each name to what it sets, `axis` each arm to its place on an axis, `kinds` (arm, kind) to a mean."""

    results: Results
    arms: dict[str, dict[str, Any]]
    measures: list[Measure]
    cells: dict[tuple[str, str], Accuracy]
    axis_label: str
    axis: dict[str, float]
    kinds: dict[tuple[str, str], float]

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.results.seeds)

    @property
    def headline(self) -> Measure:
        """The measure that answers the question."""
        return next((one for one in self.measures if one.name == self.results.headline), self.measures[0])


def true_sums(found: Experiment) -> Experiment:
    """The same arms by their shares of true sums: measures, cells and pairs are those of sums."""
    cells = {(row.arm, row.measure): row for row in found.results.sums}
    asked = {measure for _, measure in cells}
    measures = [one for one in found.measures if one.name in asked]
    return replace(found, measures=measures, cells=cells, results=replace(found.results, pairs=found.results.sum_pairs))


def paragraph(text: str) -> str:
    """A text of others, its end marked where it is cut."""
    return text if len(text) <= _LONG else f"{text[:_LONG]} …"


def shown(name: str) -> str:
    """A name of others as the page shows it."""
    return printable(name, _NAME)


def read_experiment(results: Results) -> Experiment:
    """Results as the page needs them."""
    arms = {arm.name: arm.set_ for arm in results.arms}
    values = results.axis.values if results.axis is not None else {}
    return Experiment(
        results=results,
        arms=arms,
        measures=[Measure(**{**vars(one), "label": shown(one.label)}) for one in results.measures],
        cells={(row.arm, row.measure): row for row in results.cells},
        axis_label=shown(results.axis.label) if results.axis is not None else "",
        axis={arm: values[arm] for arm in arms if arm in values},
        kinds={(row.arm, row.kind): row.mean for row in results.kinds},
    )
