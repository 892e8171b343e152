"""`realm compare`: two models on the same held-out questions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realm.cli.common import resolve
from realm.cli.live import progress_bar
from realm.display import printable

if TYPE_CHECKING:
    from realm.commands.comparing import Comparison


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A run, an evaluation's folder, or a model.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other one; desk-base or the base's directory too.")],
    show: Annotated[
        int, typer.Option("--show", min=0, help="Questions shown that only one got right, of each table and side.")
    ] = 3,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="CONFIG",
            help="File or run whose held-out questions are asked where there is no evaluation.",
            show_default="the other one's",
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            "--margin",
            metavar="POINTS",
            help="Also test whether A is worse by less than so many points, and whether the two differ by less.",
            show_default="no such test",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a split, without and with routes.")] = False,
) -> None:
    """Compare two models on the same held-out questions, paired by question.

    Accuracies and their difference with 95 % intervals, how many questions only one of the two gets right, and some of
    these with both answers. Stored evaluations are used; a model without one is asked the questions of the other, and
    what it answers is not kept (`realm evaluate` keeps it). `realm report A B` makes a page of two runs.
    """
    given = resolve(config, None) if config is not None else None

    from realm.commands import comparing

    share = None if margin is None else margin / 100
    found, notes = comparing.compare(a, b, given, margin=share, evaluating=progress_bar)
    for note in notes:
        typer.echo(printable(note), err=True)
    if as_json:
        for one in found:
            typer.echo(json.dumps(asdict(one)))
    else:
        _print(found, show, share)


def _print(found: Sequence[Comparison], show: int, margin: float | None) -> None:
    """The table, below it what is shown against the margin, and the questions that only one got right."""
    from rich.console import Console

    from realm.pages.pair import against_margin
    from realm.pages.table import Table, TableRow, Value

    console = Console()
    names = [printable(side["name"], 24) for side in found[0].part["sides"]]
    bodies: list[tuple[str, list[TableRow]]] = []
    for one in found:
        part, gap = one.part, one.difference
        rows: list[TableRow] = [
            (None, name, [Value(row.accuracy, row.accuracy_low, row.accuracy_high) if row else "", str(side["count"])])
            for name, row, side in zip(names, one.results, part["sides"], strict=True)
        ]
        rows.append((None, "difference", [Value(gap.difference, gap.low, gap.high, signed=True), ""]))
        bodies.append((f"{printable(part['title'], 40)}: {part['n']}", rows))
    console.print(Table(["", "accuracy (95 %)", "right alone"], bodies).to_rich("", "questions"))
    for one in found:
        if held := against_margin(one.difference, printable(one.part["title"], 40), names, margin):
            console.print(held, markup=False, highlight=False)
    for one in found:
        for name, side in zip(names, one.part["sides"], strict=True):
            for question in side["questions"][:show]:
                told = (
                    f"{who}: {printable(answer['answer'], 60) or 'no answer'}"
                    for who, answer in zip(names, question["sides"], strict=True)
                )
                lines = [
                    f"{printable(one.part['title'], 40)}, only {name}: {printable(question['question'], 300)}",
                    f"  {'; '.join(told)}; right: {printable(question['gold'], 60)}",
                ]
                console.print("\n".join(lines), markup=False, highlight=False)
