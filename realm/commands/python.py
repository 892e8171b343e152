"""The commands as Python calls them: what their errors say of options is said of arguments."""

import functools
import re
from collections.abc import Callable
from os import PathLike
from typing import Any, ParamSpec, TypeVar

from realm.errors import ConfigError, UserError

P = ParamSpec("P")
R = TypeVar("R")
#: An option is read as an argument of the function, or where that has none, as a setting of its configuration.
_ARGUMENTS = {"--resume": "resume=True", "--overwrite": "overwrite=True", "--out": "out", "--model": "model"}
_SETTINGS = {"--out": "run.dir", "--model": "model.path"}
# A whole command is one for the command line, and stays.
_OPTION = re.compile(
    r"realm [a-z]+ [^;`\n]*?(?=[;`\n]|\.?$)"
    r"|--set '?(?P<set>[\w.]+=[^\s;']+)'?|--out (?P<dir>[^\s;]*/)?(?P<name>[^\s;/]*\d)(?=[\s;.])|--[a-z]+",
)


def called(function: Callable[P, R]) -> Callable[P, R]:
    """The function, raising its `UserError`s in the words of a script."""

    def worded(match: re.Match[str]) -> str:
        if match["set"]:
            return f"{match['set']} in the configuration"
        if match["name"]:
            return f"run.dir={(match['dir'] or './').rstrip('/')} run.name={match['name']}"
        names: Any = function.__code__
        told, option = _ARGUMENTS.get(match[0], match[0]), match[0].removeprefix("--")
        known = option in names.co_varnames[: names.co_argcount + names.co_kwonlyargcount]
        return told if known else _SETTINGS.get(match[0], told)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given = args[0] if args else kwargs.get("config")
        if function.__code__.co_varnames[0] == "config" and isinstance(given, str | PathLike):
            raise ConfigError(f"config: expected a Config, found the text {given!r}; read it by realm.load_config.")
        try:
            return function(*args, **kwargs)
        except UserError as error:
            error.args = (_OPTION.sub(worded, str(error)),)
            raise

    return call
