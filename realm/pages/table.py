"""A table as a value: what a page, a document and a terminal show of it cannot differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from markupsafe import Markup

from realm.pages import svg
from realm.text import between, grouped, hundredths, percent, points

if TYPE_CHECKING:
    from rich.table import Table as RichTable


@dataclass(frozen=True)
class Value:
    """A share in [0, 1], or a `signed` difference of two, with its 95 % interval.

    Attributes:
        bold: a document stresses it.
        after: follows it, with what parts the two; a page has it in small type.
        aside: in small type on a page alone.
    """

    mean: float
    low: float | None = None
    high: float | None = None
    signed: bool = False
    bold: bool = False
    after: str = ""
    aside: str = ""

    def __html__(self) -> str:
        found = svg.points(self.mean) if self.signed else svg.percent(self.mean)
        reach = svg.interval(self.low, self.high)
        if self.signed and self.low is not None and self.high is not None:
            reach = between(self.low, self.high, svg.points)
        return _stacked(found, reach, self.after.strip(" ,()"), self.aside)

    @property
    def markdown(self) -> str:
        """`**27.5** (23.5 to 31.8)`, in per cent or in points."""
        form: Callable[[float], str] = points if self.signed else hundredths
        found = f"**{form(self.mean)}**" if self.bold else form(self.mean)
        reach = "" if self.low is None or self.high is None else f" ({between(self.low, self.high, form)})"
        return f"{found}{reach}{self.after}"

    @property
    def plain(self) -> str:
        """`27.5% (23.5% – 31.8%)`; a difference in points, as in a document."""
        if self.signed:
            return self.markdown
        reach = "" if self.low is None or self.high is None else f" ({percent(self.low)} – {percent(self.high)})"
        return f"{percent(self.mean)}{reach}"


@dataclass(frozen=True)
class Heat:
    """A share in whole per cent, on a page shaded from low to high."""

    share: float

    def __html__(self) -> str:
        return svg.element("span", self.markdown, class_=f"heat h{round(10 * self.share)}")

    @property
    def markdown(self) -> str:
        return f"{100 * self.share:.0f}"


@dataclass(frozen=True)
class Count:
    """A number of things, its thousands set apart."""

    number: float

    def __html__(self) -> str:
        return grouped(self.number, "\u202f")

    @property
    def markdown(self) -> str:
        return grouped(self.number)


@dataclass(frozen=True)
class Noted:
    """A text with what a document has in brackets after it, and a page in small type below."""

    text: str
    note: str

    def __html__(self) -> str:
        return _stacked(self.text, self.note.replace("-", svg.MINUS))

    @property
    def markdown(self) -> str:
        return f"{self.text} ({self.note})"


def _stacked(text: str, *small: str) -> Markup:
    """A text with what is not empty of the others in small type below it."""
    below = [svg.element("small", one) for one in small if one]
    return Markup("").join([svg.element("span", text), *below])


#: What stands in one cell: text, a drawing of a page, or figures.
Cell = Markup | str | Value | Heat | Count | Noted
#: Style of the marker (None: no marker), name, and the cells of one row.
TableRow = tuple[int | None, str, Sequence[Cell]]


@dataclass(frozen=True)
class Table:
    """`columns` begin with that of the names; `bodies` are (heading, rows), a row begins with (style, name)."""

    columns: Sequence[str]
    bodies: Sequence[tuple[str, Sequence[TableRow]]] = field(default_factory=list)

    def to_markdown(self) -> list[str]:
        """Lines of a table of Markdown; a heading is a row of its own."""
        rows = []
        for heading, body in self.bodies:
            rows += [[f"*{heading}*", *[""] * (len(self.columns) - 1)]] if heading else []
            rows += [[name, *map(_markdown, cells)] for _, name, cells in body]
        # Kinds and names may hold what ends a cell or a line.
        texts = [[" ".join(text.replace("|", "\\|").split()) for text in row] for row in (self.columns, *rows)]
        head, *lines = (f"| {' | '.join(row)} |" for row in texts)
        return [head, "|---" * len(self.columns) + "|", *lines]

    def to_rich(self, title: str | None = None, headings: str = "") -> RichTable:
        """For a terminal; the bodies' headings stand in a column of their own, where it has a name."""
        from rich.table import Table as RichTable
        from rich.text import Text

        found = RichTable(title=title, title_justify="left")
        first = 1 if headings else 0
        for place, column in enumerate((headings, *self.columns)[1 - first :]):
            # Where it gets narrow a name is broken, a figure never.
            found.add_column(column, justify="left" if place <= first else "right", no_wrap=place > first)
        for heading, rows in self.bodies:
            for place, (_, name, cells) in enumerate(rows):
                texts = (cell.plain if isinstance(cell, Value) else str(cell) for cell in cells)
                found.add_row(*map(Text, ("" if place else heading, name, *texts)[1 - first :]))
            found.add_section()
        return found


def _markdown(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell.markdown
