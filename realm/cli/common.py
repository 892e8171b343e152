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

_RUN = ("run.name", "run.dir", "run.seed")
_BANK = ("bank.path", "bank.mapping", "bank.relabel")
_JUDGING = ("task.choices", "task.verifier_timeout")
#: What each command reads of the configuration; without a configuration that names the task, or with it. `routes.k` and
#: `bank.samples` go wherever one is read: they are checked against each other.
READ = {
    "collect": (
        *_RUN,
        "task",
        "teachers",
        "collect",
        "guidance",
        "bank.path",
        "bank.samples",
        "routes.k",
        "model.date",
    ),
    "train": ("run", "task", "model", "bank", "routes", "fade", "reward", "prompt", "training", "evaluation"),
    "evaluate": (
        *(*_RUN, "task", "model", *_BANK, "bank.samples", "routes", "prompt", "evaluation", "training.recipe"),
        "training.rl.max_completion_length",
    ),
    "bank import": ("task.name", "task.verifier", "task.bad_rows", *_JUDGING, "bank.mapping", "bank.relabel"),
    "bank import --config": ("run.seed", "task", "bank.mapping", "bank.relabel"),
    "bank label": _JUDGING,
    "bank label --config": ("run.seed", "task"),
    "bank validate": _JUDGING,
    "bank validate --config": ("run.seed", "task"),
}
#: Runs that ask teachers themselves read how these are asked, too.
_ASKING = ("teachers", "guidance", "collect")


def refuse_unread(command: str, overrides: Sequence[str], config: Config) -> None:
    """Raise `ConfigError` for a `--set` of what the command does not read: nothing would come of it."""
    from realm.errors import ConfigError
    from realm.sections import asks_teachers

    def has(read: Sequence[str], key: str) -> bool:
        return any(f"{key}.".startswith(f"{one}.") or f"{one}.".startswith(f"{key}.") for one in read)

    read = READ[command]
    if command == "train" and asks_teachers(config.training.sft.traces):
        read = (*read, *_ASKING)
    for text in overrides:
        key = text.partition("=")[0].strip()
        if has(read, key):
            continue
        if key == "task.verifier":
            also = "" if command == "bank validate" else ", or give --verifier"
            instead = f"name the task's file with --config{also}"
        elif f"{command} --config" in READ and has(READ[f"{command} --config"], key):
            instead = "it does so with --config FILE only, the file of the task"
        else:
            readers = [f"realm {name}" for name, keys in READ.items() if "--config" not in name and has(keys, key)]
            instead = f"it is read by {' and '.join(readers)}; leave it out here"
        raise ConfigError(f"--set {text}: realm {command} does not read {key}: {instead}.")


def resolve(
    path: Path | None, overrides: Sequence[str] | None, *, model: str | None = None, command: str | None = None
) -> Config:
    """The configuration of a command: file (or run folder), `--set`, `--model`; later ones win.

    Args:
        command: one of `READ`, which refuses what it would not read; None: everything is read.

    Raises:
        ConfigError: see `realm.config.load_config` and `refuse_unread`.
    """
    from realm.commands.configuring import load_config
    from realm.sections import PACKAGED_BASE

    config = load_config(path, overrides or ())
    if command is not None:
        refuse_unread(command, overrides or (), config)
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
