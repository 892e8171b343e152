"""`realm bank import`, `export` and `compact`: CoTs into a bank, out of it, and closer together."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from realm.cli.bank_check import label, validate
from realm.cli.bank_common import BankFolderPath, ConfigPath, VerifierName, settings_of, verifier_pool
from realm.cli.common import Overrides, Overwrite
from realm.cli.live import progress_bar

__all__ = ["compact", "export", "import_bank", "label", "validate"]

ShapeName = Annotated[
    Literal["jsonl", "flat", "parquet", "messages"],
    typer.Option("--to", help="A question a line, a CoT a line, the same as a table, or a conversation a line."),
]


def import_bank(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="JSONL, a JSON array, Parquet, or a data set: hf:OWNER/NAME.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the bank.", show_default=False)],
    config: ConfigPath = None,
    overrides: Overrides = None,
    relabel: Annotated[
        bool | None,
        typer.Option(
            "--relabel/--keep-labels", help="Judge every answer, or trust the file.", show_default="bank.relabel"
        ),
    ] = None,
    verifier: VerifierName = None,
) -> None:
    """Make a bank of CoTs that lie in a file: questions with `cots`, a CoT a row, or conversations.

    Keys that go by other names are mapped: --set bank.mapping.text=response.content; two are joined by a +, a list of
    CoTs is generations.*, and none is no key. What was read as what is told. Without --verifier it is the task's;
    without CONFIG that is task.verifier. What it cannot read, answer or gold, has no label and is
    told.
    """
    from realm.bank.unreadable import sentences
    from realm.exchange.importing import Source, gold_reader, import_file, known_questions

    settings, task = settings_of("bank import", config, overrides)
    judged = settings.bank.relabel if relabel is None else relabel
    source = Source(
        file,
        settings.bank.mapping,
        gold_reader(settings.task.name),
        known_questions(task) if task else (),
        skip=settings.task.bad_rows == "skip",
    )
    name = verifier or (task.verifier.name if task else settings.task.verifier_name)
    with verifier_pool(name, settings) as pool, progress_bar("importing") as bar:
        found = import_file(source, out, pool if judged else None, relabel=judged, progress=_parts(file, bar))
    left = [
        f"{found[key]} {what}"
        for key, what in (
            ("skipped", "bad rows skipped"),
            ("nulls", "CoTs left out, they are null"),
            ("filtered", "rows left out, the same answers under another filter"),
        )
        if found[key]
    ]
    typer.echo("; ".join([f"{out}: {found['cots']} CoTs of {found['questions']} questions", *left]))
    for reading, others in found["readings"][:3]:
        typer.echo(f"  read: {', '.join(f'{ours} from {theirs}' for ours, theirs in reading)}")
        if others:
            typer.echo(f"    kept in meta, unless bank.mapping takes it: {', '.join(others)}")
    agreement = found["info"]["agreement"]
    if agreement:
        told = agreement["agree"] + agreement["disagree"]
        typer.echo(
            f"  judged by the verifier {name}: agrees with {agreement['agree']} of the file's {told} labels; "
            f"{agreement['unreadable']} answers unreadable, {agreement['failed']} not finished"
        )
        for sentence in sentences(found["unreadable"]):
            typer.echo(f"  {sentence}")
    else:
        typer.echo("  labels are the file's own")


def export(
    bank: BankFolderPath,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.", show_default=False)],
    to: ShapeName = "jsonl",
    positives: Annotated[
        bool | None,
        typer.Option(
            "--positives/--all", help="Only right CoTs, or all.", show_default="--positives for messages, else --all"
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a bank's CoTs to one file. `realm bank import --keep-labels` reads all but a choice of them back as is."""
    from realm.bank.folder import BankFolder
    from realm.bank.labelling import count
    from realm.exchange.exporting import export_bank

    if file.exists() and not overwrite:
        from realm.errors import ResourceError

        raise ResourceError(f"{file}: is there already. Name another file, or give --overwrite.")
    folder = BankFolder.open(bank)
    total = count(folder)
    chosen = to == "messages" if positives is None else positives
    with progress_bar("exporting") as bar:
        found = export_bank(folder, file, to, positives=chosen, progress=lambda done: bar(done, total))
    left = total - found["cots"]
    typer.echo(f"{file}: {found['cots']} CoTs of {found['questions']} questions in {found['rows']} rows")
    if left:
        typer.echo(f"  {left} CoTs left out: they are wrong, not labelled or no whole answers (--all writes them)")


def compact(bank: BankFolderPath) -> None:
    """Move the CoTs into one Parquet file, question by question: smaller, and faster to read. Nothing is lost."""
    from realm.bank.compact import compact as move
    from realm.bank.folder import BankFolder
    from realm.bank.labelling import count

    BankFolder.open(bank)  # a folder that holds no bank is named as such
    before = _size(bank)
    with BankFolder(bank, {}).lock(), progress_bar("compacting") as bar:
        folder = BankFolder.open(bank)
        total = count(folder)
        number = move(folder, lambda done: bar(done, total))
    name = folder.parquet.name if folder.parquet else "no file"
    typer.echo(f"{bank}: {number} CoTs in {name}; {before / 1e6:.1f} MB before, {_size(bank) / 1e6:.1f} MB after")


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def _parts(file: Path, bar: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """The bar in rows of a Parquet file or a data set, or in megabytes, told only when the figure changes."""
    from realm.tasks.hub import is_hub

    unit = 1 if file.suffix.lower() == ".parquet" or is_hub(file) else 1_000_000
    last = -1

    def tell(done: int, total: int) -> None:
        nonlocal last
        if done // unit != last:
            last = done // unit
            bar(last, -(-total // unit))

    return tell
