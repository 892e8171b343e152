"""How a student judges the routes, and what it takes over from them: reliability diagrams, `same_err` over training."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from realm.pages.calibration import Calibration, calibrate, judged_routes
from realm.pages.charts import Point, Series, line_chart, said, whole_percent
from realm.pages.data import Report, split_order, split_title
from realm.pages.figures import NARROW, WIDE, Figure, rl_rows, smoothed, step_range, validation_course
from realm.pages.palette import style_of
from realm.pages.svg import Scale, element, interval, label, line, marker, path, percent, svg
from realm.pages.table import Table, TableRow
from realm.pages.tables import cell

#: Size of a reliability diagram's plot, and of the strip below it that says where the scores lie (pixels).
_SIDE, _STRIP, _LEFT, _TOP = 250, 44, 48, 10

#: By split, every model's (name, calibration).
Calibrations = dict[str, list[tuple[str, Calibration]]]


def calibrations(report: Report) -> Calibrations:
    """Every model's calibration on every split, from the predictions of the final evaluations."""
    found: Calibrations = {}
    for run in report.runs:
        # Lines that cannot be read are told of where the completions are read.
        for split, questions in judged_routes(run.folder, []).items():
            found.setdefault(split, []).append((run.name, calibrate(questions)))
    return {split: found[split] for split in sorted(found, key=split_order)}


def calibration_figures(found: Calibrations, names: Sequence[str]) -> list[Figure]:
    """A reliability diagram for every split, each model in its colour."""
    return [
        Figure(split_title(split), reliability(models, names, f"Reliability of the scores, {split_title(split)}"))
        for split, models in found.items()
    ]


def reliability(models: Sequence[tuple[str, Calibration]], names: Sequence[str], summary: str) -> Markup:
    """Share of right routes over the score given, and below it where the scores lie."""
    x = Scale(0, 1, _LEFT, _LEFT + _SIDE)
    y = Scale(0, 1, _TOP + _SIDE, _TOP)
    bottom = _TOP + _SIDE + _STRIP
    parts: list[Markup] = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts += [
            line(x(0), y(tick), x(1), y(tick), "grid"),
            label(x(0) - 6, y(tick) + 4, whole_percent(tick), "tick", "end"),
            line(x(tick), bottom, x(tick), bottom + 4, "axis"),
            label(x(tick), bottom + 16, f"{tick:g}", "tick", "middle"),
        ]
    parts += [
        line(x(0), y(0), x(1), y(1), "rule"),
        line(x(0), bottom, x(1), bottom, "axis"),
        label(x(0.5), bottom + 32, "score given to a route", "tick", "middle"),
        label(x(0) + 4, _TOP + 10, "routes that are right", "tick"),
    ]
    for place, (name, found) in enumerate(models):
        style, height = style_of(name, names), _TOP + 26 + 15 * place
        parts += [
            marker(style, x(0) + 10, height - 4, solid=True, size=3.8),
            label(x(0) + 19, height, name[:20], f"name c{style}"),
        ]
        parts += _bars(place, len(models), style_of(name, names), name, found, x, bottom)
    for place, (name, found) in enumerate(models):
        style = style_of(name, names)
        apart = 3.0 * (place - (len(models) - 1) / 2)  # Intervals at one score would hide each other.
        x = Scale(0, 1, _LEFT + apart, _LEFT + _SIDE + apart)
        if len(found.bins) > 1:
            parts.append(path([(x(one.score), y(one.right)) for one in found.bins], f"line c{style}"))
        for one in found.bins:
            hover = (
                f"{name} · scores {one.low:g} to {one.high:g}, mean {one.score:.2f} · {percent(one.right)} right "
                f"({interval(one.right_low, one.right_high)}) · {one.n} routes"
            )
            parts += [
                line(x(one.score), y(one.right_low), x(one.score), y(one.right_high), f"whisker c{style}", hover),
                marker(style, x(one.score), y(one.right), solid=True, size=3.8, title=hover),
            ]
    return svg(NARROW, bottom + 38, summary, *parts)


def _bars(place: int, of: int, style: int, name: str, found: Calibration, x: Scale, bottom: float) -> list[Markup]:
    """The strip of one model: how its scores are spread over the bins."""
    parts = []
    for one in found.bins:
        part = one.n / found.n
        height = part * (_STRIP - 6)
        width = (x(one.high) - x(one.low) - 4) / of
        left = x(one.low) + 2 + place * width
        hover = element("title", f"{name} · {percent(part)} of the scores lie in {one.low:g} to {one.high:g}")
        parts.append(
            element("rect", hover, x=left, y=bottom - height, width=width, height=height, class_=f"count c{style}")
        )
    return parts


def calibration_table(found: Calibrations, names: Sequence[str]) -> Table:
    """Brier score with its interval, AUROC, calibration error and missing scores, by split and model."""
    bodies: list[tuple[str, Sequence[TableRow]]] = []
    for split, models in found.items():
        rows: list[TableRow] = []
        for name, one in models:
            cells: list[Markup | str] = [
                cell(f"{one.brier:.3f}", f"{one.brier_low:.3f} to {one.brier_high:.3f}"),
                "none" if one.auroc is None else f"{one.auroc:.3f}",
                percent(one.accuracy),
                "none" if one.error is None else f"{one.error:.3f}",
                f"{one.n:,}".replace(",", "\u202f"),
                str(one.missing),
            ]
            rows.append((style_of(name, names), name, cells))
        bodies.append((split_title(split), rows))
    columns = ["", "Brier", "AUROC", "Judged rightly", "Calibration error", "Routes", "Not read"]
    return Table(columns, bodies)


def copying_figures(report: Report) -> list[Figure]:
    """`same_err` over training: of the completions sampled with routes, and on the validation questions."""
    names = report.names()
    sampled, validated = [], []
    for run in report.runs:
        style = style_of(run.name, names)
        if rows := rl_rows(run, "same_err"):
            sampled.append(smoothed(run.name, style, rows, "same_err", whole_percent))
        points = [
            Point(place, row.same_err, title=said(run.name, row.same_err, None, None, f"step {place}"))
            for place, row in validation_course(run, True)
            if row.same_err is not None
        ]
        if points:
            validated.append(Series(run.name, style, points, markers=True, solid=True))
    panels = (
        ("Completions sampled in RL, wrong ones with routes in the prompt", sampled),
        ("Validation questions, with routes", validated),
    )
    figures = []
    for title, series in panels:
        if not series:
            continue
        drawings = [
            line_chart(
                series,
                width=width,
                height=240,
                summary=f"same_err over training. {title}",
                x_title="optimizer step",
                y_range=(0.0, 1.0),
                x_range=step_range(series),
                y_format=whole_percent,
            )
            for width in (WIDE, NARROW)
        ]
        figures.append(Figure(title, *drawings))
    return figures
