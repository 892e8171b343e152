"""Plug-ins: what a name in the configuration stands for, in this package or in another one.

A name is looked up in the package's own table, then among the entry points of a group, which an installed package
declares in its pyproject.toml:

    [project.entry-points."realm.recipes"]
    mine = "my_package.recipes:MINE"

and `my_package.recipes:MINE` may stand for itself where Python finds that module, by PYTHONPATH for instance, and the
user has named it (`trust`): the files of a run or of a bank, which may be anybody's, have nothing imported. There are
`realm.recipes` (a `realm.recipes.stage.Recipe`) and functions: `realm.tasks` (`TASKS` in `realm.tasks.registry`),
`realm.verifiers` (`VERIFIERS` in `realm.tasks.verify`), `realm.teachers` (`realm.teacher.base.Wanted`),
`realm.selections` (`realm.method.routes.Strategy`), `realm.schedules` (`realm.method.schedule.Kind`) and `realm.rules`
(`realm.method.reward.Rule`).
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import logging
import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from realm.errors import ConfigError
from realm.method.outside import OutsideError

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
#: What the user has named, among it every `package.module:attribute` that may be imported.
_NAMED: set[str] = set()


def shelf(package: str) -> dict[str, str]:
    """The functions of a package that has a file for each, by name, for `find`; nothing is imported."""
    place = Path(__file__).parent.joinpath(*package.split(".")[1:])
    return {one.name: f"{package}.{one.name}:{one.name}" for one in pkgutil.iter_modules([str(place)])}


def trust(named: Any) -> None:
    """Let what the user has named, a text or any mapping or list of texts, be imported where it names a plug-in."""
    found, seen = [named], set[int]()
    while found:
        one = found.pop()
        if isinstance(one, str):
            _NAMED.add(one)
        elif isinstance(one, Mapping | list) and id(one) not in seen:
            seen.add(id(one))  # a mapping of YAML may hold itself
            found += [*one, *one.values()] if isinstance(one, Mapping) else one


def find(point: str, name: str, own: Mapping[str, T | str], kind: type[T] | None = None) -> T:
    """What is called `name`.

    Args:
        point: the last part of the group's name, such as `recipes` of `realm.recipes`.
        own: the package's, by name; a text says where it is, `module:attribute`, and is imported when it is wanted.
        kind: what it has to be an instance of; None: something that can be called.

    Raises:
        ValueError: there is none, the user has not named it, it cannot be imported, or it is of another kind. One line,
            without a full stop.
    """
    found: Any
    if name in own:
        found = own[name]
        return pkgutil.resolve_name(found) if isinstance(found, str) else found
    found = _import(_entry(point, name, tuple(own)))
    if not (callable(found) if kind is None else isinstance(found, kind)):
        raise ValueError(f"{name} is {type(found).__name__}, expected {kind.__name__ if kind else 'a function'}")
    plugin: T = found
    return plugin


def take(point: str, name: str, own: Mapping[str, Any], where: str) -> Any:
    """As `find`, of the configuration's key `where`, with a `ConfigError`."""
    try:
        return find(point, name, own)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}, found {name!r}.") from error


@contextlib.contextmanager
def outside() -> Iterator[None]:
    """What a plug-in gives the method, and may not, is a `ConfigError`."""
    try:
        yield
    except OutsideError as error:
        raise ConfigError(f"{error}.") from error


def check(point: str, name: str, own: Mapping[str, Any]) -> str:
    """The name, where it can be one of the point; nothing is imported.

    Raises:
        ValueError: as of `find`.
    """
    if name not in own:
        _entry(point, name, tuple(own))
    return name


def files(point: str, name: str, own: Mapping[str, Any]) -> list[Path]:
    """The source of a plug-in of another package: its module, or every one of its package. None is imported."""
    if name in own:
        return []
    try:
        spec = find_spec(_entry(point, name, tuple(own)).module.partition(".")[0])
    except (ValueError, ImportError, AttributeError):  # nothing of that name, or no name
        return []
    places = [Path(place) for place in (spec.submodule_search_locations or () if spec else ())]
    if places:
        return sorted(path for place in places for path in place.rglob("*.py"))
    return [Path(spec.origin)] if spec and spec.origin else []


@functools.cache
def _entry(point: str, name: str, own: tuple[str, ...]) -> EntryPoint:
    group = entry_points(group=f"realm.{point}")
    if found := next((entry for entry in group if entry.name == name), None):
        return found
    if ":" in name:
        return EntryPoint(name, name, f"realm.{point}")
    names = [*own, *sorted(group.names)]
    near = difflib.get_close_matches(name, names, 1, 0.5)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise ValueError(f"expected {', '.join(names)} or a package.module:attribute{hint}")


@functools.cache
def _import(entry: EntryPoint) -> Any:
    if entry.name == entry.value and entry.value not in _NAMED:
        raise ValueError(
            f"{entry.value} is no installed plug-in, and what only the files of a run or a bank name is not imported; "
            "if you trust it, name it yourself (--set, --verifier or a configuration file)"
        )
    try:
        module = import_module(entry.module)
        found = functools.reduce(getattr, entry.attr.split("."), module)
    except Exception as error:  # whatever the module of somebody else does as it is imported
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{entry.value} cannot be imported ({type(error).__name__}: {reason})") from error
    _LOG.info("%s %s: %s", entry.group, entry.name, getattr(module, "__file__", entry.module))
    return found
