"""Differences with their intervals beside a zero line: the drawing that every comparison shares."""

from collections.abc import Sequence
from dataclasses import dataclass

from realm.pages.charts import Dot, Row, dot_chart, said_gain
from realm.pages.data import Report, Run, recipe_order, split_order, split_title
from realm.pages.figures import MOST_KINDS, NARROW, Figure, validation_course
from realm.pages.palette import style_of
from realm.pages.svg import MINUS, padded, points

#: Half of a 95 % interval in standard errors.
_Z = 1.96
#: Pixels of the figures at the right end of a row.
_NOTES = 92


@dataclass(frozen=True)
class Effect:
    """One difference of two accuracies in [-1, 1] with its 95 % interval; `more` is said beside it and on hover."""

    caption: str
    style: int
    difference: float
    low: float
    high: float
    more: str = ""


def forest(title: str, effects: Sequence[Effect], domain: tuple[float, float], summary: str, more: str = "p") -> Figure:
    """A row for every difference, with its figures at the right; `more`: what `Effect.more` is called."""
    rows = []
    for one in effects:
        interval = f"{points(one.low)} to {points(one.high)}"
        hover = said_gain(one.caption, one.difference, *([one.more] if one.more else []))
        dot = Dot(one.style, one.difference, one.low, one.high, True, f"{hover} (95 % interval {interval})")
        rows.append(Row(one.caption, [dot], one.style, points(one.difference), one.more or interval))
    drawing = dot_chart(
        rows,
        width=NARROW,
        summary=summary,
        domain=domain,
        axis=signed,
        rule=0.0,
        notes=f"points, {more}" if any(one.more for one in effects) else "points",
        notes_width=_NOTES,
    )
    return Figure(title, drawing)


def signed(value: float) -> str:
    """A difference on an axis, in whole points with its sign."""
    return f"{100 * value:+.0f}".replace("-", MINUS).replace("+0", "0") if round(100 * value) else "0"


def common_domain(edges: Sequence[float], most: float = 1.0) -> tuple[float, float]:
    """One domain for drawings of differences in [-most, most]: zero and every edge, in steps of five or ten points."""
    reach = max((abs(edge) for edge in edges), default=0.0)
    return padded([0.0, *edges], floor=-most, ceiling=most, step=0.05 if reach < 0.3 else 0.1)


def difference_figures(report: Report) -> list[Figure]:
    """The differences between the models of a page, a panel per split and way of asking, on a common scale."""
    names = report.names()
    domain = common_domain([edge for row in report.differences for edge in (row.low, row.high)])
    found: dict[str, list[Effect]] = {}
    for row in sorted(
        report.differences,
        key=lambda one: (split_order(one.split), one.routes, recipe_order(one.against), recipe_order(one.name)),
    ):
        how = f"with {row.routes} routes" if row.routes else "without routes"
        pair = f"{row.name} {MINUS} {row.against}"
        effect = Effect(pair, style_of(row.name, names), row.difference, row.low, row.high)
        found.setdefault(f"{split_title(row.split)}, {how}", []).append(effect)
    return [forest(title, effects, domain, f"Differences, {title}") for title, effects in found.items()]


def _gain_ends(n: int, before: float, after: float) -> tuple[float, float]:
    """The 95 % interval of a gain over n questions, not paired: one more of them right and one wrong on either side
    (Agresti and Caffo, Am. Stat. 54, 2000), so that none right before and all right after are no certainty."""
    was, now = ((share * n + 1) / (n + 2) for share in (before, after))
    half = _Z * ((was * (1 - was) + now * (1 - now)) / (n + 2)) ** 0.5
    return max(-1.0, now - was - half), min(1.0, now - was + half)


def kind_figures(run: Run) -> list[Figure]:
    """Gain over the base by kind of question, on the validation questions without routes."""
    course = [row for _, row in validation_course(run, False)]
    if len(course) < 2 or course[0].stage != "base" or not course[0].by_kind or not course[-1].by_kind:
        return []
    base, trained = course[0].by_kind, course[-1].by_kind
    kinds = sorted(base, key=lambda kind: (-base[kind].n, kind))[:MOST_KINDS]
    effects = []
    for kind in (kind for kind in kinds if kind in trained):
        n, before, after = base[kind].n, base[kind].accuracy, trained[kind].accuracy
        gain, style = after - before, style_of(run.name, [run.name])
        effects.append(Effect(kind or "no kind", style, gain, *_gain_ends(n, before, after), f"of {n}"))
    domain = common_domain([edge for one in effects for edge in (one.low, one.high)])
    cut = f" (the {len(kinds)} largest of {len(base)} kinds)" if len(base) > len(kinds) else ""
    title = f"Validation, {run.name}"
    return [forest(title + cut, effects, domain, f"Gain over the base by kind of question, {title}", "questions")]
