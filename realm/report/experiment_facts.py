"""The tables of an experiment beside its accuracies: the course of training, what prompts showed, banks, verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from realm.report.experiment_data import MOST_KINDS, Experiment, shown
from realm.report.experiment_figures import own_style, p_value
from realm.report.svg import MINUS, interval, percent, points
from realm.report.tables import MISSING, Table, TableRow, cell, count
from realm.report.untrusted import mapping, number, share, text

Row = Mapping[str, Any]


def training_table(found: Experiment) -> Table | None:
    """Validation accuracy at the start, at its best and at the end, and the step at which it is shown to be below."""
    bodies: dict[str, list[TableRow]] = {}
    for row in found.training:
        arm = text(row.get("arm"))
        start, end = (_percent(mapping(row.get(name)).get("mean")) for name in ("start", "end"))
        best, fall = mapping(row.get("best")), mapping(row.get("falls"))
        low, high = (number(fall.get(key)) for key in ("low", "high"))
        margin = "" if low is None or high is None else f"{points(-high)} to {points(-low)}"
        cells = [start, cell(_percent(best.get("mean")), _step(best)), end, cell(_step(fall), margin)]
        heading = "With routes" if row.get("measure") == "with" else "Without routes"
        bodies.setdefault(heading, []).append((own_style(found, arm), shown(arm), cells))
    return Table(["", "Start", "Best", "End", "Falls from"], list(bodies.items())) if bodies else None


def _step(point: Row) -> str:
    step = number(point.get("step"))
    return "" if step is None else f"step {step:g}"


def _percent(value: object) -> str:
    found = share(value)
    return "" if found is None else percent(found)


def _decimals(value: object) -> str:
    found = number(value)
    return "" if found is None else f"{found:.2f}"


def judging_table(found: Experiment) -> Table | None:
    """How every arm reads the routes it is shown, a block for each split."""
    bodies: dict[str, list[TableRow]] = {}
    for row in found.judging:
        arm, split = text(row.get("arm")), shown(text(row.get("split")))
        cells: list[Markup | str] = [_percent(row.get(key)) for key in ("same_err", "same_err_all", "scoring_accuracy")]
        bodies.setdefault(split, []).append((own_style(found, arm), shown(arm), [*cells, _decimals(row.get("auroc"))]))
    columns = ["", "same_err", "… of all", "Scoring accuracy", "AUROC"]
    return Table(columns, list(bodies.items())) if bodies else None


def shown_table(found: Experiment) -> Table | None:
    """What the RL prompts of every arm showed."""
    rows: list[TableRow] = [
        (own_style(found, text(row.get("arm"))), shown(text(row.get("arm"))),
         [_decimals(row.get("routes")), _percent(row.get("wrong")), _decimals(row.get("dropped"))])
        for row in found.shown
    ]  # fmt: skip
    return Table(["", "Routes", "Wrong", "Dropped"], [("", rows)]) if rows else None


def banks_table(found: Experiment) -> Table | None:
    """The banks of an experiment of the kind `bound`, each with the gain of its wrong routes."""
    gains = {(pair.arm, pair.against): pair for pair in found.pairs if pair.measure == found.headline}
    rows: list[TableRow] = []
    for row in found.banks:
        pair = row.get("pair")
        names = tuple(text(name) for name in pair) if isinstance(pair, list | tuple) else ()
        gain = gains.get(names) if len(names) == 2 else None
        cells: list[Markup | str] = [_percent(row.get("teacher")), _percent(row.get("student"))]
        cells.append(_points(row.get("gap"), row.get("low"), row.get("high")))
        cells.append(_decimals(row.get("distance")))
        cells.append(_points(gain.difference, gain.low, gain.high) if gain else MISSING)
        name = f"{shown(text(row.get('name')))} ({f' {MINUS} '.join(map(shown, names))})"
        rows.append((None, name, cells))
    return Table(["", "Teacher", "Student", "Gap", "Distance", "Gain of wrong routes"], [("", rows)]) if rows else None


def _points(value: object, low: object, high: object) -> Markup | str:
    """A difference in points, its 95 % interval below it."""
    found = [number(one) for one in (value, low, high)]
    mean, *ends = (None if one is None else points(one) for one in found)
    return MISSING if mean is None else cell(mean, " to ".join(end for end in ends if end is not None))


def verdict_table(found: Experiment) -> Table | None:
    """The figures behind the verdict on every bank of an experiment of the kind `patterns`."""
    rows: list[TableRow] = []
    for row in found.verdicts:
        p = share(row.get("p"))
        cells: list[Markup | str] = [
            shown(text(row.get("verdict"))),
            count(row.get("wrong")),
            count(row.get("analysed")),
        ]
        cells += [_percent(row.get(key)) or MISSING for key in ("agree", "by_chance")]
        cells += [_habit(row.get("habit_share")), MISSING if p is None else p_value(p).removeprefix("p ")]
        cells.append(_habit(row.get("by_rules")))
        rows.append((None, shown(text(row.get("bank"))), cells))
    columns = ["", "Verdict", "Wrong", "Analysed", "Agree", "By chance", "Habit share", "p", "By rules"]
    return Table(columns, [("", rows)]) if rows else None


def _habit(found: object) -> Markup | str:
    """A habit share with its interval, from [mean, low, high]."""
    values = [share(one) for one in found] if isinstance(found, list | tuple) else []
    if len(values) != 3 or values[0] is None:
        return MISSING
    return cell(percent(values[0]), interval(values[1], values[2]))


def _cut(found: Experiment) -> str:
    kinds = len({kind for _, kind in found.kinds})
    return f" The first {MOST_KINDS} of {kinds}, by name." if kinds > MOST_KINDS else ""


def words(found: Experiment) -> dict[str, str]:
    """What the page calls its figures, by the kind of the experiment and its number of seeds."""
    if found.kind == "patterns":
        share_of = "The part of the wrong CoTs that would have to follow one habit to agree as often as they do"
        return {
            "value": f"{found.value.capitalize()} with 95\u202f% intervals over questions. {share_of}.",
            "results": f"{found.value.capitalize()} with 95 % intervals",
            "kinds": "How they go wrong",
            "kinds_about": "The first step that goes wrong, by what differs from the right CoTs: per cent of the wrong "
            f"CoTs analysed; the stronger the colour, the higher.{_cut(found)}",
        }
    several = found.seeds > 1
    over = "over questions and seeds; the small dots are single seeds" if several else "over questions; one seed"
    name = found.value.capitalize()
    return {
        "value": f"{name} with 95\u202f% intervals {over}.",
        "results": f"{name} with 95 % intervals{', in brackets each seed' if several else ''}",
        "kinds": "By kind of question",
        "kinds_about": f"{name} in per cent{', mean over seeds' if several else ''}; the stronger the colour, the "
        f"higher.{_cut(found)}",
    }
