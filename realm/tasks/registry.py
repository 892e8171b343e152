"""The task that a configuration names."""

import logging
from collections.abc import Callable, Sequence
from pkgutil import resolve_name

from realm.config import Config
from realm.display import printable
from realm.method.prompt import Wording
from realm.plugins import take, trust
from realm.sections import DESKS, TaskConfig
from realm.tasks.base import Task
from realm.tasks.gsm8k import load_gsm8k
from realm.tasks.hints import hinted_wording
from realm.tasks.jsonl import load_jsonl

_LOG = logging.getLogger(__name__)
#: The desk stands on this room, and is therefore named.
_DESK = "realm.desk.task:DeskTask"


def _load_desk(settings: TaskConfig, seed: int) -> Task:
    hard = settings.name == "desk-hard"
    desk: Task = resolve_name(_DESK)(max_train=settings.max_train, max_test=settings.max_test, hard=hard)
    return desk


#: The tasks of this package, made of the section `task` and the seed by which a file's questions are split.
TASKS: dict[str, Callable[[TaskConfig, int], Task]] = {
    "desk": _load_desk,
    "desk-hard": _load_desk,
    "gsm8k": load_gsm8k,
    "jsonl": load_jsonl,
}


def load_task(config: Config) -> Task:
    """Load and check the configured task (see `realm.plugins` for those of other packages).

    The splits of a file depend on `task.split_seed`, `run.seed` where it has none; the desk's are fixed.

    Raises `DataError` for files that cannot be used as they are, `ConfigError` for a name that is no task's, or choices
    that cannot be told apart.
    """
    settings = config.task
    make: Callable[[TaskConfig, int], Task] = take("tasks", settings.name)
    task = make(settings, config.run.seed if settings.split_seed is None else settings.split_seed)
    trust(task.verifier.name)  # the processes that judge find it by this name
    own, usual = settings.name in TASKS and settings.name != "jsonl", TaskConfig.model_fields["verifier"].default
    if own and settings.verifier_name not in (usual, task.verifier.name):
        _LOG.warning(
            "task.verifier: %s judges nothing, the task %s brings a verifier of its own, %s; for another one take "
            "task.name: jsonl",
            printable(settings.verifier_name), task.name, printable(task.verifier.name),
        )  # fmt: skip
    return task


def wording_of(task: str, verifier: str, choices: Sequence[str]) -> Wording:
    """The wording of a task that is known by its name alone, with the verifier of its answers."""
    if task not in DESKS:
        return hinted_wording(verifier, choices)
    desk: Wording = resolve_name(_DESK).wording
    return desk
