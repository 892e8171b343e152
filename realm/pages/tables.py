"""The tables of the page: text, and small drawings inside cells."""

from collections.abc import Callable, Iterator
from typing import Any

from markupsafe import Markup

from realm.display import printable
from realm.pages.data import (
    Report,
    Run,
    recipe_order,
    split_order,
    split_title,
    when,
)
from realm.pages.figures import MOST_KINDS, validation_course
from realm.pages.palette import style_of
from realm.pages.svg import marker, percent, svg
from realm.pages.table import Cell, Count, Table, TableRow, Value
from realm.text import duration


def swatch(style: int, solid: bool = True) -> Markup:
    """A model's marker, to stand before its name in a text or a table."""
    return svg(14, 14, "", marker(style, 7.0, 7.0, solid=solid, size=4.2))


def final_tables(report: Report) -> list[Table]:
    """Accuracy without routes, with routes, and the gap between them; one table per split."""
    names = report.names()
    routes = report.routes()
    columns = ["", "Without routes", f"With {routes} routes" if routes else "With routes", "Autonomy gap"]
    found = []
    for split in report.splits():
        rows: list[TableRow] = []
        for name in names:
            without, shown = report.result(name, split, False), report.result(name, split, True)
            if without is None and shown is None:
                continue
            cells = [Value(row.accuracy, *row.interval) if row else MISSING for row in (without, shown)]
            rows.append((style_of(name, names), name, [*cells, _gap(report.gap(name, split))]))
        found.append(Table(columns, [("", rows)]))
    return found


MISSING = Markup('<span class="missing">none</span>')


def _gap(found: tuple[float, float | None, float | None] | None) -> Cell:
    return MISSING if found is None else Value(*found, signed=True)


MEASURES: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("same_err", "Same error as a route", percent),
    ("scoring_accuracy", "Routes judged rightly", percent),
    ("auroc", "AUROC of scores", lambda value: f"{value:.3f}"),
    ("brier", "Brier of scores", lambda value: f"{value:.3f}"),
    ("f1", "Macro F1", percent),
    ("true_sums", "True sums", percent),
    ("executed", "Programs, run for their answers", percent),
    ("pass_at_n", "pass@n", percent),
    ("maj_at_n", "maj@n", percent),
    ("parse_failures", "Parse failures", percent),
    ("unreadable_answers", "Answers not read by the verifier", percent),
    ("truncated", "Truncated", percent),
    ("completion_tokens", "Tokens per answer", lambda value: f"{value:.0f}"),
    ("over_shortest", "Tokens over shortest right CoT", lambda found: f"{found.value:.2f}"),
    ("stated_at", "Answer stated after", lambda found: percent(found.value)),
)


def measures_table(report: Report) -> Table | None:
    """The other measures of the final evaluations, where the files hold them."""
    rows = [row for run in report.runs for row in run.evaluations if row.stage == "final"]
    last = {(split_order(row.split), row.routes, recipe_order(row.name)): row for row in rows}
    shown = [measure for measure in MEASURES if any(getattr(row, measure[0]) is not None for row in rows)]
    if not shown:
        return None
    bodies: dict[str, list[TableRow]] = {}
    for key in sorted(last):
        row = last[key]
        cells = ["" if (value := getattr(row, name)) is None else format_(value) for name, _, format_ in shown]
        how = f"with {row.routes} routes" if row.routes else "without routes"
        body = bodies.setdefault(f"{split_title(row.split)}, {how}", [])
        body.append((style_of(row.name, report.names()), row.name, cells))
    return Table(["", *[title for _, title, _ in shown]], list(bodies.items()))


def training_table(report: Report) -> Table | None:
    """The values of the two accuracy charts."""
    bodies = []
    for run in report.runs:
        found: dict[tuple[str, int, int], list[Cell]] = {}
        for with_routes in (False, True):
            for _, row in validation_course(run, with_routes):
                cells = found.setdefault((row.stage, row.round, row.step), ["", ""])
                cells[with_routes] = Value(row.accuracy, *row.interval)
        rows = [(None, when(*key), cells) for key, cells in found.items()]
        bodies.append((run.name, rows))
    return Table(["", "Without routes", "With routes"], bodies) if any(rows for _, rows in bodies) else None


def taught_table(run: Run) -> Table | None:
    """How many traces each step of SFT left."""
    bodies: list[tuple[str, list[TableRow]]] = []
    for one in run.meta.taught or ():
        left = [*((printable(row.step, 60), row.traces) for row in one.steps), ("short enough", one.short_enough)]
        heading = f"Round {one.round + 1}" if len(run.meta.taught or ()) > 1 else ""
        bodies.append((heading, [(None, name, [Count(n)]) for name, n in left]))
    return Table(["", "Traces"], bodies) if bodies else None


def parse_table(report: Report) -> Table | None:
    """Parse failures by reason: share of completions in the first and last tenth of RL."""
    courses: dict[str, dict[str, list[float]]] = {}
    for run in report.runs:
        rows = run.rl
        if all(row.parse_failures is None for row in rows):
            continue
        reasons = {reason for row in rows for reason, share in row.parse.items() if share}
        courses.setdefault("any reason", {})[run.name] = [row.parse_failures or 0.0 for row in rows]
        for reason in reasons:
            courses.setdefault(reason, {})[run.name] = [row.parse.get(reason, 0.0) for row in rows]
    if not courses:
        return None
    highest = {reason: max(map(max, found.values())) for reason, found in courses.items()}
    ordered = sorted(courses, key=lambda reason: (reason != "any reason", -highest[reason], reason))[:MOST_KINDS]
    recipes = [run.name for run in report.runs if run.name in courses["any reason"]]
    shown: list[TableRow] = [
        (None, reason, [_ends(courses[reason].get(recipe)) for recipe in recipes]) for reason in ordered
    ]
    return Table(["", *recipes], [("", shown)])


def _ends(course: list[float] | None) -> str:
    """Means of the first and of the last tenth of a course; empty where there is none."""
    if course is None:
        return ""
    tenth = max(1, len(course) // 10)
    return f"{percent(sum(course[:tenth]) / tenth)} → {percent(sum(course[-tenth:]) / tenth)}"


def cost_table(report: Report) -> Table | None:
    """What the stages of each run used, by the last row of each."""
    names = report.names()
    rows = [(style_of(run.name, names), *stage) for run in report.runs for stage in _stages(run)]
    return Table(["", "Steps", "Completions", "Tokens", "Time"], [("", rows)]) if rows else None


def _stages(run: Run) -> Iterator[tuple[str, list[Cell]]]:
    """Name and cells of every stage; `seconds` of metrics.jsonl run on through the stages."""
    last = {(row.round, row.stage): row for row in run.metrics}
    rl = run.config.training.rl if run.config is not None else None
    before = 0.0
    for row in last.values():
        place = f", round {row.round + 1}" if row.round else ""
        sampled = -(-row.step // rl.num_iterations) * rl.batch_size if row.stage == "rl" and rl is not None else None
        counts = [Count(value) if value is not None else "" for value in (row.step, sampled, row.tokens)]
        yield f"{run.name}, {row.stage.upper()}{place}", [*counts, duration(row.seconds - before)]
        before = row.seconds
    if (cost := run.meta.cost) and (tokens := cost.tokens - sum(stage.tokens for stage in cost.stages)) > 0:
        sampled = cost.completions - sum(stage.completions for stage in cost.stages)
        took = duration(cost.seconds - sum(stage.seconds for stage in cost.stages))
        yield f"{run.name}, writing and scoring of what is taught", ["", Count(sampled), Count(tokens), took]
