"""Imports go one way: from a room to those below it, and never in a circle. Those for types alone do not count."""

from __future__ import annotations

import ast
import runpy
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER: tuple[str, ...] = runpy.run_path(str(ROOT / "docs" / "make_map.py"))["ORDER"]

#: Modules whose imports may go up, with the reason.
EXCEPTIONS = {
    "realm.__main__": "the way in",
    "realm.recipes": "one finder of plug-ins serves every room",
}


def modules() -> dict[str, Path]:
    found = {}
    for path in (ROOT / "realm").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a module imports, anywhere in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guards = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    typing = {id(node) for guard in guards for line in guard.body for node in ast.walk(line)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & known.keys()) or {node.module}
    return found & known.keys()


def room(module: str) -> str:
    parts = module.split(".")
    is_room = len(parts) > 1 and (ROOT / "realm" / parts[1]).is_dir()
    return parts[1] if is_room else "realm"


@pytest.fixture(scope="module")
def arrows() -> dict[str, set[str]]:
    known = modules()
    return {module: imported(path, known) for module, path in known.items()}


def test_no_modules_import_each_other_in_a_circle(arrows: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(error.args[1][::-1]))


def test_every_room_stands_in_the_order(arrows: dict[str, set[str]]) -> None:
    assert {room(module) for module in arrows} == set(ORDER)


def test_no_arrow_goes_up(arrows: dict[str, set[str]]) -> None:
    up = [
        f"{module} imports {target}"
        for module, targets in arrows.items()
        for target in sorted(targets)
        if ORDER.index(room(target)) > ORDER.index(room(module)) and module not in EXCEPTIONS
    ]
    assert not up
