"""Plug-ins: what a name in the configuration stands for, in this package or in another one.

A name is looked up in the package's own table, then among the entry points of a group, which an installed package
declares in its pyproject.toml:

    [project.entry-points."realm.recipes"]
    mine = "my_package.recipes:MINE"

and `my_package.recipes:MINE` may stand for itself where Python finds that module, by PYTHONPATH for instance, and the
user has named it (`trust`): the files of a run or of a bank, which may be anybody's, have nothing imported. `POINTS`
are the groups; docs/reference/plugins.md says what is expected of each.
"""

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
from typing import Any, NamedTuple

from realm.display import printable
from realm.errors import ConfigError
from realm.method.outside import OutsideError

_LOG = logging.getLogger(__name__)
#: What the user has named, among it every `package.module:attribute` that may be imported.
_NAMED: set[str] = set()


class Point(NamedTuple):
    """A point of plug-ins, the group `realm.…` of entry points.

    Attributes:
        key: of the configuration, dotted, `NAME` being any name; there stands a name, or one with its options ({name:
            {…}}), or a list of these. Empty: only a recipe names it (`realm.recipes.stage.Stage.kind`).
        own: where the package's own are by name: a mapping, or a package with a file for each. A value that is a text
            says where it is, and is imported when it is wanted.
        kind: where the class of all of them is; empty: they are functions, or classes.
    """

    key: str
    own: str
    kind: str = ""

    @property
    def table(self) -> Mapping[str, Any]:
        table: Mapping[str, Any] = pkgutil.resolve_name(self.own) if ":" in self.own else _shelf(self.own)
        return table


POINTS = {
    "tasks": Point("task.name", "realm.tasks.registry:TASKS"),
    "verifiers": Point("task.verifier", "realm.tasks.verify:VERIFIERS"),
    "teachers": Point("teachers.NAME.kind", "realm.sections:TEACHERS"),
    "selections": Point("routes.selection", "realm.method.routes:STRATEGIES"),
    "schedules": Point("fade.schedule", "realm.method.schedule:SCHEDULES"),
    "rules": Point("reward.rule", "realm.method.reward:RULES"),
    "recipes": Point("training.recipe", "realm.recipes:RECIPES", "realm.recipes.stage:Recipe"),
    "steps": Point("training.sft.traces", "realm.traces.steps"),
    "weighs": Point("training.sft.weigh", "realm.traces.weighs"),
    "miners": Point("training.pairs.miner", "realm.traces.miners"),
    "shapes": Point("training.rl.shapes", "realm.training.shapes:SHAPES"),
    "companions": Point("training.rl.companions", "realm.training.companions:COMPANIONS"),
    "stages": Point("", "realm.training.stages:KINDS"),
}


@functools.cache
def _shelf(package: str) -> dict[str, str]:
    """The functions of a package that has a file for each, by name; nothing is imported."""
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


def find(point: str, name: str) -> Any:
    """What is called `name` at a point.

    Raises:
        ValueError: there is none, the user has not named it, it cannot be imported, or it is of another kind. One line,
            without a full stop.
    """
    own, kind = POINTS[point].table, POINTS[point].kind
    found: Any = own[name] if name in own else _import(_entry(point, name))
    if name in own:
        return pkgutil.resolve_name(found) if isinstance(found, str) else found
    if not (isinstance(found, pkgutil.resolve_name(kind)) if kind else callable(found)):
        expected = kind.rpartition(":")[2] or "a function"
        raise ValueError(f"{name} is {type(found).__name__}, expected {expected}")
    return found


def take(point: str, name: str, key: str = "") -> Any:
    """As `find`, with a `ConfigError` that names the point's key, or another one."""
    try:
        return find(point, name)
    except ValueError as error:
        raise ConfigError(f"{key or POINTS[point].key}: {error}, found {name!r}.") from error


@contextlib.contextmanager
def outside() -> Iterator[None]:
    """What a plug-in gives the method, and may not, is a `ConfigError`."""
    try:
        yield
    except OutsideError as error:
        raise ConfigError(f"{error}.") from error


def check(point: str, name: str) -> str:
    """The name, where it can be one of the point; nothing is imported.

    Raises:
        ValueError: as of `find`.
    """
    if name not in POINTS[point].table:
        _entry(point, name)
    return name


def entry(value: Any) -> tuple[str, dict[str, Any]]:
    """The name and the options of what stands at a point's key: `right`, or `{mix: {share: 0.2}}`.

    Raises:
        ValueError: it is neither.
    """
    name, options = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else (value, {})
    options = {} if options is None else options
    if not isinstance(name, str) or not isinstance(options, dict):
        raise ValueError("expected a name, or one name with its options, as {mix: {share: 0.2}}")
    return name, {str(key): value for key, value in options.items()}


def named(config: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(key, point, entry) of all that a configuration, as nested mappings, names."""
    for point, (key, *_) in POINTS.items():
        places = {"": config}
        for part in key.split("."):
            places = {
                f"{at}.{one}".lstrip("."): held[one]
                for at, held in places.items()
                for one in held
                if part in ("NAME", one)
            }
        for at, held in places.items():
            by_kind = point == "verifiers" and isinstance(held, Mapping)  # of question
            several = list(held.values()) if by_kind else held if isinstance(held, list) else [held] if held else []
            yield from ((at, point, one) for one in several)


def files(point: str, name: str) -> list[Path]:
    """The source of a plug-in of another package: its module, or every one of its package. None is imported."""
    if name in POINTS[point].table:
        return []
    try:
        spec = find_spec(_entry(point, name).module.partition(".")[0])
    except (ValueError, ImportError, AttributeError):  # nothing of that name, or no name
        return []
    places = [Path(place) for place in (spec.submodule_search_locations or () if spec else ())]
    if places:
        return sorted(path for place in places for path in place.rglob("*.py"))
    return [Path(spec.origin)] if spec and spec.origin else []


def _names(point: str) -> list[str]:
    return [*POINTS[point].table, *sorted(entry_points(group=f"realm.{point}").names)]


@functools.cache
def _entry(point: str, name: str) -> EntryPoint:
    group = entry_points(group=f"realm.{point}")
    if found := next((entry for entry in group if entry.name == name), None):
        return found
    if ":" in name:
        return EntryPoint(name, name, f"realm.{point}")
    names = _names(point)
    near = difflib.get_close_matches(name, names, 1, 0.5)
    hint = f" (did you mean {near[0]}?)" if near else ""
    if there := [other for other, (key, *_) in POINTS.items() if key and name in _names(other)]:
        hint = f" (it is {', '.join(f'a {other[:-1]}: {POINTS[other].key}' for other in there)})"
    raise ValueError(f"expected {', '.join(names)} or a package.module:attribute{hint}")


@functools.cache
def _import(entry: EntryPoint) -> Any:
    if entry.name == entry.value and entry.value not in _NAMED:
        raise ValueError(
            f"{printable(entry.value)} is no installed plug-in, and what only the files of a run or a bank name is not "
            "imported; if you trust it, name it yourself (--set, --verifier or a configuration file)"
        )
    try:
        module = import_module(entry.module)
        found = functools.reduce(getattr, entry.attr.split("."), module)
    except Exception as error:  # whatever the module of somebody else does as it is imported
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{printable(entry.value)} cannot be imported ({type(error).__name__}: {reason})") from error
    _LOG.info("%s %s: %s", entry.group, entry.name, getattr(module, "__file__", entry.module))
    return found
