"""What the commands share: their common arguments, and how these become one configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from realm.config import Config

#: Where a command's context keeps the arguments it was called with.
ARGUMENTS = "realm.arguments"

ConfigFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="CONFIG",
        help="YAML file with what differs from the defaults, or the folder of a run. Without it: the embedded desk.",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one key, e.g. --set training.rl.steps=200. Repeatable. All keys: realm train --show-config",
        show_default=False,
    ),
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="DIR", help="Model directory or Hub name, as model.path.", show_default=False),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what was stopped, or start it.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


def resolve(path: Path | None, overrides: Sequence[str] | None, *, model: str | None = None) -> Config:
    """The configuration of a command: file (or run folder), `--set`, `--model`; later ones win.

    Raises:
        ConfigError: see `realm.config.load_config`.
    """
    from realm.commands.configuring import load_config
    from realm.sections import PACKAGED_BASE

    config = load_config(path, overrides or ())
    if model is not None:
        config.model.path = model
    if config.model.path == PACKAGED_BASE:
        # More threads only wait for each other on a model this small. Read when torch is imported, that is: later.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    return config


def place_run(config: Config, folder: Path | None) -> None:
    """Let `folder` (the option --out) be the run's folder."""
    if folder is not None:
        config.run.dir, config.run.name = str(folder.parent), folder.name
