"""Plug-ins: what a name in the configuration stands for, in this package or in another one.

A name is looked up in the package's own table, then among the entry points of a group, which an installed package
declares in its pyproject.toml:

    [project.entry-points."realm.recipes"]
    mine = "my_package.recipes:MINE"

and `my_package.recipes:MINE` may stand for itself where Python finds that module, by PYTHONPATH for instance. There are
`realm.recipes` (a `realm.recipes.stage.Recipe`), `realm.tasks` and `realm.verifiers` (functions: see `TASKS` in
`realm.tasks.registry` and `VERIFIERS` in `realm.tasks.verify`).
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

T = TypeVar("T")


def find(point: str, name: str, own: Mapping[str, T], kind: type[T] | None = None) -> T:
    """What is called `name`.

    Args:
        point: the last part of the group's name, such as `recipes` of `realm.recipes`.
        own: the package's, by name.
        kind: what it has to be an instance of; None: something that can be called.

    Raises:
        ValueError: there is none, it cannot be imported, or it is of another kind. One line, without a full stop.
    """
    if name in own:
        return own[name]
    found = _outside(point, name, tuple(own))
    if not (callable(found) if kind is None else isinstance(found, kind)):
        raise ValueError(f"{name} is {type(found).__name__}, expected {kind.__name__ if kind else 'a function'}")
    plugin: T = found
    return plugin


@functools.cache
def _outside(point: str, name: str, own: tuple[str, ...]) -> Any:
    group = entry_points(group=f"realm.{point}")
    entry = next((entry for entry in group if entry.name == name), None)
    if entry is None and ":" in name:
        entry = EntryPoint(name, name, f"realm.{point}")
    if entry is None:
        names = [*own, *sorted(group.names)]
        near = difflib.get_close_matches(name, names, 1, 0.5)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"expected {', '.join(names)} or a package.module:attribute{hint}")
    module, _, attribute = entry.value.partition(":")
    try:
        return functools.reduce(getattr, attribute.strip().split("."), import_module(module.strip()))
    except Exception as error:  # whatever the module of somebody else does as it is imported
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{entry.value} cannot be imported ({type(error).__name__}: {reason})") from error
