"""The task that a configuration names."""

from __future__ import annotations

from collections.abc import Sequence
from pkgutil import resolve_name

from realm.config import Config
from realm.method.prompt import Wording
from realm.tasks.base import Task
from realm.tasks.gsm8k import load_gsm8k
from realm.tasks.hints import hinted_wording
from realm.tasks.jsonl import load_jsonl

#: The desk stands on this room, and is therefore named.
_DESK = "realm.desk.task:DeskTask"


def load_task(config: Config) -> Task:
    """Load and check the configured task.

    The splits of a file depend on `task.split_seed`, `run.seed` where it has none; the desk's are fixed.

    Raises `DataError` for files that cannot be used as they are, `ConfigError` for choices that cannot be told apart.
    """
    settings = config.task
    if settings.name == "desk":
        desk: Task = resolve_name(_DESK)(max_train=settings.max_train, max_test=settings.max_test)
        return desk
    seed = config.run.seed if settings.split_seed is None else settings.split_seed
    if settings.name == "gsm8k":
        return load_gsm8k(settings, seed)
    return load_jsonl(settings, seed)


def wording_of(task: str, verifier: str, choices: Sequence[str]) -> Wording:
    """The wording of a task that is known by its name alone, with the verifier of its answers."""
    if task != "desk":
        return hinted_wording(verifier, choices)
    desk: Wording = resolve_name(_DESK).wording
    return desk
