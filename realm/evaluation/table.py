"""The summaries of an evaluation as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

#: (heading, key of the summary, shown as a percentage). A column without any figure is left out.
_COLUMNS = (
    ("pass@n", "pass_at_n", True),
    ("maj@n", "maj_at_n", True),
    ("macro-F1", "f1", True),
    ("same_err", "same_err", True),
    ("scoring acc.", "scoring_accuracy", True),
    ("AUROC", "auroc", False),
    ("parse failures", "parse_failures", True),
    ("unreadable", "unreadable_answers", True),
    ("truncated", "truncated", True),
    ("tokens", "completion_tokens", False),
)


def interval(value: float, low: float, high: float) -> str:
    """A share and its interval in percent, e.g. `61.3 [56.5, 66.0]`."""
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def evaluation_table(summaries: Sequence[dict[str, Any]], title: str = "") -> Table:
    """One line for each summary (see `evaluate.summarise`); accuracies and gaps in percent with 95 % intervals."""
    columns = [column for column in _COLUMNS if any(row.get(column[1]) is not None for row in summaries)]
    gap = any(row.get("autonomy_gap") is not None for row in summaries)
    table = Table(title=title or None, caption="percent, with 95 % intervals")
    table.add_column("split")
    for heading in ("routes", "n", "accuracy", *(["autonomy gap"] if gap else []), *(name for name, _, _ in columns)):
        table.add_column(heading, justify="right")
    for row in summaries:
        cells = [row["split"], str(row["routes"]), str(row["n"])]
        cells.append(interval(row["accuracy"], row["accuracy_low"], row["accuracy_high"]))
        if gap:
            known = row.get("autonomy_gap") is not None
            names = ("autonomy_gap", "autonomy_gap_low", "autonomy_gap_high")
            cells.append(interval(*(row[name] for name in names)) if known else "")
        for _, key, percent in columns:
            value = row.get(key)
            cells.append("" if value is None else f"{100 * value:.1f}" if percent else f"{value:.3g}")
        table.add_row(*cells)
    return table
