"""When an answer may be trusted: how its confidence goes with its being right, in words, as a table and as figures."""

from collections.abc import Mapping, Sequence

from realm.evaluation.confidence import Rated, rated
from realm.pages.calibration import calibrate
from realm.pages.charts import Point, Series, line_chart, whole_percent
from realm.pages.data import Report, Result, recipe_order, split_order, split_title
from realm.pages.figures import NARROW, Figure
from realm.pages.judging import Calibrations, calibration_figures
from realm.pages.palette import style_of
from realm.pages.svg import interval, percent
from realm.pages.table import Cell, Noted, Table, Value
from realm.rows.evaluation import Confidence, Estimate, Prediction
from realm.run_rows import read_rows
from realm.text import NONE, between, bracketed, hundredths

#: What the confidence is, in words.
BY = {
    "likelihood": "the mean likelihood of an answer's tokens",
    "votes": "the share of samples that agree",
    "stated": "what the completion states",
}


def _number(found: Estimate | None) -> str:
    form = "{:.3f}".format
    return NONE if found is None else f"{form(found.value)} {bracketed(found.low, found.high, form)}"


def _share(found: Estimate | None) -> str:
    return NONE if found is None else f"{hundredths(found.value)} % {bracketed(found.low, found.high)}"


def told(found: Confidence) -> str:
    """The figures of one split in a sentence or two, with 95 % intervals."""
    if found.by == "stated" and not found.n:
        asks = "the prompt has to ask for it (prompt.system), as `confidence: 0.9`"
        return f"no completion with an answer states a confidence; {asks}."
    said = (
        f"by {BY.get(found.by, found.by)}, ECE {_number(found.ece)}, Brier {_number(found.brier)}, "
        f"AUROC {_number(found.auroc)}, area under risk-coverage {_number(found.aurc)} (at best {found.aurc_best:.3f})."
    )
    if found.missing:
        said += f" {found.missing} of {found.n + found.missing} have no confidence."
    return f"{said} {_threshold(found)}".rstrip()


def _threshold(found: Confidence) -> str:
    """What the threshold gives for the wanted precision."""
    if found.chosen_on is None or found.wanted is None:
        return ""
    wanted = f"{100 * found.wanted:g} %"
    if found.threshold is None:
        return f"On {found.chosen_on} no confidence makes {wanted} of the answers right."
    chosen = f"confidence of at least {found.threshold:.4f} ({wanted} right on {found.chosen_on})"
    if found.trusted is None:
        return f"Chosen here: a {chosen}."
    coverage, right = _share(found.trusted.coverage), _share(found.trusted.right)
    return f"With a {chosen} {coverage} are answered, {right} of these rightly."


def _passes(report: Report) -> dict[str, list[tuple[Result, Confidence]]]:
    """By split, without and with routes, every model's confidence in its final evaluation."""
    found: dict[str, list[tuple[Result, Confidence]]] = {}
    for row in sorted(report.results, key=lambda row: (split_order(row.split), row.routes, recipe_order(row.name))):
        if row.confidence is not None:
            found.setdefault(_title(row), []).append((row, row.confidence))
    return found


def _title(row: Result | Prediction) -> str:
    return f"{split_title(row.split)}, {f'with {row.routes} routes' if row.routes else 'without routes'}"


def trust_table(report: Report) -> Table | None:
    """Calibration, ranking, and what the threshold gives, by split and model."""
    names = report.names()
    return confidence_table(
        {
            title: [(style_of(row.name, names), row.name, found) for row, found in rows]
            for title, rows in _passes(report).items()
        }
    )


def confidence_table(bodies: Mapping[str, Sequence[tuple[int | None, str, Confidence]]]) -> Table | None:
    """The same of rows of a marker's style, a name and its figures, by title."""
    made = [(title, [(style, name, _cells(found)) for style, name, found in rows]) for title, rows in bodies.items()]
    figures = ["ECE", "Brier", "AUROC", "Risk-coverage area", "at best"]
    return Table(["", *figures, "Trusted from", "Answered", "Right of these"], made) if made else None


def _cells(found: Confidence) -> list[Cell]:
    kept = found.trusted
    return [
        *map(_noted, (found.ece, found.brier, found.auroc, found.aurc)),
        f"{found.aurc_best:.3f}",
        NONE if found.threshold is None else f"{found.threshold:.4f}",
        *map(_value, (kept.coverage, kept.right) if kept else (None, None)),
    ]


def _noted(found: Estimate | None) -> Cell:
    form = "{:.3f}".format
    return NONE if found is None else Noted(form(found.value), between(found.low, found.high, form))


def _value(found: Estimate | None) -> Cell:
    return NONE if found is None else Value(found.value, found.low, found.high)


def trust_figures(report: Report) -> list[Figure]:
    """By split and routes: right ones among the surest answers, then the reliability of their confidence."""
    passes, names = _passes(report), report.names()
    figures = []
    for title, rows in passes.items():
        series = [
            Series(row.name, style_of(row.name, names), _curve(row.name, found), markers=True, solid=True)
            for row, found in rows
        ]
        drawing = line_chart(
            series,
            width=NARROW,
            height=300,
            summary=f"Right answers among the surest, {title}",
            x_title="share that is answered, the surest first",
            y_range=(0.0, 1.0),
            y_format=whole_percent,
            x_range=(0.0, 1.0),
        )
        figures.append(Figure(f"{title}: right among the surest", drawing))
    found: dict[tuple[str, str], list[Rated]] = {}
    for run in report.runs:
        by = {
            _title(row): one.by
            for row, one in (pair for rows in passes.values() for pair in rows)
            if row.name == run.name
        }
        for one in read_rows(run.folder, Prediction, []) if by else ():
            if one.stage == "final" and (title := _title(one)) in by:
                found.setdefault((title, run.name), []).append(rated(one, by[title]))
    calibrated: Calibrations = {}
    for (title, name), questions in found.items():
        calibrated.setdefault(title, []).append((name, calibrate([list(one) for one in questions])))
    return figures + calibration_figures(calibrated, names, "confidence", "answer")


def _curve(name: str, found: Confidence) -> list[Point]:
    return [
        Point(
            one.coverage.value,
            one.right.value,
            one.right.low,
            one.right.high,
            title=f"{name} · confidence from {one.threshold:.4f} · {percent(one.coverage.value)} answered · "
            f"{percent(one.right.value)} right ({interval(one.right.low, one.right.high)})",
        )
        for one in found.curve
        if one.right is not None
    ]
