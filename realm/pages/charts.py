"""The charts of the page, drawn as inline SVG from plain numbers.

Every model keeps its colour and its marker in all charts; a hollow marker is a figure without routes, a solid one a
figure with routes. Values that a chart shows can be read on hover, and again in a table of the page.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from realm.pages.palette import LOOKS
from realm.pages.svg import (
    MINUS,
    Scale,
    element,
    interval,
    label,
    line,
    marker,
    padded,
    path,
    percent,
    points,
    spread,
    svg,
    ticks,
)

#: Most points of one line, and most of its points that answer to the mouse.
MOST_POINTS, MOST_HOVERS = 300, 50
#: Pixels from one tick of a narrow axis to the next at least: −40 and −20 must not touch.
APART = 36
_TOP, _BOTTOM, _LEFT, _LETTER = 12, 34, 40, 6.6
#: Pixels between the markers of two lines at the same x.
_APART = 3.0
#: Pixels from a mean to the single values that stand beside it.
_BESIDE = 7


@dataclass(frozen=True)
class Point:
    """One value of a line; `low` and `high` are its interval, `dashed` marks the stretch that leads to it."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    dashed: bool = False
    title: str = ""


@dataclass(frozen=True)
class Series:
    """One model's line. Where there is `raw`, it is drawn faintly behind its smoothed values `line`.

    `over` draws the line broken, so that one that runs beneath it shows. `dots` are single values (of seeds, say) that
    stand beside the line, `courses` the lines that it is the mean of.
    """

    name: str
    style: int
    line: Sequence[Point]
    raw: Sequence[tuple[float, float]] = ()
    markers: bool = False
    solid: bool = False
    over: bool = False
    dots: Sequence[Point] = ()
    courses: Sequence[Sequence[tuple[float, float]]] = ()


@dataclass(frozen=True)
class Dot:
    """One value of a dot chart, with its interval and what is said of it on hover; `faint` is one among many."""

    style: int
    value: float
    low: float | None
    high: float | None
    solid: bool
    title: str
    faint: bool = False


@dataclass(frozen=True)
class Row:
    """One row of a dot chart: a caption and its dots.

    `style` colours the caption; `note`, with `below` under it, stands at the right end.
    """

    caption: str
    dots: Sequence[Dot]
    style: int | None = None
    note: str = ""
    below: str = ""


def smooth(values: Sequence[float], window: int) -> list[float]:
    """Centred moving average over `window` values, over what there is of them at the two ends; linear time."""
    half = window // 2
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    averages = []
    for index in range(len(values)):
        first, last = max(0, index - half), min(len(values), index + half + 1)
        averages.append((sums[last] - sums[first]) / (last - first))
    return averages


