"""`realm view`: the page of a run or of a bank, while it grows."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from realm.cli.live import progress_bar
from realm.display import printable


def view(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|BANK",
            help="Folder of a run or of a bank, also one that is still to come; or of an experiment.",
        ),
    ],
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Of 127.0.0.1.", show_default="8710, or the next that is free"),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Show a run while it trains, or a bank while it is collected: the page of `realm report`, kept up to date.

    The open page takes in what is new by itself, and you stay where you are: filters, search, scrolling, what is open.
    It is served to this machine alone (http://127.0.0.1) and writes nothing. Ctrl-C ends it.
    """
    import logging
    import webbrowser

    from realm.commands.viewing import Server, View

    # Rows that are being written at this very moment are no news here.
    logging.getLogger("realm.files").setLevel(logging.ERROR)
    with suppress(KeyboardInterrupt), Server(View(run, progress_bar), port) as server:
        typer.echo(f"{server.address} shows {printable(str(run))} as it grows; Ctrl-C ends it")
        if open_ and not webbrowser.open(server.address):
            typer.echo("no browser found here: open the address yourself", err=True)
        server.serve_forever()
