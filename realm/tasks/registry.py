"""The task that a configuration names."""

from __future__ import annotations

from realm.config import Config
from realm.tasks.base import Task
from realm.tasks.gsm8k import load_gsm8k
from realm.tasks.jsonl import load_jsonl


def load_task(config: Config) -> Task:
    """Load and check the configured task.

    The splits of a file depend on `task.split_seed`, `run.seed` where it has none; the desk's are fixed.

    Raises `DataError` for files that cannot be used as they are, `ConfigError` for choices that cannot be told apart.
    """
    settings = config.task
    if settings.name == "desk":
        # Imported here: the desk is a task of its own and rests on this package.
        from realm.desk.task import DeskTask

        return DeskTask(max_train=settings.max_train, max_test=settings.max_test)
    seed = config.run.seed if settings.split_seed is None else settings.split_seed
    if settings.name == "gsm8k":
        return load_gsm8k(settings, seed)
    return load_jsonl(settings, seed)
