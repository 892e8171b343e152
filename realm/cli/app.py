"""The command `realm`: its sub-commands, and what becomes of an error.

Every module of this package imports what a command needs inside the command: `realm --help` must not wait for torch.
"""

import logging
import os
import signal
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from realm import __version__
from realm.cli import (
    ask,
    average,
    bank,
    collect,
    compare,
    desk,
    doctor,
    evaluate,
    experiment,
    export,
    init,
    model,
    quickstart,
    report,
    train,
    view,
)
from realm.cli.common import ARGUMENTS
from realm.cli.failures import resource_message
from realm.display import printable_lines
from realm.errors import UserError
from realm.processes import command, launched, main_process
from realm.stopping import Stopped

#: Commands that take --resume, so that Ctrl-C can say how to go on.
RESUMABLE = ("collect", "train")
#: Commands that go on where they were without being told.
GOING_ON = ("experiment", "quickstart")


class Commands(TyperGroup):
    """Sub-commands whose errors end as the user can use them.

    A user's mistake: its one or two lines on stderr, exit code 2. Ctrl-C and, where a command
    handles it, SIGTERM: how to go on, exit code 130 or 143. Anything else is ours: it keeps its traceback and exits
    with 1.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            typer.echo(f"error: {printable_lines(str(error))}", err=True)
        except KeyboardInterrupt as error:
            saved = f" {error}" if isinstance(error, Stopped) and str(error) else ""
            if main_process():  # the others would only repeat it
                typer.echo(f"\nstopped.{saved} {_go_on(ctx.meta[ARGUMENTS])}", err=True)
            number = error.number if isinstance(error, Stopped) else signal.SIGINT
            raise typer.Exit(128 + number) from None
        except Exception as error:
            message = resource_message(error)
            if message is None:
                raise
            typer.echo(f"error: {printable_lines(message)}", err=True)
        raise typer.Exit(2)


def _go_on(arguments: list[str]) -> str:
    """What to type after Ctrl-C, from the arguments of the stopped command and what launched it."""
    again = [argument for argument in arguments if argument not in ("--overwrite", "--resume")]
    if again and again[0] in RESUMABLE:
        return f"To go on where it was: {command(*again, '--resume', launch=launched())}"
    if again and again[0] in GOING_ON:
        return f"To go on where it was: {command(*again, launch=None)}"
    return f"To start again: {command(*again, launch=None)}"


def _for_users(record: logging.LogRecord) -> bool:
    """Whether a line of a log is for users. Libraries set levels of their own loggers (bm25s), past the root's."""
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] == "realm"


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"realm {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="realm",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `realm quickstart`. Every command explains itself: realm train --help",
)


@app.callback()
def realm(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train small language models to reason on their own, by learning from right and wrong routes of a teacher."""
    # Defaults that the user's environment may override; set before any library reads them.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    shown = logging.StreamHandler()
    shown.addFilter(_for_users)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", handlers=[shown])
    logging.getLogger("realm").setLevel(logging.INFO)


app.command(epilog="Example: realm quickstart --fast")(quickstart.quickstart)
app.command(epilog="Example: realm init returns --from questions.csv")(init.init)
app.command(epilog="Example: realm collect configs/desk.yaml --set guidance.probability=1 --out runs/guided/bank")(
    collect.collect
)
app.command(epilog="Example: realm train configs/gsm8k.yaml --model models/my-slm --set training.rl.steps=200")(
    train.train
)
app.command(epilog="Example: realm evaluate runs/desk --set routes.k=8 --out runs/desk/eight-routes")(evaluate.evaluate)
app.command(epilog="Example: realm experiment mrpv-alone --seeds 3 --jobs 2")(experiment.experiment)
app.command(epilog='Example: realm ask runs/desk "..." --base')(ask.ask)
app.command(epilog="Example: realm compare runs/desk desk-base")(compare.compare)
app.command(epilog="Example: realm average runs/desk desk-base --share 0.25 --out runs/desk-mild")(average.average)
app.command(epilog="Example: realm report runs/desk --out desk.html")(report.report)
app.command(epilog="Example: realm view runs/desk --open")(view.view)
app.command(epilog="Example: realm doctor runs/desk")(doctor.doctor)
app.add_typer(bank.app, name="bank")
app.add_typer(model.app, name="model")
app.add_typer(export.app, name="export")
app.add_typer(desk.app, name="desk")


def main() -> None:
    """The entry point of the console script `realm` and of `python -m realm`."""
    app(prog_name="realm")
