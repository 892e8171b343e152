"""A table as a value: the same figures on a page, in a document and in a terminal."""

from __future__ import annotations

import pytest
from markupsafe import Markup, escape
from rich.console import Console

from realm.pages.table import Cell, Count, Heat, Noted, Table, Value

CELLS: list[tuple[Cell, str, str]] = [
    (
        Value(0.275, 0.235, 0.318, bold=True, after=" [27.5, 27.5]"),
        "**27.5** (23.5 to 31.8) [27.5, 27.5]",
        "<span>27.5\u202f%</span><small>23.5\u201331.8</small><small>[27.5, 27.5]</small>",
    ),
    (
        Value(-0.05, -0.1, 0.0, signed=True, after=", p 0.020", aside="before correction 0.010"),
        "-5.0 (-10.0 to +0.0), p 0.020",
        "<span>−5.0</span><small>−10.0 to 0.0</small><small>p 0.020</small><small>before correction 0.010</small>",
    ),
    (Value(0.5, after=" (step 40)"), "50.0 (step 40)", "<span>50.0\u202f%</span><small>step 40</small>"),
    (Heat(0.634), "63", '<span class="heat h6">63</span>'),
    (Count(12345.4), "12,345", "12\u202f345"),
    (Noted("step 60", "-22.0 to -3.0"), "step 60 (-22.0 to -3.0)", "<span>step 60</span><small>−22.0 to −3.0</small>"),
    ("a|b <i>", "a\\|b <i>", "a|b &lt;i&gt;"),
]


@pytest.mark.parametrize(("cell", "document", "page"), CELLS)
def test_a_cell_in_a_document_and_on_a_page(cell: Cell, document: str, page: str) -> None:
    table = Table(["", "x"], [("", [(None, "arm", [cell])])])
    assert table.to_markdown() == ["|  | x |", "|---|---|", f"| arm | {document} |"]
    assert escape(cell) == Markup(page)


def test_a_table_in_a_terminal_has_its_headings_once() -> None:
    rows = [(None, name, [Value(0.5, 0.25, 0.75), ""]) for name in ("base", "[b]grpo[/]")]
    console = Console(width=80, record=True, quiet=False)
    console.print(Table(["model", "without", "with"], [("test", rows), ("ood", rows)]).to_rich("Accuracy", "split"))
    text = console.export_text()
    assert text.count("test") == text.count("ood") == 1
    assert text.count("50.0% (25.0% – 75.0%)") == 4
    assert "[b]grpo[/]" in text  # a name is no markup


def test_a_narrow_terminal_breaks_names_and_no_figure() -> None:
    rows = [(None, "what two wrong ones have in common " * 2, [Value(0.5, 0.25, 0.75)])]
    console = Console(width=60, record=True, quiet=False)
    console.print(Table(["", "value (95 % interval)"], [("", rows)]).to_rich())
    text = console.export_text()
    assert "…" not in text and "50.0% (25.0% – 75.0%)" in text and "value (95 % interval)" in text
