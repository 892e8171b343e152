"""The drawings of an experiment's page."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from realm.pages.charts import (
    Dot,
    Point,
    Row,
    Series,
    dot_chart,
    line_chart,
    said,
    share_domain,
    thin,
    whole_percent,
)
from realm.pages.data import split_order, split_title
from realm.pages.experiment_data import Experiment, shown
from realm.pages.figures import NARROW, WIDE, Figure
from realm.pages.forest import Effect, common_domain, forest
from realm.pages.palette import WITH, WITHOUT, recipe_of, style_of
from realm.pages.svg import MINUS
from realm.rows.experiment import Accuracy, GapPair, Measure, Pair
from realm.text import p_value

#: Most points of one curve; of more, means over neighbouring steps are drawn.
MOST_STEPS = 40


def arm_style(found: Experiment, arm: str, routes: bool) -> int:
    """The style of an arm: its own where all are recipes or named after one, else that of without or with routes."""
    trained = [name for name in found.arms if name != "base"]
    if trained and all(recipe_of(name) for name in trained):
        return style_of(arm, list(found.arms))
    return WITH if routes else WITHOUT


def own_style(found: Experiment, arm: str) -> int | None:
    """The marker of an arm in a table; None where its colour says without or with routes."""
    style = arm_style(found, arm, False)
    return None if style == WITHOUT else style


def headline_figures(found: Experiment) -> list[Figure]:
    """The measure that answers the question: over the axis where there is one, else a row for every arm."""
    measure = found.headline
    if len(found.axis) > 1:
        # The same split without and with routes: what the axis does to the one is told beside the other.
        measures = [one for one in found.measures if one.split == measure.split]
        title = f"{split_title(measure.split)}, over {found.axis_label}"
        return [_axis_figure(found, measures, title, (WIDE, NARROW))]
    return [_arm_figure(found, [measure], measure.label, (WIDE, NARROW))]


def measure_figures(found: Experiment) -> list[Figure]:
    """The other measures, a panel each, on the scale of all of them."""
    drawn = {found.headline.name}
    if len(found.axis) > 1:
        drawn |= {one.name for one in found.measures if one.split == found.headline.split}
    return [
        _arm_figure(found, [one], one.label, (NARROW,))
        for one in found.measures
        if one.name not in drawn and any((arm, one.name) in found.cells for arm in found.arms)
    ]


def sum_figures(found: Experiment) -> list[Figure]:
    """The shares of true sums (`true_sums` of the experiment), a panel a measure."""
    return [_arm_figure(found, [one], f"True sums, {one.label}", (NARROW,)) for one in found.measures]


def _domain(found: Experiment) -> tuple[float, float]:
    cells = found.cells.values()
    return share_domain([edge for cell in cells for edge in (cell.mean, cell.low, cell.high, *cell.seeds.values())])


def _arm_figure(found: Experiment, measures: Sequence[Measure], title: str, widths: Sequence[int]) -> Figure:
    """A row for every arm, in it a dot for every measure with the seeds beside it."""
    rows = []
    for arm in found.arms:
        dots = [dot for one in measures for dot in _arm_dots(found, arm, one)]
        if dots:
            style = arm_style(found, arm, measures[0].routes)
            rows.append(Row(shown(arm), dots, style if style not in (WITHOUT, WITH) else None))
    drawings = [
        dot_chart(rows, width=width, summary=title, domain=_domain(found), axis=whole_percent) for width in widths
    ]
    return Figure(title, *drawings)


def _arm_dots(found: Experiment, arm: str, measure: Measure) -> list[Dot]:
    cell = found.cells.get((arm, measure.name))
    if cell is None:
        return []
    style, name = arm_style(found, arm, measure.routes), shown(arm)
    hover = said(name, cell.mean, cell.low, cell.high, measure.label)
    seeds = [
        Dot(style, value, None, None, True, said(name, value, None, None, f"seed {seed}"), faint=True)
        for seed, value in _dots(cell).items()
    ]
    return [Dot(style, cell.mean, cell.low, cell.high, measure.routes, hover), *seeds]


def sheet_figures(found: Experiment) -> list[Figure]:
    """What one picture shows of an experiment: a panel for every split, or of banks the gain beside the gap."""
    if found.results.banks:
        return bank_figures(found)
    figures = []
    for split in dict.fromkeys(one.split for one in found.measures):
        measures = [one for one in found.measures if one.split == split]
        draw = _axis_figure if len(found.axis) > 1 else _arm_figure
        figures.append(draw(found, measures, split_title(split), (NARROW,)))
    return figures


def _axis_figure(found: Experiment, measures: Sequence[Measure], title: str, widths: Sequence[int]) -> Figure:
    """A line over the axis for every measure; broken and level that of the untrained model."""
    series = []
    of = {arm.name: arm.group for arm in found.results.arms}
    groups = list(dict.fromkeys(of[arm] for arm in found.axis))
    for measure in measures:
        how = _how(measure.routes)
        for group in groups:
            one = _along(found, measure, sorted((place, arm) for arm, place in found.axis.items() if of[arm] == group))
            if len(groups) > 1:
                name = f"{shown(group)}, {how}" if len(measures) > 1 else shown(group)
                one = replace(one, name=name, style=style_of(group, groups))
            series.append(one)
        base = found.cells.get(("base", measure.name))
        if base is not None and "base" not in found.axis:
            hover = _said_at("base", measure, base)
            ends = min(found.axis.values()), max(found.axis.values())
            level = [Point(place, base.mean, dashed=True, title=hover) for place in ends]
            series.append(Series(f"base, {how}", WITH if measure.routes else WITHOUT, level))
    drawings = [
        line_chart(
            series,
            width=width,
            height=320 if width == WIDE else 270,
            summary=title,
            x_title=found.axis_label,
            y_range=_domain(found),
            y_format=whole_percent,
            whole_steps=False,
        )
        for width in widths
    ]
    return Figure(title, *drawings)


def _along(found: Experiment, measure: Measure, places: Iterable[tuple[float, str]]) -> Series:
    """The line of a measure through these arms."""
    line, dots = [], []
    for place, arm in places:
        cell = found.cells.get((arm, measure.name))
        if cell is not None:
            line.append(Point(place, cell.mean, cell.low, cell.high, title=_said_at(arm, measure, cell)))
            dots += [
                Point(place, value, title=said(shown(arm), value, None, None, f"seed {seed}"))
                for seed, value in _dots(cell).items()
            ]
    style = WITH if measure.routes else WITHOUT
    return Series(_how(measure.routes), style, line, markers=True, solid=measure.routes, dots=dots)


def _dots(cell: Accuracy) -> Mapping[str, float]:
    """The seeds that are drawn beside their mean: one alone is the mean."""
    return cell.seeds if len(cell.seeds) > 1 else {}


def _said_at(arm: str, measure: Measure, cell: Accuracy) -> str:
    return said(shown(arm), cell.mean, cell.low, cell.high, measure.label)


def _how(routes: bool) -> str:
    return "with" if routes else "without"


def curve_figures(found: Experiment) -> list[Figure]:
    """Accuracy over training, a panel per arm on common axes: every seed faint, their mean on top."""
    if not found.results.curves:
        return []
    steps = [step for curve in found.results.curves for step, _ in curve.points]
    y_range = share_domain([accuracy for curve in found.results.curves for _, accuracy in curve.points])
    figures = []
    for arm in found.arms:
        series = [one for routes in (False, True) if (one := _course(found, arm, routes))]
        if not series:
            continue
        drawing = line_chart(
            series,
            width=NARROW,
            height=220,
            summary=f"Accuracy over training, {shown(arm)}",
            x_title="optimizer step",
            y_range=y_range,
            x_range=(min(steps), max(steps)),
            y_format=whole_percent,
        )
        figures.append(Figure(shown(arm), drawing))
    return figures


def _course(found: Experiment, arm: str, routes: bool) -> Series | None:
    curves = [curve for curve in found.results.curves if curve.arm == arm and curve.measure == _how(routes)]
    at: dict[float, list[float]] = {}
    for curve in curves:
        for step, accuracy in curve.points:
            at.setdefault(step, []).append(accuracy)
    # A mean over some of the seeds would jump where one of them ends.
    most = max((len(values) for values in at.values()), default=0)
    means = [(step, sum(values) / len(values)) for step, values in sorted(at.items()) if len(values) == most]
    if not means:
        return None
    seeds = f"mean of {most} seeds" if most > 1 else "one seed"
    line = [
        Point(
            step, mean, title=said(f"{shown(arm)}, {_how(routes)} routes", mean, None, None, f"step {step:.0f}", seeds)
        )
        for step, mean in thin(means, MOST_STEPS)
    ]
    style = WITH if routes else WITHOUT
    courses = [thin(curve.points, MOST_STEPS) for curve in curves] if len(curves) > 1 else []
    return Series(_how(routes), style, line, markers=True, solid=routes, courses=courses)


def pair_figures(found: Experiment) -> list[Figure]:
    """The differences between arms, a panel per measure on a common scale, with the corrected p of each."""
    panels = {
        measure.label: [
            _effect(found, pair, measure.routes) for pair in found.results.pairs if pair.measure == measure.name
        ]
        for measure in found.measures
    }
    return _panels(panels, "Differences")


def _panels(panels: Mapping[str, Sequence[Effect]], what: str, most: float = 1.0) -> list[Figure]:
    """A panel for each that has effects, by its title, on a common scale."""
    domain = common_domain([edge for each in panels.values() for one in each for edge in (one.low, one.high)], most)
    return [forest(title, each, domain, f"{what}, {title}") for title, each in panels.items() if each]


def _by_split(effects: Iterable[tuple[str, Effect]]) -> dict[str, list[Effect]]:
    """Effects, each with its split, by the titles of the splits."""
    found: dict[str, list[Effect]] = {}
    for split, effect in sorted(effects, key=lambda one: split_order(one[0])):
        found.setdefault(split_title(shown(split)), []).append(effect)
    return found


def _effect(found: Experiment, pair: Pair | GapPair, routes: bool) -> Effect:
    return Effect(
        f"{shown(pair.arm)} {MINUS} {shown(pair.against)}",
        arm_style(found, pair.arm, routes),
        pair.difference,
        pair.low,
        pair.high,
        f"p {p_value(pair.p_corrected)}",
    )


def gap_pair_figures(found: Experiment) -> list[Figure]:
    """The differences between the autonomy gaps of arms, a panel per split on a common scale."""
    effects = ((pair.split, _effect(found, pair, True)) for pair in found.results.gap_pairs)
    return _panels(_by_split(effects), "Differences of autonomy gaps", most=2.0)


def bank_figures(found: Experiment) -> list[Figure]:
    """Of the kind `bound`: the gap of every bank, the smallest on top, and the gain of wrong routes beside it."""
    gains = {(pair.arm, pair.against): pair for pair in found.results.pairs if pair.measure == found.headline.name}
    gaps, effects = [], []
    for row in sorted(found.results.banks, key=lambda row: row.gap):
        gain = gains.get(row.pair)
        if gain is not None:
            gaps.append(Effect(shown(row.name), WITHOUT, row.gap, row.low, row.high))
            effects.append(Effect(shown(row.name), WITHOUT, gain.difference, gain.low, gain.high))
    domain = common_domain([edge for one in (*gaps, *effects) for edge in (one.low, one.high)])
    titles = {"Gap between teacher and student": gaps, "Gain of wrong routes": effects}
    return [forest(title, each, domain, title) for title, each in titles.items() if each]


def gap_figures(found: Experiment) -> list[Figure]:
    """The autonomy gap of every arm, a panel per split on a common scale."""
    effects = (
        (gap.split, Effect(shown(gap.arm), arm_style(found, gap.arm, True), gap.mean, gap.low, gap.high))
        for gap in found.results.gaps
    )
    return _panels(_by_split(effects), "Autonomy gap")
