"""`realm ask`: a question to a trained model, or many."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realm.cli.common import resolve
from realm.display import printable, printable_lines
from realm.errors import ConfigError, UserError

if TYPE_CHECKING:
    from realm.commands.asking import Answer

#: How the two models of --base are called.
_TRAINED, _BASE = "trained", "base"


def ask(
    model: Annotated[
        str,
        typer.Argument(metavar="RUN|MODEL_DIR", help="Folder of a run, or a directory of a model.", show_default=False),
    ],
    question: Annotated[
        str | None,
        typer.Argument(metavar="[QUESTION]", help="Without it: one a line from stdin, to its end.", show_default=False),
    ] = None,
    base: Annotated[bool, typer.Option("--base", help="Ask the untrained model of the run too.")] = False,
    routes: Annotated[
        bool, typer.Option("--routes", help="Show it the routes of the bank, for a question that the bank knows.")
    ] = False,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            min=0,
            help="Sampled answers by which the confidence is told; 0: none.",
            show_default="10, or as many as the evaluation had votes",
        ),
    ] = None,
    show_prompt: Annotated[bool, typer.Option("--show-prompt", help="Print the prompt too, as the model saw it.")] = (
        False
    ),
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="CONFIG",
            help="File or run whose prompt is taken, for a model that lies in no run and has no card.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a question and model.")] = False,
) -> None:
    """Ask a trained model, in exactly the prompt without routes that it was trained on.

    Prints its thinking, its answer (of greedy decoding) and a confidence: the share of further, sampled answers that
    the task's verifier takes for the same. That tells how far the model agrees with itself, not how often it is right:
    where the run, or `realm evaluate RUN`, was evaluated with `evaluation.confidence`, it also says whether the answer
    may be trusted.
    """
    place = Path(model)
    given = resolve(config, None) if config is not None else None
    if given is None and (place / "config.yaml").is_file():
        resolve(place, None)  # for the number of threads, before torch is imported

    from rich.console import Console

    from realm.commands.asking import Student

    logging.getLogger("realm").setLevel(logging.WARNING)  # how it decodes is of no interest between two questions
    tasks = logging.getLogger("realm.tasks")
    tasks.setLevel(logging.ERROR)  # nor what the training had to say of its questions
    waiting = Console(stderr=True)
    try:
        with waiting.status("loading"):
            students = {_TRAINED: Student(model, given)}
            if base:
                students[_BASE] = Student(model, given, base=True)
    finally:
        tasks.setLevel(logging.NOTSET)
    failed = False
    for text in [question] if question is not None else _lines():
        try:
            with waiting.status("answering"):
                answers = {name: one.ask(text, routes=routes, samples=samples) for name, one in students.items()}
        except UserError as error:
            if question is not None:
                raise
            failed = True
            typer.echo(f"error: {printable_lines(str(error))}", err=True)
            if as_json:
                typer.echo(json.dumps({"question": text, "error": str(error)}))
            continue
        if as_json:  # in ASCII: what a model wrote cannot act on the terminal
            for name, answer in answers.items():
                told = {"model": name, **asdict(answer)}
                left = [*([] if show_prompt else ["messages", "prompt"]), *([] if answer.trust else ["trust"])]
                typer.echo(json.dumps({key: value for key, value in told.items() if key not in left}))
        else:
            if question is None and not sys.stdin.isatty():
                typer.echo(f"\n{printable(text, 400)}")  # nobody has typed it on this screen
            _show(answers, show_prompt)
    if failed:
        raise typer.Exit(2)


def _lines() -> Iterator[str]:
    """The questions on stdin, one a line; a terminal is told that one is awaited."""
    if sys.stdin is None:
        raise ConfigError("stdin is closed; give the question behind the run.")
    stdin = typer.get_text_stream("stdin", errors="replace")
    while True:
        if sys.stdin.isatty():
            typer.echo("question (Ctrl-D ends): ", nl=False, err=True)
        line = stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _show(answers: dict[str, Answer], prompt: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=len(answers) > 1, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for name in answers:
        table.add_column(name)

    if prompt:  # in whole lines, which the columns of a table would break
        asked = answers[_TRAINED]
        for name, text in (*((one["role"], one["content"]) for one in asked.messages), ("prompt", asked.prompt)):
            typer.echo(f"{name}:\n{printable_lines(text)}\n")

    def add(name: str, told: Callable[[Answer], str]) -> None:
        table.add_row(Text(name, style="bold"), *(Text(told(answer)) for answer in answers.values()))

    add("thinking", lambda answer: printable_lines(answer.think))
    if any(answer.routes for answer in answers.values()):
        add("routes", _routes)
    add("answer", lambda answer: "none" if answer.answer is None else printable_lines(answer.answer))
    if any(answer.executed for answer in answers.values()):
        add("by", lambda answer: "the program in its thinking, run" if answer.executed else "the model")
    share = "{0.confidence:.0%} of {0.samples} sampled answers are the same"
    add("confidence", lambda answer: "not told" if answer.confidence is None else share.format(answer))
    if any(answer.trust for answer in answers.values()):
        add("trust", _trust)
    if any(answer.reasons or answer.truncated for answer in answers.values()):
        add("note", lambda answer: ", ".join((*answer.reasons, *["cut at its largest length"] * answer.truncated)))
    Console().print(table)


def _trust(answer: Answer) -> str:
    """Whether the answer may be trusted, and by what."""
    from realm.pages.trust import BY

    if (found := answer.trust) is None:
        return "not told"
    right = f"{100 * found.precision:g} % of the answers were right on {printable(found.chosen_on, 40)}"
    if found.threshold is None:
        return f"not trusted: with no confidence {right}"
    from_on = f"{found.threshold:.4f}, from which on {right}"
    if found.confidence is None:
        otherwise = "most of its samples have another" if found.by == "votes" else "it states none"
        return f"not trusted: no confidence ({otherwise if answer.answer else 'no answer'}); wanted {from_on}"
    word, how = ("trusted", "at least") if found.trusted else ("not trusted", "below")
    return f"{word}: {found.confidence:.4f} by {BY.get(found.by, 'confidence')}, {how} {from_on}"


def _routes(answer: Answer) -> str:
    """The routes that were shown, each with its own answer and the score that it was given."""
    scores = (*answer.scores, *[None] * len(answer.routes))
    told = ("not judged" if score is None else f"judged {score:.2f}" for score in scores)
    return printable_lines(
        "\n".join(f"{route.answer}, {how}: {route.text}" for route, how in zip(answer.routes, told, strict=False))
    )
