"""`realm bank stats`, `errors` and `select`: what a bank holds, how it errs, and what a student would see of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from realm.cli.live import progress_bar

BankPath = Annotated[
    Path, typer.Argument(metavar="BANK", help="A bank's folder, or a JSONL file with `cots`.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]
Seed = Annotated[int, typer.Option("--seed", help="Of every draw: equal seeds give equal figures.")]


def stats(
    bank: BankPath,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="DIR", help="Student: count its tokens, and the routes that fit.", show_default=False
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            "--context", min=1, help="Tokens a prompt may have.", show_default="the model's, less 512 to answer in"
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Routes a prompt should show.")] = 4,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Tell what a bank holds: counts, error ratios, agreement, redundancy, lengths, and what guidance changed."""
    from realm.analysis.answers import verifier_of
    from realm.analysis.preview import open_source
    from realm.analysis.reading_student import student
    from realm.analysis.stats import statistics
    from realm.cli.bank_print import print_stats

    source = open_source(bank)
    reader = student(model, context, k, source.info) if model is not None else None
    with progress_bar("reading") as bar:
        found = statistics(
            source.groups(),
            verifier=verifier_of(source.info),
            seed=seed,
            student=reader,
            progress=_counter(bar, source.questions),
        )
    if as_json:
        _print_json(found)
    else:
        print_stats(str(bank), found)


def errors(
    bank: BankPath,
    show: Annotated[int, typer.Option("--show", min=0, help="Clusters and questions to print.")] = 5,
    permutations: Annotated[int, typer.Option("--permutations", min=19, help="Of each test.")] = 1000,
    minimum: Annotated[int, typer.Option("--minimum", min=1, help="Wrong CoTs without which nothing is said.")] = 100,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Tell whether the wrong CoTs are systematic (the same error again and again) or noise, with examples to read."""
    from realm.analysis.answers import verifier_of
    from realm.analysis.patterns import analyse
    from realm.analysis.preview import open_source
    from realm.cli.bank_print import print_patterns

    source = open_source(bank)
    with progress_bar("reading") as bar:
        found = analyse(
            source.groups(),
            verifier=verifier_of(source.info),
            seed=seed,
            permutations=permutations,
            minimum=minimum,
            progress=_counter(bar, source.questions),
        )
    if as_json:
        _print_json(found.as_dict(clusters=max(show, 20)))
    else:
        print_patterns(str(bank), found, show)


def select(
    bank: BankPath,
    question: Annotated[
        str | None, typer.Option("--question", metavar="ID", help="This question alone.", show_default=False)
    ] = None,
    show: Annotated[int, typer.Option("--show", min=1, help="Questions to show: the first ones.")] = 2,
    k: Annotated[int, typer.Option("-k", min=1, help="Routes a prompt should show.")] = 4,
    strategy: Annotated[
        list[str] | None,
        typer.Option("--strategy", help="Of selection; repeatable.", show_default="every one"),
    ] = None,
    error_ratio: Annotated[float, typer.Option("--error-ratio", min=0, max=1, help="Of `error_ratio`.")] = 0.4,
    seed: Annotated[int, typer.Option("--seed", help="As run.seed: training draws the same at step 0.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show which routes each strategy of selection would put into a prompt, and how far apart they are."""
    from dataclasses import asdict

    from realm.analysis.preview import open_source, preview
    from realm.cli.bank_print import print_previews
    from realm.method.routes import STRATEGIES, Selection
    from realm.plugins import trust

    trust(strategy)
    found = preview(
        open_source(bank).groups(),
        Selection(k, error_ratio=error_ratio),
        seed=seed,
        show=show,
        question_id=question,
        strategies=list(dict.fromkeys(strategy or STRATEGIES)),
    )
    if as_json:
        _print_json([asdict(one) for one in found])
    else:
        print_previews(found)


def _counter(bar: Callable[[int, int], None], total: int) -> Callable[[int], None]:
    """Tell the bar of questions read; where their number is not known it is always one more."""
    return lambda done: bar(done, max(total, done) if total else done + 1)


def _print_json(content: Any) -> None:
    # ASCII: what a model wrote cannot act on the terminal.
    typer.echo(json.dumps(content, indent=2))
