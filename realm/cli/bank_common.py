"""What the commands on a bank's files share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from realm.config import Config
    from realm.tasks.base import Task
    from realm.tasks.workers import VerifierPool

BankFolderPath = Annotated[Path, typer.Argument(metavar="BANK", help="The bank's folder.", show_default=False)]
ConfigPath = Annotated[
    Path | None,
    typer.Option("--config", metavar="CONFIG", help="YAML file of the task the CoTs are for.", show_default=False),
]


def _named(verifier: str | None) -> str | None:
    from realm.plugins import trust

    trust(verifier)
    return verifier


VerifierName = Annotated[
    str | None,
    typer.Option(
        "--verifier",
        metavar="NAME",
        help="exact, number, choice, math, python, desk or package.module:attribute.",
        show_default=False,
        callback=_named,
    ),
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes of the slow verifiers.")]


def settings_of(command: str, config: Path | None, overrides: list[str] | None) -> tuple[Config, Task | None]:
    """The configuration, and its task where a configuration (a file or the folder of a run) was named.

    Raises:
        ConfigError: see `realm.config.load_config` and `refuse_unread`.
    """
    from realm.cli.common import refuse_unread
    from realm.config import load_config
    from realm.tasks.registry import load_task

    settings = load_config(config, overrides or ())
    refuse_unread(command if config is None else f"{command} --config", overrides or (), settings)
    return settings, load_task(settings) if config is not None else None


def verifier_pool(name: str, settings: Config, workers: int = 2) -> VerifierPool:
    """The verifier of that name with the configured choices and limit."""
    from realm.tasks.workers import VerifierPool

    return VerifierPool(name, settings.task.choices, settings.task.verifier_timeout, workers)
