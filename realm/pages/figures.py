"""The parts of the page: from a run's rows to charts and to tables of text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from realm.pages.charts import (
    Dot,
    Point,
    Row,
    Series,
    dot_chart,
    line_chart,
    plain_number,
    said,
    share_domain,
    smooth,
    thin,
    whole_percent,
)
from realm.pages.data import (
    Report,
    Result,
    Run,
    figure,
    split_title,
    when,
)
from realm.pages.palette import style_of
from realm.pages.svg import padded
from realm.plugins import entry
from realm.rows.base import STAGES

#: Rows shown of a chart or table whose number the data decide.
MOST_KINDS = 24
WIDE, NARROW = 530, 348


@dataclass(frozen=True)
class Figure:
    """One panel: its caption and its drawings (one, or one for wide and one for narrow screens).

    `note` is what the page says in its text and a file must say itself.
    """

    title: str
    drawing: Markup
    narrow: Markup | None = None
    note: str = ""


def both(title: str, draw: Callable[..., Markup], *data: object, note: str = "", **how: Any) -> Figure:
    """A panel for wide and for narrow screens: `draw` is called with `data`, `how` and the width of each."""
    wide, narrow = (draw(*data, width=width, **how) for width in (WIDE, NARROW))
    return Figure(title, wide, narrow, note)


# Final figures -------------------------------------------------------------------------------------------------------


def final_figures(report: Report) -> list[Figure]:
    """One panel per split: every model without and with routes, on one scale."""
    rows = report.results
    if not rows:
        return []
    names = report.names()
    edges = [edge for row in rows for edge in (*row.interval, row.accuracy)]
    domain = share_domain(edges)
    figures = []
    for split in report.splits():
        lines = []
        for name in names:
            style = style_of(name, names)
            found = [row for routes in (False, True) if (row := report.result(name, split, routes)) is not None]
            dots = [Dot(style, row.accuracy, *row.interval, row.routes > 0, _said(row)) for row in found]
            if dots:
                lines.append(Row(name, dots, style))
        drawing = dot_chart(
            lines,
            width=348,
            summary=f"Accuracy on {split_title(split)} without and with routes, per model",
            domain=domain,
            axis=whole_percent,
            joined=True,
        )
        n = max((row.n for row in rows if row.split == split), default=0)
        title = f"{split_title(split)}, {n} questions" if n else split_title(split)
        figures.append(Figure(title, drawing, note="hollow: without routes, solid: with routes"))
    return figures


def _said(row: Result) -> str:
    how = f"with {row.routes} routes" if row.routes else "without routes"
    more = [split_title(row.split), how, *([f"n = {row.n}"] if row.n else [])]
    return said(row.name, row.accuracy, *row.interval, *more)


# Training ------------------------------------------------------------------------------------------------------------


def validation_course(run: Run, with_routes: bool) -> list[tuple[int, Result]]:
    """Validation figures of a run, (place on the axis, row) in order; the base stands first."""
    rows = [row for row in run.evaluations if row.split == "validation" and (row.routes > 0) == with_routes]
    placed = [(run.position(row.stage, row.round, row.step), row) for row in rows if row.stage != "final"]
    return sorted(placed, key=lambda one: (one[1].stage != "base", one[1].round, STAGES.index(one[1].stage), one[0]))


def training_figures(report: Report) -> list[Figure]:
    """Validation accuracy over training without and with routes, every recipe on the same axes."""
    names = report.names()
    charts: list[tuple[bool, list[Series]]] = []
    for with_routes in (False, True):
        series = []
        for run in report.runs:
            steps = validation_course(run, with_routes)
            line = [
                Point(place, row.accuracy, *row.interval, row.stage == "sft", _said_step(run.name, row))
                for place, row in steps
            ]
            series.append(Series(run.name, style_of(run.name, names), line, markers=True, solid=with_routes))
        charts.append((with_routes, series))
    every = [point for _, series in charts for one in series for point in one.line]
    if not every:
        return []
    y_range = share_domain([edge for point in every for edge in (point.low, point.high, point.y) if edge is not None])
    x_range = (min(point.x for point in every), max(point.x for point in every))
    figures = []
    for with_routes, series in charts:
        if not any(one.line for one in series):
            continue
        title = "With routes" if with_routes else "Without routes"
        summary = f"Validation accuracy over training, {title.lower()}"
        how: dict[str, Any] = {"summary": summary, "x_title": "optimizer step", "y_range": y_range, "x_range": x_range}
        figures.append(both(title, line_chart, series, height=290, y_format=whole_percent, **how))
    return figures


def _said_step(name: str, row: Result) -> str:
    return said(name, row.accuracy, *row.interval, when(row.stage, row.round, row.step))


def rl_rows(run: Run, key: str, stage: str = "rl") -> list[tuple[float, float]]:
    """(optimizer steps since the base, value) of one column of metrics.jsonl, in the rows of one stage."""
    places = {round_: run.position(stage, round_, 0) for round_ in run.stage_steps(stage)}
    rows = [row for row in run.metrics if row.stage == stage]
    return [(float(places[row.round] + row.step), value) for row in rows if (value := figure(row, key)) is not None]


def fade_figures(report: Report) -> list[Figure]:
    """p over training progress, and the routes that prompts really held."""
    names = report.names()
    fading, held = [], []
    for run in report.runs:
        shown = rl_rows(run, "routes_per_prompt")
        style = style_of(run.name, names)
        taus = [(row.tau, row.p) for row in run.rl if row.tau is not None and row.p is not None]
        if taus and any(value > 0 for _, value in shown or taus):
            line = [Point(tau, p, title=f"{run.name} · τ {tau:.2f} · p {p:.3f}") for tau, p in _sorted_stretches(taus)]
            fading.append(Series(run.name, style, line))
        if shown:
            held.append(smoothed(run.name, style, shown, "routes per prompt", plain_number))
    # Recipes mostly share one schedule: the later lines are broken, so that those beneath show.
    fading = [replace(one, over=index > 0) for index, one in enumerate(fading)]
    figures = []
    if fading:
        how: dict[str, Any] = {"height": 230, "x_title": "training progress τ", "y_range": (0, 1), "x_range": (0, 1)}
        summary = "Probability p of external CoTs over training progress"
        figures.append(both("Probability p(τ) that a route is kept", line_chart, fading, summary=summary, **how))
    if any(value > 0 for one in held for _, value in one.raw):  # a run without routes has faded none
        y_range = (0.0, max([value for one in held for _, value in one.raw] + [1.0]))
        more: dict[str, Any] = {
            "height": 230,
            "x_title": "optimizer step",
            "y_range": y_range,
            "x_range": step_range(held),
        }
        summary = "Routes per prompt over training"
        figures.append(both("Routes per prompt, mean", line_chart, held, summary=summary, **more))
    return figures


def _sorted_stretches(rows: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most 300 of the points, evenly chosen; τ starts again with every round, so the order is kept."""
    every = max(1, -(-len(rows) // 300))
    return [row for index, row in enumerate(rows) if index % every == 0 or index == len(rows) - 1]


def smoothed(
    name: str, style: int, rows: list[tuple[float, float]], what: str, format_: Callable[[float], str]
) -> Series:
    """A line of metrics.jsonl as a moving average with its raw values behind it."""
    raw = thin(rows)
    averages = smooth([value for _, value in raw], max(5, len(raw) // 12))
    line = [
        Point(x, average, title=f"{name} · step {x:.0f} · {what} {format_(round(average, 3))}")
        for (x, _), average in zip(raw, averages, strict=True)
    ]
    return Series(name, style, line, raw=raw)


#: Of the rows of pairs, and of RL: (column, title, whether it is a share).
PREFERENCES: tuple[tuple[str, str, bool], ...] = (
    ("margin", "Reward of the preferred above the rejected", False),
    ("preferred", "Pairs in the right order", True),
    ("chosen", "Reward of the preferred", False),
    ("rejected", "Reward of the rejected", False),
)
COMPONENTS: tuple[tuple[str, str, bool], ...] = (
    ("reward", "Reward, total", False),
    ("reward_answer", "Part for the answer", False),
    ("reward_scores", "Part for scoring the routes", False),
    ("reward_format", "Part for the format", False),
    ("scoring", "Quality of the scores (0 to 1)", False),
    ("zero_spread_groups", "Groups without reward spread", True),
    ("accuracy", "Completions answered rightly", True),
    ("completion_tokens", "Tokens per completion", False),
)


def step_range(series: Sequence[Series]) -> tuple[float, float]:
    """The axis of optimizer steps, from the base model at 0 to the last step of any series."""
    return 0.0, max((point.x for one in series for point in one.line), default=1.0)


def preference_figures(report: Report) -> list[Figure]:
    """What learning from pairs has moved."""
    return _courses(report, PREFERENCES, "pairs")


def reward_figures(report: Report) -> list[Figure]:
    """Reward components over training, and what shapes and companions did beside them."""
    return _courses(report, [*COMPONENTS, *_beside(report)], "rl")


def _beside(report: Report) -> list[tuple[str, str, bool]]:
    """Columns of shapes and companions as of `COMPONENTS`, by the names that the configuration has for them."""
    found: dict[str, tuple[str, str, bool]] = {}
    for run in report.runs:
        rl = run.config.training.rl if run.config is not None else None
        names = ", ".join(name for name, _ in map(entry, rl.shapes)) if rl else ""
        found["shaped"] = ("shaped", f"Added by shapes{f': {names}' if names else ''}", False)
        called = {name.rpartition(":")[2].lower(): name for name, _ in map(entry, rl.companions)} if rl else {}
        for key in dict.fromkeys(key for row in run.rl for key in row.companions or ()):
            title = f"{called[key]}: completions to learn beside" if key in called else key.replace("_", " ")
            found[key] = (f"companions/{key}", title, key in called)
    return list(found.values())[:MOST_KINDS]


def _courses(report: Report, columns: Sequence[tuple[str, str, bool]], stage: str) -> list[Figure]:
    """Columns of a stage's rows over training: the raw values faint, their moving average on top."""
    names = report.names()
    figures = []
    for key, title, share in columns:
        format_ = whole_percent if share else plain_number
        series = [
            smoothed(run.name, style_of(run.name, names), rows, title.lower(), format_)
            for run in report.runs
            if (rows := rl_rows(run, key, stage))
        ]
        values = [value for one in series for _, value in one.raw]
        if not values:
            continue
        top = max(map(abs, values))
        y_range = padded([0.0, *values], step=_step(top))
        if share:
            y_range = (0.0, min(1.0, y_range[1]))
        drawing = line_chart(
            series,
            width=NARROW,
            height=210,
            summary=f"{title} over training",
            x_title="optimizer step",
            y_range=y_range,
            x_range=step_range(series),
            y_format=format_,
        )
        figures.append(Figure(title, drawing))
    return figures


def _step(top: float) -> float:
    """A step of the value axis that suits values up to `top`."""
    for step in (0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 10.0, 50.0, 100.0):
        if top <= 8 * step:
            return step
    return top / 4
