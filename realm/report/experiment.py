"""The page of an experiment: its finding, the figures that carry it, and what it took; from the runner's results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from realm.display import printable
from realm.files import write_atomic
from realm.report.experiment_data import MOST_KINDS, Experiment, read_experiment, shown
from realm.report.experiment_facts import banks_table, judging_table, shown_table, training_table, verdict_table, words
from realm.report.experiment_figures import (
    bank_figures,
    curve_figures,
    gap_figures,
    gap_pair_figures,
    headline_figures,
    measure_figures,
    own_style,
    p_value,
    pair_figures,
)
from realm.report.export import save_figures
from realm.report.palette import WITH, WITHOUT
from realm.report.svg import MINUS, element, interval, percent, points
from realm.report.tables import MISSING, Table, TableRow, cell, count, duration, swatch
from realm.report.templates import render
from realm.report.untrusted import number, text

#: Characters of one setting or fact.
_MOST_VALUE = 200


def write_experiment_page(
    results: Mapping[str, Any], folder: Path, out: Path | None = None, figures: Path | None = None
) -> Path:
    """Write the page of an experiment; default `<folder>/report.html`.

    Args:
        results: what the runner found, as in results.json; all figures are shares in [0, 1].
        figures: a folder that gets every figure of the page as SVG and PNG.

    Returns:
        The path of the page.

    Raises:
        DataError: the results hold no arm or no measure.
        ResourceError: the page or a figure cannot be written.
    """
    context = page_context(read_experiment(results))
    target = folder / "report.html" if out is None else out
    write_atomic(target, render("experiment.html", context))
    if figures is not None:
        save_figures(context, figures)
    return target


def page_context(found: Experiment) -> dict[str, Any]:
    """Everything that the template fills in."""
    context: dict[str, Any] = {
        "title": found.title,
        "subtitle": _subtitle(found),
        "question": found.question,
        "finding": _first_sentence(found.finding),
        "fast": found.fast,
        "words": words(found),
        "headline_figures": headline_figures(found),
        "trains": found.kind != "patterns",
        "key": Markup("Blue {} is without routes, orange {} with routes.").format(
            swatch(WITHOUT, solid=False), swatch(WITH)
        ),
        "coloured": any(own_style(found, arm) is not None for arm in found.arms),
        "results_table": results_table(found),
        "measure_figures": measure_figures(found),
        "curve_figures": curve_figures(found),
        "training": training_table(found),
        "pair_figures": pair_figures(found),
        "pair_table": pair_table(found),
        "gap_figures": gap_figures(found),
        "gap_pair_figures": gap_pair_figures(found),
        "verdicts": verdict_table(found),
        "judging": judging_table(found),
        "shown": shown_table(found),
        "banks": banks_table(found),
        "bank_figures": bank_figures(found),
        "kinds": kind_table(found),
        "cost": cost_table(found),
        "cost_by_seed": cost_by_seed(found),
        "arms": settings_table(found),
        "facts": _facts(found),
    }
    context["contents"] = [(anchor, name) for anchor, name, keys in _CONTENTS if any(context[key] for key in keys)]
    return context


#: (anchor, name, what must be there, one at least) of the sections.
_CONTENTS = (
    ("result", "Result", ("headline_figures",)),
    ("verdicts", "Verdicts", ("verdicts",)),
    ("differences", "Differences", ("pair_figures",)),
    ("measures", "Measures", ("measure_figures",)),
    ("training", "Training", ("curve_figures", "training")),
    ("gaps", "Autonomy gap", ("gap_figures", "gap_pair_figures")),
    ("kinds", "Kinds", ("kinds",)),
    ("judging", "Reading routes", ("judging",)),
    ("shown", "Prompts", ("shown",)),
    ("banks", "Banks", ("banks",)),
    ("cost", "Cost", ("cost",)),
    ("arms", "Arms", ("arms",)),
    ("setup", "Setup", ("title",)),
)


def _first_sentence(text: str) -> tuple[str, str]:
    """What is set in large type, and the rest."""
    first, stop, rest = text.partition(". ")
    return first + stop.strip(), rest


def _subtitle(found: Experiment) -> str:
    if found.kind == "patterns":
        return f"realm experiment {found.name} · {len(found.verdicts) or len(found.arms)} banks"
    cut = f"the first {len(found.arms)} of " if found.all_arms > len(found.arms) else ""
    parts = [f"realm experiment {found.name}", f"{cut}{found.all_arms} arms"]
    if "seeds" in found.facts:
        parts.append("one seed" if found.seeds == 1 else f"{found.seeds} seeds")
    return " · ".join(parts)


def results_table(found: Experiment) -> Table:
    """Every arm on every measure: mean, interval, and each seed's own."""
    rows: list[TableRow] = []
    for arm in found.arms:
        cells: list[Markup | str] = []
        for measure in found.measures:
            one = found.cells.get((arm, measure.name))
            if one is None:
                cells.append(MISSING)
                continue
            seeds = ", ".join(f"{100 * value:.1f}" for value in one.seeds.values())
            parts = [cell(percent(one.mean), interval(one.low, one.high))]
            cells.append(Markup("").join([*parts, element("small", f"[{seeds}]") if len(one.seeds) > 1 else ""]))
        rows.append((own_style(found, arm), shown(arm), cells))
    return Table(["", *[one.label for one in found.measures]], [("", rows)])


