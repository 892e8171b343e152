"""`realm init`: a new domain from a file of questions."""

from pathlib import Path
from typing import Annotated

import typer


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the new domain.", show_default=False)],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Questions with answers: CSV, JSONL, JSON, Parquet, or hf:OWNER/NAME[/CONFIG][:SPLIT].",
            show_default=False,
        ),
    ],
    question: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of the question; a+b joins two.", show_default="guessed"),
    ] = None,
    answer: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of the right answer.", show_default="guessed")
    ] = None,
) -> None:
    """Look at a file of questions and write a configuration for them: columns, verifier, lengths, each with its reason.

    DIR gets a YAML file to fill in and a page for your experts' rules. Nothing is overwritten.
    """
    from rich.console import Console

    from realm.commands.starting import init as start
    from realm.commands.starting import next_command
    from realm.display import printable

    with Console(stderr=True).status("looking at the questions"):
        found = start(folder, source, question=question, answer=answer)
    task = found.task
    read = f"question from {found.columns['question']}, answer from {found.columns['answer']}"
    sizes = ", ".join(f"{split} {len(task.rows(split))}" for split in task.splits())
    choices = f" ({', '.join(task.labels)})" if task.labels else ""
    typer.echo(printable(f"{found.config}: {found.rows} rows of {source}, {read}"))
    typer.echo(
        printable(f"  verifier {task.verifier.name}{choices}: reads {found.read} of {found.rows} golds; {found.why}")
    )
    typer.echo(printable(f"  splits: {sizes}"))
    if found.repeated:
        others = f", {found.contradicted} of them with another answer" if found.contradicted else ""
        typer.echo(
            f"  {found.repeated} rows repeat the question of another{others}: take them out, else each is asked, paid "
            "for and counted"
        )
    typer.echo(printable(f"{found.rules}: a page for your experts' rules"))
    typer.echo(f"Next: fill in `teachers` in the YAML file, then {printable(next_command(found))}")
