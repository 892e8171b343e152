"""`realm model`: models of other forms as directories that can be trained."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(no_args_is_help=True, help="Make a student of a model in another form.")


@app.callback()
def model() -> None:
    """Make a student of a model in another form."""


@app.command("import", epilog="Example: realm model import SmolLM2-135M-Instruct.Q4_1.gguf models/smollm2")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.gguf", help="The file, whole.", show_default=False)],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the model; it is made.", show_default=False)],
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"],
        typer.Option(
            "--dtype",
            help="Type of the weights: float32 holds what the file says, the others round it and need half the disk.",
        ),
    ] = "float32",
) -> None:
    """Make an ordinary Hugging Face directory of a GGUF file: weights, tokenizer, chat template, and a card.

    The weights get their full size back, and nothing that quantization lost. Needs the package gguf
    (`pip install 'realm-slm[gguf]'`). Nothing is overwritten.
    """
    from realm.commands.converting import import_gguf
    from realm.display import printable
    from realm.processes import command

    facts = import_gguf(file, folder, dtype=dtype, tell=lambda text: typer.echo(text, err=True))
    for name, value in facts.items():
        typer.echo(printable(f"{name}: {value}"))
    typer.echo(printable(f"Next: {command('train', 'CONFIG', '--model', str(folder), launch=None)}"))
