"""What `realm train` prints of a run's needs before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from realm.display import printable
from realm.processes import main_process

if TYPE_CHECKING:
    from realm.tasks.workers import VerifierPool
    from realm.training.prepare import Prepared, Sketch


def show_estimate(prepared: Prepared | Sketch) -> None:
    """Print the estimate on stderr, once."""
    if not main_process():
        return
    from realm.training.fit import describe

    if prepared.outline is None:
        path = prepared.config.model.path
        typer.echo(f"no estimate: the configuration of {path} does not tell how large its layers are", err=True)
        return
    for line in describe(prepared.config, prepared.outline, prepared.lengths, prepared.memory):
        typer.echo(line, err=True)


def say_unmeasured(path: str) -> None:
    """Print that no step was measured, as the weights are not here."""
    if main_process():
        typer.echo(printable(f"time     not measured: the weights of {path} are not on this machine"), err=True)


def show_probe(prepared: Prepared, pool: VerifierPool) -> None:
    """Measure two short steps and print what they say of the run; the prepared model is used up."""
    from realm.training.fit import size
    from realm.training.probe import probe

    steps = sum(stage.steps for stage in prepared.stages if stage.kind == "rl")
    if not steps:
        recipe = prepared.config.training.recipe
        typer.echo(f"time     not measured: the recipe {recipe} has no RL", err=True)
        return
    found = probe(prepared, pool)
    if not main_process():
        return
    hours = found.seconds * steps / 3600
    span = f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.1f} minutes"
    typer.echo(
        f"time     {found.seconds:.2g} s a step of RL, measured on two short ones; {span} for {steps} steps\n"
        f"memory   {size(found.peak)} measured in them, on {found.completions} of a step's "
        f"{prepared.config.training.rl.batch_size} completions and the prompts that came: the least that the run "
        "needs, where the peak above is the most",
        err=True,
    )
