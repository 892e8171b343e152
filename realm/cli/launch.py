"""`--launch`: the same command once more, on several processes, through `accelerate launch`."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from realm.errors import ConfigError
from realm.processes import LAUNCH

#: Seconds that the launcher (torchrun underneath) leaves its processes after a SIGTERM before it kills them; its own
#: default of 30 is less than a step of a large model and its checkpoint may take.
SHUTDOWN = ("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "600")


def launch_command(launch: str, arguments: Sequence[str]) -> list[str]:
    """The command that runs `realm ARGUMENTS` under accelerate.

    Args:
        launch: arguments of `accelerate launch`; one that begins with a file's name takes it as the --config_file.
        arguments: of this command, with its `--launch`, which is left out.

    Raises:
        ConfigError: the file is not there, or the quotes do not match.
    """
    try:
        options = shlex.split(launch)
    except ValueError as error:
        raise ConfigError(f"--launch {launch}: cannot be split into arguments ({error}).") from error
    if options and not options[0].startswith("-"):
        if not Path(options[0]).is_file():
            raise ConfigError(
                f"--launch {launch}: there is no file {options[0]}; give a file of accelerate (see configs/accelerate) "
                'or its arguments, e.g. --launch "--multi_gpu --num_processes 4".'
            )
        options = ["--config_file", *options]
    accelerate = [sys.executable, "-m", "accelerate.commands.launch"]
    return [*accelerate, *options, "-m", "realm", *_without_launch(arguments)]


def _without_launch(arguments: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip or argument.startswith("--launch="):
            skip = False
        elif argument == "--launch":
            skip = True
        else:
            kept.append(argument)
    return kept


def launch_here(launch: str, arguments: Sequence[str]) -> NoReturn:
    """Become the launcher: signals and the exit code are its own from here on.

    Raises:
        ConfigError: see `launch_command`; or this process was itself launched.
    """
    if "WORLD_SIZE" in os.environ:
        raise ConfigError(
            "--launch: this is one of several processes already (WORLD_SIZE is set); leave --launch away."
        )
    command = launch_command(launch, arguments)
    os.environ.setdefault(*SHUTDOWN)
    os.environ[LAUNCH] = launch  # so that they can say how to go on
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)
