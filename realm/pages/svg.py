"""The few pieces of SVG that the charts are made of: elements, scales, ticks, markers. All text is escaped."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from realm.pages.palette import CORNERS, LOOKS

MINUS, DASH = "\u2212", "\u2013"


def element(name: str, *children: object, **attributes: object) -> Markup:
    """One element; `class_` stands for class, `_` for `-`. Children that are not Markup are escaped as text."""
    parts = [
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    ]
    inner = Markup("").join(escape(child) for child in children)
    return Markup(f"<{name}{''.join(parts)}>{inner}</{name}>")


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return str(value)


@dataclass(frozen=True)
class Scale:
    """Linear map of [low, high] in the data onto [start, end] in pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        share = 0.0 if span == 0 else (value - self.low) / span
        return self.start + share * (self.end - self.start)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """At most about `count` round numbers inside [low, high], their steps 1, 2, 2.5 or 5 times a power of ten."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def padded(
    values: Iterable[float], *, floor: float | None = None, ceiling: float | None = None, step: float
) -> tuple[float, float]:
    """A domain that holds all values, its ends multiples of `step`, inside [floor, ceiling] where these are given."""
    found = list(values) or [0.0]
    low = math.floor(min(found) / step + 1e-9) * step
    high = math.ceil(max(found) / step - 1e-9) * step
    if floor is not None:
        low = max(low, floor)
    if ceiling is not None:
        high = min(high, ceiling)
    return (low, high) if high > low else (low, low + step)


def marker(style: int, x: float, y: float, *, solid: bool, size: float = 4.5, title: str = "") -> Markup:
    """The marker of a model at (x, y): solid with routes, hollow without; `title` appears on hover."""
    shape, r = LOOKS[style].marker, size
    kind = f"mark c{style} {'solid' if solid else 'hollow'}"
    hover = element("title", title) if title else Markup("")
    if shape == "circle":
        return element("circle", hover, cx=x, cy=y, r=r, class_=kind)
    points = " ".join(f"{x + dx * r:.1f},{y + dy * r:.1f}" for dx, dy in CORNERS[shape])
    return element("polygon", hover, points=points, class_=kind)


def line(x1: float, y1: float, x2: float, y2: float, kind: str, title: str = "") -> Markup:
    """A straight line of the class `kind`."""
    hover = element("title", title) if title else ""
    return element("line", hover, x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def label(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> Markup:
    """A piece of text; `anchor` is start, middle or end."""
    return element("text", content, x=x, y=y, class_=kind or None, text_anchor=None if anchor == "start" else anchor)


def path(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    """A polyline through `points` (pixels)."""
    steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return element("path", d=f"M{steps}", class_=kind)


def svg(width: int, height: float, summary: str, *children: object) -> Markup:
    """A drawing of its natural size that shrinks with its column; `summary` is what a screen reader says."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {width} {height:.0f}",
        width=width,
        height=round(height),
        role="img",
        aria_label=summary,
    )


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions moved apart to at least `gap` each, in their order, within [low, high] as far as there is room."""
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    placed = [0.0] * len(positions)
    last = low - gap
    for index in order:
        placed[index] = last = max(positions[index], last + gap)
    limit = high
    for index in reversed(order):
        placed[index] = limit = min(placed[index], limit)
        limit -= gap
    return placed


def percent(share: float, digits: int = 1) -> str:
    """`0.712` as `71.2 %`, with a space that does not break."""
    return f"{100 * share:.{digits}f}\u202f%"


def points(difference: float) -> str:
    """A difference of shares in signed percentage points: `+22.9`; a negative one has a minus sign."""
    rounded = round(100 * difference, 1)
    sign = "+" if rounded > 0 else MINUS if rounded < 0 else ""
    return f"{sign}{abs(rounded):.1f}"


def interval(low: float | None, high: float | None) -> str:
    """A 95 % interval of a share, in per cent: 67.0 to 75.1 with a dash; empty where there is none."""
    return "" if low is None or high is None else f"{100 * low:.1f}{DASH}{100 * high:.1f}"
