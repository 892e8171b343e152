"""What `realm train` prints of a run's needs before it starts."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from realm.processes import main_process

if TYPE_CHECKING:
    from realm.bank.store import Bank
    from realm.config import Config
    from realm.tasks.base import Task
    from realm.tasks.workers import VerifierPool
    from realm.training.estimate import Lengths


def refuse(config: Config) -> None:
    """Stop before anything is loaded that cannot fit.

    Raises:
        ResourceError: see `refuse_what_cannot_fit`.
    """
    from realm.errors import ConfigError, ModelError
    from realm.training.fit import refuse_what_cannot_fit
    from realm.training.memory import memory

    with suppress(ModelError, ConfigError):  # told by the checks that follow, together with what else is wrong
        refuse_what_cannot_fit(config, memory(config))


def has_rl(config: Config) -> bool:
    """Whether the recipe has RL, of which the probe measures two steps."""
    from realm.recipes import plan

    return any(stage.kind == "rl" for stage in plan(config))


def refuse_with_prompts(config: Config, task: Task, bank: Bank | None) -> None:
    """Stop what is far too big for the memory; call it when configuration, task and model have been found good.

    Raises:
        ResourceError: see `refuse_what_hardly_fits`.
    """
    from realm.errors import ModelError
    from realm.training.estimate import outline
    from realm.training.fit import refuse_what_hardly_fits
    from realm.training.memory import memory

    with suppress(ModelError):  # there is no estimate, and trained it may be all the same
        refuse_what_hardly_fits(config, outline(config), _lengths(config, task, bank), memory(config))


def _lengths(config: Config, task: Task, bank: Bank | None) -> Lengths:
    from realm.recipes import plan
    from realm.student.load import context_length, load_outline, load_tokenizer
    from realm.training.estimate import prompt_lengths
    from realm.training.renderer import Renderer

    context = context_length(load_outline(config.model.path), config)
    renderer = Renderer(
        config, task, bank, load_tokenizer(config.model.path, config.model), context, k=plan(config)[-1].k
    )
    return prompt_lengths(config, renderer)


def show_estimate(config: Config, task: Task, bank: Bank | None) -> None:
    """Print the estimate on stderr, once; call it when configuration, task and model have been found good."""
    if not main_process():
        return
    from realm.errors import ModelError
    from realm.training.estimate import outline
    from realm.training.fit import describe
    from realm.training.memory import memory

    try:
        model = outline(config)
    except ModelError as error:  # trained it may be all the same
        typer.echo(f"no estimate: {error}", err=True)
        return
    for line in describe(config, model, _lengths(config, task, bank), memory(config)):
        typer.echo(line, err=True)


def show_probe(config: Config, task: Task, bank: Bank | None, pool: VerifierPool) -> None:
    """Measure two short steps and print what they say of the run."""
    from realm.recipes import plan
    from realm.training.fit import size
    from realm.training.probe import probe

    stages = plan(config)
    if not has_rl(config):
        typer.echo(f"time     not measured: the recipe {config.training.recipe} has no RL", err=True)
        return
    found = probe(config, task, bank, pool, k=stages[-1].k)
    if not main_process():
        return
    steps = sum(stage.steps for stage in stages if stage.kind == "rl")
    hours = found.seconds * steps / 3600
    span = f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.1f} minutes"
    typer.echo(
        f"time     {found.seconds:.2g} s a step of RL, measured on two short ones; {span} for {steps} steps\n"
        f"memory   {size(found.peak)} measured in them",
        err=True,
    )
