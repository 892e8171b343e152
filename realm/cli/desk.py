"""`realm desk`: the embedded domain, to look at."""

from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="Look at the embedded returns desk.",
    epilog="Example: realm desk show --split ood",
)


@app.command(epilog="Example: realm desk show --split ood --cases 3")
def show(
    split: Annotated[
        str, typer.Option("--split", help="train, validation, test, ood (never trained combinations) or uncommented.")
    ] = "train",
    hard: Annotated[bool, typer.Option("--hard", help="The harder tier, task desk-hard.")] = False,
    cases: Annotated[int, typer.Option("--cases", min=0, help="How many cases.")] = 6,
    samples: Annotated[int, typer.Option("--cots", min=0, help="CoTs of the teacher shown for each case.")] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Fixes the cases shown and the teacher's slips.")] = 0,
) -> None:
    """Print the shop's rule book, sample cases with their answers, and what the scripted teacher writes about them."""
    from realm.desk.book import UNCOMMENTED, habit_book, state_rule
    from realm.desk.clerk import write_cot
    from realm.desk.task import DeskTask
    from realm.errors import ConfigError
    from realm.method.seeds import rng
    from realm.sections import GuidanceConfig
    from realm.teacher.guidance import Guidance

    task = DeskTask(hard=hard)
    if split not in task.splits():
        raise ConfigError(f"--split: expected one of {', '.join(task.splits())}, found {split}.")
    typer.echo("The shop's rule book, as the expert's comments state it to a guided teacher:")
    for comment in task.comments:
        typer.echo(f"  {comment.text}")
    typer.echo("Rules that no comment states:")
    for rule in sorted(UNCOMMENTED):
        typer.echo(f"  {state_rule(rule, task.book[rule]).capitalize()}.")
    habit, guidance = habit_book(task.seed), Guidance(task.comments, GuidanceConfig())
    rows = task.rows(split)
    for question in rng(seed, "show").sample(rows, min(cases, len(rows))):
        typer.echo(f"\n{question.id} ({question.kind}, difficulty {question.difficulty})\n  {question.question}")
        typer.echo(f"  gold: {question.answer}")
        for number in range(samples):
            # Every second one guided, so that the difference shows.
            comments = guidance.matching(question) if number % 2 else ()
            shown = frozenset(tag for comment in comments for tag in comment.tags)
            source = rng(seed, "show", question.id, number)
            cot = write_cot(task.case(question.id), book=task.book, habit=habit, shown=shown, source=source)
            mark = "right" if task.verifier(cot.answer, question.answer) else "wrong"
            typer.echo(f"  {'guided' if shown else 'unguided'}, {mark}: {cot.text} → {cot.answer}")
