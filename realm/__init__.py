"""ReaLM (arXiv 2508.12387): a small language model becomes a reasoner for its domain, taught by right and wrong CoTs.

The names below are the public interface (docs/python.md); each is imported when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realm.bank.cot import CoT
    from realm.bank.store import Bank
    from realm.commands.asking import Answer, Student
    from realm.commands.collecting import collect
    from realm.commands.configuring import load_config
    from realm.commands.evaluating import evaluate
    from realm.commands.reporting import report
    from realm.commands.training import train
    from realm.config import Config
    from realm.errors import UserError
    from realm.method.completion import Completion, parse
    from realm.method.prompt import DEFAULT_WORDING, Example, Tags, Wording, messages
    from realm.method.reward import Reward, Weights, reward, scoring
    from realm.method.routes import Route, Selection, draw, select
    from realm.method.schedule import Schedule, fade
    from realm.student.scoring import RewardFunction
    from realm.training.trainer import ReaLMTrainer

#: The one place of it: the package is built with it, and `realm --version` shows it.
__version__ = "0.1.0"

_HOMES = {
    "realm.bank.cot": ("CoT",),
    "realm.bank.store": ("Bank",),
    "realm.commands.asking": ("Answer", "Student"),
    "realm.commands.collecting": ("collect",),
    "realm.commands.evaluating": ("evaluate",),
    "realm.commands.reporting": ("report",),
    "realm.commands.training": ("train",),
    "realm.commands.configuring": ("load_config",),
    "realm.config": ("Config",),
    "realm.errors": ("UserError",),
    "realm.method.completion": ("Completion", "parse"),
    "realm.method.prompt": ("DEFAULT_WORDING", "Example", "Tags", "Wording", "messages"),
    "realm.method.reward": ("Reward", "Weights", "reward", "scoring"),
    "realm.method.routes": ("Route", "Selection", "draw", "select"),
    "realm.method.schedule": ("Schedule", "fade"),
    "realm.student.scoring": ("RewardFunction",),
    "realm.training.trainer": ("ReaLMTrainer",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = [
    "DEFAULT_WORDING",
    "Answer",
    "Bank",
    "CoT",
    "Completion",
    "Config",
    "Example",
    "ReaLMTrainer",
    "Reward",
    "RewardFunction",
    "Route",
    "Schedule",
    "Selection",
    "Student",
    "Tags",
    "UserError",
    "Weights",
    "Wording",
    "collect",
    "draw",
    "evaluate",
    "fade",
    "load_config",
    "messages",
    "parse",
    "report",
    "reward",
    "scoring",
    "select",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOME[name]), name)
    if name in ("collect", "evaluate", "report", "train"):
        found = importlib.import_module("realm.commands.python").called(found)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
