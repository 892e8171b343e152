"""The table of an evaluation, as `realm train` and `realm evaluate` print it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from realm.text import NONE, bracketed, hundredths


def print_results(title: str, summaries: Sequence[dict[str, Any]]) -> None:
    """One row for each split without and with routes; `summaries` are rows of evaluations.jsonl. Fits 80 columns."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("split", no_wrap=True)
    for name in ("routes", "n", "accuracy [95 %]", "same_err", "scoring", "unparsed", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in summaries:
        table.add_row(
            str(row["split"]),
            str(row["routes"]),
            str(row["n"]),
            _interval(row, "accuracy"),
            _percent(row["same_err"]),
            _percent(row["scoring_accuracy"]),
            _percent(row["parse_failures"]),
            f"{row['completion_tokens']:.0f}",
        )
    console = Console()
    console.print(table)
    console.print(
        "In percent, but for n (questions) and tokens (of a completion). same_err: wrong answers that repeat a shown "
        "route's wrong answer; scoring: routes judged rightly; unparsed: completions with a parse failure.",
        style="dim",
        highlight=False,
    )
    worst = max(summaries, key=lambda row: row.get("unreadable_answers") or 0.0, default={})
    if worst.get("unreadable_answers"):
        where = f"{worst['split']}, {worst['routes']} routes"
        console.print(
            f"The verifier could not read up to {_percent(worst['unreadable_answers'])} % of the answers ({where}), "
            f"e.g. {', '.join(worst['unreadable_examples'])}. They count as wrong; where they are right, choose "
            "another task.verifier.",
            markup=False,
            highlight=False,
        )


def _interval(row: dict[str, Any], name: str) -> Text:
    """A share and its interval in per cent, `61.3 [56.5, 66.0]`; as Text, since brackets are markup."""
    return Text(f"{hundredths(row[name])} {bracketed(row[f'{name}_low'], row[f'{name}_high'])}")


def _percent(share: float | None) -> str:
    return NONE if share is None else hundredths(share)
