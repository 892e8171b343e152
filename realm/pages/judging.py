"""How a student judges the routes, and what it takes over from them: reliability diagrams, `same_err` over training."""

from collections.abc import Sequence

from realm.pages.calibration import Bin, Calibration, calibrate, judged_routes
from realm.pages.charts import Point, Series, line_chart, said, whole_percent
from realm.pages.data import Report, split_order, split_title
from realm.pages.figures import NARROW, Figure, both, rl_rows, smoothed, step_range, validation_course
from realm.pages.palette import style_of
from realm.pages.svg import interval, percent
from realm.pages.table import Cell, Count, Noted, Table, TableRow
from realm.text import between

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


def calibration_figures(
    found: Calibrations, names: Sequence[str], score: str = "score", of: str = "route"
) -> list[Figure]:
    """A reliability diagram for every split: share of right routes over the score given, each model in its colour.

    `score`, `of`: what is given in its place, and to what.
    """
    figures = []
    for split, models in found.items():
        series = [
            Series(
                name,
                style_of(name, names),
                [_bin(name, one, score, of) for one in calibration.bins],
                markers=True,
                solid=True,
            )
            for name, calibration in models
        ]
        drawing = line_chart(
            series,
            width=NARROW,
            height=300,
            summary=f"Reliability of the {score}s, {split_title(split)}",
            x_title=f"{score} given to {'an' if of == 'answer' else 'a'} {of}",
            y_range=(0.0, 1.0),
            y_format=whole_percent,
            x_range=(0.0, 1.0),
            diagonal=True,
        )
        figures.append(Figure(split_title(split), drawing))
    return figures


def _bin(name: str, one: Bin, score: str, of: str) -> Point:
    hover = (
        f"{name} · {score}s {one.low:g} to {one.high:g}, mean {one.score:.2f} · {percent(one.right)} right "
        f"({interval(one.right_low, one.right_high)}) · {one.n} {of}s"
    )
    return Point(one.score, one.right, one.right_low, one.right_high, title=hover)


def calibration_table(found: Calibrations, names: Sequence[str]) -> Table:
    """Brier score with its interval, AUROC, calibration error and missing scores, by split and model."""
    bodies: list[tuple[str, Sequence[TableRow]]] = []
    for split, models in found.items():
        rows: list[TableRow] = []
        for name, one in models:
            cells: list[Cell] = [
                Noted(f"{one.brier:.3f}", between(one.brier_low, one.brier_high, "{:.3f}".format)),
                "none" if one.auroc is None else f"{one.auroc:.3f}",
                percent(one.accuracy),
                "none" if one.error is None else f"{one.error:.3f}",
                Count(one.n),
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
        figures.append(
            both(
                title,
                line_chart,
                series,
                height=240,
                summary=f"same_err over training. {title}",
                x_title="optimizer step",
                y_range=(0.0, 1.0),
                x_range=step_range(series),
                y_format=whole_percent,
            )
        )
    return figures