def pair_table(found: Experiment) -> Table | None:
    """The values of the differences."""
    bodies: dict[str, list[TableRow]] = {}
    for pair in found.pairs:
        measure = found.measure(pair.measure)
        cells = [points(pair.difference), f"{points(pair.low)} to {points(pair.high)}"]
        cells += ["" if p is None else p_value(p).removeprefix("p ") for p in (pair.p, pair.p_corrected)]
        name = f"{shown(pair.arm)} {MINUS} {shown(pair.against)}"
        bodies.setdefault(measure.label if measure else "", []).append((own_style(found, pair.arm), name, cells))
    return Table(["", "Points", "95 % interval", "p", "p, corrected"], list(bodies.items())) if bodies else None


def kind_table(found: Experiment) -> Table | None:
    """The headline by kind of question, or the share of every kind of error; shaded from low to high."""
    kinds = sorted({kind for _, kind in found.kinds})[:MOST_KINDS]
    if not kinds:
        return None
    rows: list[TableRow] = []
    for arm in found.arms:
        means = [found.kinds.get((arm, kind)) for kind in kinds]
        cells = [
            "" if mean is None else element("span", f"{100 * mean:.0f}", class_=f"heat h{round(10 * mean)}")
            for mean in means
        ]
        rows.append((own_style(found, arm), shown(arm), cells))
    return Table(["", *[shown(kind) or "no kind" for kind in kinds]], [("", rows)])


_COSTS = (
    ("steps", "Steps"),
    ("completions", "Completions"),
    ("tokens", "Tokens"),
    ("teacher_tokens", "Teacher tokens"),
)


def cost_table(found: Experiment) -> Table | None:
    """What each arm used, as the mean over its seeds."""
    rows: list[TableRow] = []
    for arm in found.arms:
        costs = [row for row in found.costs if row["arm"] == arm]
        if costs:
            rows.append((own_style(found, arm), shown(arm), _cost_cells(costs)))
    return Table(["", *[title for _, title in _COSTS], "Time"], [("", rows)]) if rows else None


def cost_by_seed(found: Experiment) -> Table | None:
    """What each arm used, seed by seed; None where there is one seed only."""
    bodies: dict[str, list[TableRow]] = {}
    for row in found.costs:
        seed = shown(str(row.get("seed", "")))
        bodies.setdefault(shown(text(row.get("arm"))), []).append((None, f"seed {seed}", _cost_cells([row])))
    several = any(len(rows) > 1 for rows in bodies.values())
    return Table(["", *[title for _, title in _COSTS], "Time"], list(bodies.items())) if several else None


def _cost_cells(rows: Sequence[Mapping[str, Any]]) -> list[Markup | str]:
    cells: list[Markup | str] = [count(_mean(rows, key)) for key, _ in _COSTS]
    seconds = _mean(rows, "seconds")
    return [*cells, "" if seconds is None else duration(seconds)]


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [value for row in rows if (value := number(row.get(key))) is not None]
    return sum(values) / len(values) if values else None


def settings_table(found: Experiment) -> Table | None:
    """What each arm sets; the columns are the settings in which arms differ."""
    keys = list(dict.fromkeys(key for chosen in found.arms.values() for key in chosen))
    if not keys:
        return None
    rows: list[TableRow] = [
        (own_style(found, arm), shown(arm), [_value(chosen[key]) if key in chosen else "" for key in keys])
        for arm, chosen in found.arms.items()
    ]
    return Table(["", *[shown(key) for key in keys]], [("", rows)])


def _value(value: object) -> str:
    return printable(value if isinstance(value, str) else repr(value), _MOST_VALUE)


def _facts(found: Experiment) -> list[tuple[str, str]]:
    """How the experiment was made, as pairs of name and text."""
    pairs = []
    for key, value in found.facts.items():
        seconds = number(value)
        if isinstance(value, dict):
            value = ", ".join(f"{name} {item}" for name, item in value.items()).replace("_", " ")
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        elif key == "seconds" and seconds is not None:
            value = f"{duration(seconds)}{' of processes of one thread' if found.threads == 1 else ''}"
        pairs.append(("time" if key == "seconds" else key, printable(str(value), 400)))
    return pairs
