"""`realm export`: a run as files of other trainers, its model as a folder to publish, or for llama.cpp and Ollama."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from realm.cli.common import ConfigFile, Model, Overrides, Overwrite, resolve
from realm.errors import ConfigError
from realm.files import fresh

app = typer.Typer(no_args_is_help=True, help="Hand a run over to another trainer, or its model to others.")


@app.callback()
def export() -> None:
    """Hand a run over to another trainer, or its model to others."""


@app.command(epilog="Example: realm export verl configs/gsm8k-gpu.yaml --out verl/gsm8k")
def verl(
    config: ConfigFile = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files; it is made.")] = Path("verl"),
    overrides: Overrides = None,
    model: Model = None,
    overwrite: Overwrite = False,
) -> None:
    """Write what verl (Ray, many nodes) needs to run the RL stage with the same prompts and the same reward.

    Parquet files with questions, routes and labels, and verl's configuration. verl renders prompts and pays rewards
    with this package, which must be installed beside it. A cold start (realm-r1) is trained here first: --model.
    """
    resolved = resolve(config, overrides, model=model)
    fresh(out / "verl.yaml", overwrite)

    from realm.commands.configuring import as_taught
    from realm.exchange.run_bank import open_run_bank
    from realm.recipes import plan
    from realm.tasks.registry import load_task
    from realm.tasks.workers import VerifierPool
    from realm.training.prepare import cold
    from realm.training.verl_export import export_verl, start_command, without_counterpart

    stages = plan(resolved)
    if stages[-1].kind != "rl":
        raise ConfigError(f"training.recipe: {resolved.training.recipe} has no RL; take realm-r1, realm-zero or grpo.")
    for point in ("shapes", "companions"):
        if getattr(resolved.training.rl, point):
            raise ConfigError(f"training.rl.{point}: verl's update knows none; set it to [].")
    resolved = cold(as_taught(resolved, resolved.model.path), stages)
    task = load_task(resolved)
    with VerifierPool(task.verifier.name, resolved.task.choices, resolved.task.verifier_timeout) as pool:
        bank = open_run_bank(resolved, task, pool)
    for file in export_verl(resolved, task, bank, out, k=stages[-1].k):
        typer.echo(str(file))
    for line in without_counterpart(resolved):
        typer.echo(f"verl has no counterpart: {line}", err=True)
    if stages[0].kind == "sft" and model is None:
        typer.echo(
            "the cold start is not part of it: train it here, and export with --model "
            f"{stages[0].folder(Path('<run>')) / 'model'} (<run>/model is the model after RL)",
            err=True,
        )
    typer.echo(f"start: {start_command(out)}")


@app.command(epilog="Example: realm export hub runs/desk published/desk --push me/desk")
def hub(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the files; it is made.")],
    push: Annotated[
        str | None,
        typer.Option(
            "--push",
            metavar="OWNER/NAME",
            help="Upload them to the Hub, by HF_TOKEN or `hf auth login`.",
            show_default=False,
        ),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="A new repository is for everybody; without it: private.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write the folder to publish: the model, its tokenizer and its card, and nothing that is private.

    No optimizer state, no configuration, no question, no place on this machine. Read README.md, the card, before you
    publish it. Nothing is uploaded without --push.
    """
    if public and push is None:
        raise ConfigError("--public: is for --push.")

    from realm.commands import sharing

    if push is not None:
        sharing.check_name(push)
    files = sharing.export_hub(run, folder, overwrite=overwrite)
    for file in files:
        typer.echo(str(file))
    if push is not None:
        typer.echo(f"pushed: {sharing.push(folder, files, push, public=public)}")


@app.command(epilog="Example: realm export gguf runs/desk --out gguf/desk")
def gguf(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files; it is made.")] = Path("gguf"),
    dtype: Annotated[
        Literal["f32", "f16", "bf16"],
        typer.Option("--dtype", help="Type of the weights: f32 holds what was trained, the others round it."),
    ] = "f16",
    overwrite: Overwrite = False,
) -> None:
    """Write the model for llama.cpp and Ollama: a GGUF file, a Modelfile with the prompt of its training, and a card.

    For Llama, Qwen2, Qwen3 (byte-level vocabularies) and Gemma 3; other models are refused. Needs the package gguf
    (`pip install 'realm-slm[gguf]'`).
    """
    from realm.commands.gguf_export import export_gguf

    for file in export_gguf(run, out, dtype=dtype, overwrite=overwrite, tell=lambda text: typer.echo(text, err=True)):
        typer.echo(str(file))
