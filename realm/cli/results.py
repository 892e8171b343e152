"""The table of an evaluation, as `realm train` and `realm evaluate` print it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def print_results(title: str, summaries: Sequence[dict[str, Any]]) -> None:
    """One row for each split without and with routes; `summaries` are rows of evaluations.jsonl."""
    table = Table(title=title, title_justify="left")
    table.add_column("split")
    for name in ("routes", "questions", "accuracy", "95 % interval", "same_err", "scoring", "unread", "tokens"):
        table.add_column(name, justify="right")
    for row in summaries:
        table.add_row(
            str(row["split"]),
            str(row["routes"]),
            str(row["n"]),
            _percent(row["accuracy"]),
            f"{_percent(row['accuracy_low'])} to {_percent(row['accuracy_high'])}",
            _percent(row["same_err"]),
            _percent(row["scoring_accuracy"]),
            _percent(row["parse_failures"]),
            f"{row['completion_tokens']:.0f}",
        )
    console = Console()
    console.print(table)
    console.print(
        "same_err: wrong answers that repeat a shown route's wrong answer; scoring: routes judged rightly; "
        "unread: completions with a parse failure.",
        style="dim",
        highlight=False,
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