def thin(rows: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most `most` points: means of x and y over neighbouring rows."""
    if len(rows) <= most:
        return list(rows)
    size = -(-len(rows) // most)
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def plain_number(value: float) -> str:
    """A value on an axis: few digits, a minus sign, no trailing zeros."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k".replace("-", MINUS)
    return f"{round(value, 6):g}".replace("-", MINUS)


def whole_percent(value: float) -> str:
    """A share on an axis, in per cent without decimals where there are none."""
    return f"{round(100 * value, 1):g}\u202f%".replace("-", MINUS)


def _stretches(series: Series) -> Iterator[tuple[list[Point], bool]]:
    """Runs of points drawn in one stroke: broken where x falls (a new round) and where dashed changes."""
    current: list[Point] = []
    dashed = False
    for point in series.line:
        if current and (point.x < current[-1].x or (point.dashed != dashed and len(current) > 1)):
            yield current, dashed
            current = [] if point.x < current[-1].x else [current[-1]]
        if len(current) == 1:
            dashed = point.dashed
        current.append(point)
    if current:
        yield current, dashed


def line_chart(
    series: Sequence[Series],
    *,
    width: int,
    height: int,
    summary: str,
    x_title: str,
    y_range: tuple[float, float],
    y_format: Callable[[float], str] = plain_number,
    x_range: tuple[float, float] | None = None,
    whole_steps: bool = True,
    diagonal: bool = False,
) -> Markup:
    """Lines on common axes, each named at its right end. Data outside `y_range` is not clipped.

    With `whole_steps` a long axis has ticks at whole numbers only: there is no half step. `diagonal`: where y is x.
    """
    series = [one for one in series if one.line]
    xs = [point.x for one in series for point in one.line]
    low, high = x_range or (min(xs, default=0.0), max(xs, default=1.0))
    aside = 8 + (_BESIDE if any(one.dots for one in series) else 0)
    right = width - 4 - aside - _LETTER * max((len(one.name[:14]) for one in series), default=0)
    x = Scale(low, high if high > low else low + 1, _LEFT, right)
    y = Scale(*y_range, height - _BOTTOM, _TOP)
    parts: list[Markup] = []
    for tick in ticks(*y_range, 4):
        parts += [
            line(_LEFT, y(tick), right, y(tick), "grid"),
            label(_LEFT - 6, y(tick) + 4, y_format(tick), "tick", "end"),
        ]
    bottom = height - _BOTTOM
    for tick in ticks(x.low, x.high, 4 if width < 400 else 6):
        if whole_steps and x.high - x.low > 1 and tick != round(tick):
            continue
        parts += [
            line(x(tick), bottom, x(tick), bottom + 4, "axis"),
            label(x(tick), bottom + 16, plain_number(tick), "tick", "middle"),
        ]
    parts += [
        line(_LEFT, bottom, right, bottom, "axis"),
        label((_LEFT + right) / 2, height - 3, x_title, "tick", "middle"),
    ]
    if diagonal:
        parts.append(line(x(x.low), y(x.low), x(x.high), y(x.high), "rule"))
    for one in series:
        for course in (one.raw, *one.courses):
            if len(course) > 1:
                parts.append(path([(x(a), y(b)) for a, b in course], f"raw c{one.style}"))
    marked = [one for one in series if one.markers]
    for one in series:
        # Intervals at one step would hide each other.
        apart = _APART * (marked.index(one) - (len(marked) - 1) / 2) if one.markers else 0.0
        parts += _draw(one, Scale(x.low, x.high, x.start + apart, x.end + apart), y)
    ends = [y(one.line[-1].y) for one in series]
    for one, place in zip(series, spread(ends, 13, _TOP, bottom), strict=True):
        name = one.name if len(one.name) <= 14 else f"{one.name[:13]}…"
        parts.append(label(right + aside, place + 4, name, f"name c{one.style}"))
    return svg(width, height, summary, *parts)


def _broken(style: int) -> str:
    """The class of the lines of a style that shares its colour with another's."""
    return " broken" if LOOKS[style].broken else ""


def _draw(one: Series, x: Scale, y: Scale) -> Iterator[Markup]:
    for stretch, dashed in _stretches(one):
        if len(stretch) > 1:
            kind = " over" if one.over else " dashed" if dashed else _broken(one.style)
            yield path([(x(point.x), y(point.y)) for point in stretch], f"line c{one.style}{kind}")
    for point in one.dots:
        yield element(
            "circle",
            element("title", point.title),
            cx=x(point.x) + 7,
            cy=y(point.y),
            r=2.2,
            class_=f"seed c{one.style}",
        )
    every = max(1, -(-len(one.line) // MOST_HOVERS))
    for index, point in enumerate(one.line):
        if one.markers:
            if point.low is not None and point.high is not None:
                yield line(x(point.x), y(point.low), x(point.x), y(point.high), f"whisker c{one.style}", point.title)
            yield marker(one.style, x(point.x), y(point.y), solid=one.solid, size=3.6, title=point.title)
        elif index % every == 0 or index == len(one.line) - 1:
            yield element(
                "circle", element("title", point.title), cx=x(point.x), cy=y(point.y), r=6, class_=f"hit c{one.style}"
            )


def dot_chart(
    rows: Sequence[Row],
    *,
    width: int,
    summary: str,
    domain: tuple[float, float],
    axis: Callable[[float], str],
    rule: float | None = None,
    rule_name: str = "",
    notes: str = "",
    notes_width: int = 40,
    joined: bool = False,
) -> Markup:
    """Rows of dots with interval whiskers on one horizontal axis.

    Args:
        rule: where a vertical line crosses all rows (zero, or a mean), named `rule_name`.
        notes: heads the notes at the right end of the rows, which take `notes_width` pixels.
        joined: a line links the first and the last dot of a row.
    """
    longest = max((len(row.caption) for row in rows), default=0)
    left = min(12 + _LETTER * longest, width * 0.42)
    fits = round((left - 12) / _LETTER)
    step = 34
    top = 18 if rule_name or notes else 6
    height = top + step * len(rows) + 24
    bottom = height - 22
    x = Scale(*domain, left + 8, width - (notes_width if notes else 16))
    parts: list[Markup] = [label(width, top - 6, notes, "tick", "end")] if notes else []
    marks = next(
        found
        for count in (4, 3, 2, 1)
        if len(found := ticks(*domain, count)) < 3 or x(found[1]) - x(found[0]) >= APART or count == 1
    )
    for tick in marks:
        parts += [line(x(tick), top, x(tick), bottom, "grid"), label(x(tick), height - 6, axis(tick), "tick", "middle")]
    if rule is not None:
        parts.append(line(x(rule), top, x(rule), bottom, "rule"))
        if rule_name:
            anchor = "end" if x(rule) > width - 60 else "middle"
            parts.append(label(x(rule), top - 6, rule_name, "tick", anchor))
    for index, row in enumerate(rows):
        middle = top + step * (index + 0.5)
        kind = "row" if row.style is None else f"name c{row.style}"
        names = _caption(row.caption, fits)
        heights = (middle + 4,) if len(names) == 1 else (middle - 2, middle + 11)
        said_ = (label(left, y, name, kind, "end") for y, name in zip(heights, names, strict=True))
        parts.append(element("g", element("title", row.caption), *said_))
        parts.append(label(width, middle + (-2 if row.below else 4), row.note, "tick", "end"))
        if row.below:
            parts.append(label(width, middle + 11, row.below, "tick", "end"))
        if joined and len(row.dots) > 1:
            parts.append(
                line(x(row.dots[0].value), middle, x(row.dots[-1].value), middle, f"join c{row.dots[0].style}")
            )
        parts += _dots(row, x, middle)
    return svg(width, height, summary, *parts)


def _caption(caption: str, fits: int) -> list[str]:
    """A row's name in lines of at most `fits` letters: of a difference that is longer, one for each arm."""
    arm, _, against = caption.partition(f" {MINUS} ")
    names = [caption] if len(caption) <= fits or not against else [arm, f"{MINUS} {against}"]
    return [name if len(name) <= fits else f"{name[: fits - 1]}…" for name in names]


def _dots(row: Row, x: Scale, middle: float) -> Iterator[Markup]:
    """The dots of a row: the faint ones under the row's middle, then the whiskers, the markers on top."""
    for dot in row.dots:
        if dot.faint:
            hover = element("title", dot.title)
            yield element("circle", hover, cx=x(dot.value), cy=middle + 9, r=2.2, class_=f"seed c{dot.style}")
    spaced = _spaced([dot for dot in row.dots if not dot.faint])
    for dot, shift in spaced:
        if dot.low is not None and dot.high is not None:
            yield line(x(dot.low), middle + shift, x(dot.high), middle + shift, f"whisker c{dot.style}", dot.title)
    for dot, shift in spaced:
        yield marker(dot.style, x(dot.value), middle + shift, solid=dot.solid, size=4.5, title=dot.title)


def _spaced(dots: Sequence[Dot]) -> list[tuple[Dot, float]]:
    """The dots of a row with their offsets from its middle: whiskers that overlap on one line would hide each other."""
    edges = sorted(
        (dot.value if dot.low is None else dot.low, dot.value if dot.high is None else dot.high) for dot in dots
    )
    apart = all(before[1] < after[0] for before, after in pairwise(edges))
    gap = 0.0 if apart else 6.0
    return [(dot, gap * (place - (len(dots) - 1) / 2)) for place, dot in enumerate(dots)]


def said(name: str, value: float, low: float | None, high: float | None, *more: str) -> str:
    """The hover text of an accuracy."""
    spread_ = f" (95 % interval {interval(low, high)})" if low is not None and high is not None else ""
    return " · ".join([name, *more, f"{percent(value)}{spread_}"])


def said_gain(name: str, value: float, *more: str) -> str:
    """The hover text of a difference in accuracy."""
    return " · ".join([name, *more, f"{points(value)} points"])


def share_domain(values: Sequence[float]) -> tuple[float, float]:
    """A domain of accuracies: whole tens of per cent around all values, inside [0, 1]."""
    return padded(values, floor=0.0, ceiling=1.0, step=0.1)
