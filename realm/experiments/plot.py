"""The plot of an experiment by matplotlib: means with 95 % intervals, a faint dot for every seed, a panel each split.

Where banks are held against the gap between teacher and student, the plot is of that instead.

Without and with routes are told apart as on every page (`realm.report.palette`): blue and hollow, orange and solid.
Equal results give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.experiments.spec import UNTRAINED
from realm.files import writing
from realm.report.palette import LOOKS, WITH, WITHOUT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colour of line and of what fills the marker, by whether routes are shown.
STYLES = {
    False: (LOOKS[WITHOUT].shades.line, "#ffffff"),
    True: (LOOKS[WITH].shades.line, LOOKS[WITH].shades.line),
}
WORDS = {False: "without routes", True: "with routes"}
#: Distance of the two from the middle of an arm's row, and of the seeds from their mean, in rows.
_APART, _SEEDS = 0.16, 0.09
_WIDTH = 3.6
_RC: dict[Any, Any] = {
    "svg.hashsalt": "realm",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "axes.axisbelow": True,
    "text.parse_math": False,  # labels and names are the user's: a $ in them is a $
}

Results = Mapping[str, Any]


def draw(results: Results, stem: Path) -> tuple[Path, Path]:
    """Write `<stem>.svg` and `<stem>.png` and return their paths: accuracies, or of banks the gain over the gap.

    Args:
        results: as in results.json.
        stem: path without suffix; its folder exists.

    Raises:
        ResourceError: the disk refuses.
    """
    import matplotlib

    with matplotlib.rc_context(_RC):
        figure = _gains(results) if results.get("banks") else _accuracies(results)
        paths = stem.with_name(f"{stem.name}.svg"), stem.with_name(f"{stem.name}.png")  # a name may hold dots
        with writing(paths[0]):
            figure.savefig(paths[0], metadata={"Date": None, "Creator": "realm"})
            figure.savefig(paths[1], dpi=150, metadata={"Software": "realm"})
    return paths


def _accuracies(results: Results) -> Figure:
    """A panel for each split: a row for every arm, or a curve over the axis."""
    from matplotlib.figure import Figure

    splits = list(dict.fromkeys(row["split"] for row in results["measures"]))
    rows = 0.34 * len(results["arms"]) + 1.1 if results["axis"] is None else 2.9
    figure = Figure(figsize=(_WIDTH * len(splits) + 0.8, max(rows, 2.0)), layout="constrained")
    panels = figure.subplots(1, len(splits), squeeze=False, sharey=True)[0]
    for panel, split in zip(panels, splits, strict=True):
        panel.set_title(split, loc="left", fontsize=10)
        measures = [row for row in results["measures"] if row["split"] == split]
        _rows(panel, results, measures) if results["axis"] is None else _curve(panel, results, measures)
    if results["axis"] is not None:
        panels[0].set_ylabel("accuracy in per cent")
    if any(row["routes"] for row in results["measures"]):
        found = [zip(*panel.get_legend_handles_labels(), strict=True) for panel in panels]
        handles = {label: handle for pairs in found for handle, label in pairs}
        figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=2, frameon=False)
    return figure


def _gains(results: Results) -> Figure:
    """The gain of wrong routes in the headline over the gap of every bank, both in points with 95 % intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH + 1.4, 3.2), layout="constrained")
    panel = figure.subplots()
    gains = {(row["arm"], row["against"]): row for row in results["pairs"] if row["measure"] == results["headline"]}
    colour, fill = STYLES[False]
    for bank in results["banks"]:
        gain = gains[tuple(bank["pair"])]
        x, y = 100 * bank["gap"], 100 * gain["difference"]
        across = ([x - 100 * bank["low"]], [100 * bank["high"] - x])
        along = ([y - 100 * gain["low"]], [100 * gain["high"] - y])
        panel.errorbar(
            [x], [y], along, across, color=colour, marker="o", markerfacecolor=fill, markersize=5, linewidth=1.4,
            capsize=2.5,
        )  # fmt: skip
        panel.annotate(bank["name"], (x, y), (5, 5), textcoords="offset points")
    panel.axhline(0, color="#8a929b", linewidth=1)
    panel.set_xlabel("gap between teacher and untrained student in points")
    panel.set_ylabel("gain of wrong routes in points")
    return figure


def _cells(results: Results, measure: str) -> dict[str, dict[str, Any]]:
    return {row["arm"]: row for row in results["cells"] if row["measure"] == measure}


def _rows(panel: Axes, results: Results, measures: Sequence[Mapping[str, Any]]) -> None:
    """An arm a row, the first on top; accuracy in per cent to the right."""
    arms = [row["name"] for row in results["arms"]]
    for measure in measures:
        routes = measure["routes"]
        colour, fill = STYLES[routes]
        shift = 0.0 if len(measures) == 1 else _APART if routes else -_APART
        cells = _cells(results, measure["name"])
        for place, arm in enumerate(arms):
            cell, y = cells[arm], place + shift
            panel.plot([100 * cell["low"], 100 * cell["high"]], [y, y], color=colour, linewidth=1.6)
            seeds = [100 * value for value in cell["seeds"].values()]
            panel.plot(seeds, [y + _SEEDS] * len(seeds), ".", color=colour, alpha=0.45, markersize=4)
            label = WORDS[routes] if place == 0 else "_"
            panel.plot([100 * cell["mean"]], [y], "o", color=colour, markerfacecolor=fill, markersize=5, label=label)
    panel.set_yticks(range(len(arms)), arms)
    panel.set_ylim(len(arms) - 0.5, -0.5)
    panel.grid(axis="y", visible=False)
    panel.set_xlabel("per cent")


def _curve(panel: Axes, results: Results, measures: Sequence[Mapping[str, Any]]) -> None:
    """Accuracy in per cent over the numbers of the arms; the untrained model as a dotted line."""
    axis = results["axis"]
    order = sorted(axis["values"], key=lambda arm: axis["values"][arm])
    x = [axis["values"][arm] for arm in order]
    for measure in measures:
        colour, fill = STYLES[measure["routes"]]
        cells = _cells(results, measure["name"])
        found = [cells[arm] for arm in order]
        mean = [100 * cell["mean"] for cell in found]
        below = [100 * (cell["mean"] - cell["low"]) for cell in found]
        above = [100 * (cell["high"] - cell["mean"]) for cell in found]
        panel.errorbar(
            x, mean, (below, above), color=colour, marker="o", markerfacecolor=fill, markersize=5, linewidth=1.4,
            capsize=2.5, label=WORDS[measure["routes"]],
        )  # fmt: skip
        for place, cell in zip(x, found, strict=True):
            seeds = [100 * value for value in cell["seeds"].values()]
            panel.plot([place] * len(seeds), seeds, ".", color=colour, alpha=0.35, markersize=4)
        if UNTRAINED in cells:
            label = f"untrained, {WORDS[measure['routes']]}"
            panel.axhline(100 * cells[UNTRAINED]["mean"], color=colour, linestyle=":", linewidth=1, label=label)
    panel.set_xticks(x, [f"{value:g}" for value in x])
    panel.set_xlabel(axis["label"])
