"""`realm bank …`: everything that is done with a bank once its CoTs are there."""

import typer

from realm.cli import bank_files, bank_look

app = typer.Typer(
    no_args_is_help=True, help="Import, label, check and understand a bank of CoTs.", rich_markup_mode="markdown"
)
app.command("import", epilog="Example: realm bank import cots.jsonl banks/mine --verifier number")(
    bank_files.import_bank
)
app.command("export", epilog="Example: realm bank export banks/mine cots.parquet --to parquet")(bank_files.export)
app.command("label", epilog="Example: realm bank label banks/mine --workers 2")(bank_files.label)
app.command("validate", epilog="Example: realm bank validate banks/mine --config my-task.yaml")(bank_files.validate)
app.command("compact", epilog="Example: realm bank compact banks/mine")(bank_files.compact)
app.command("stats", epilog="Example: realm bank stats banks/mine --model models/my-slm")(bank_look.stats)
app.command("errors", epilog="Example: realm bank errors banks/mine")(bank_look.errors)
app.command("select", epilog="Example: realm bank select banks/mine --show 2")(bank_look.select)
