"""The README names what there is: every module in its map, every command in its table, every file it links to."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from realm.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_map_names_every_module_and_no_other() -> None:
    rooms = re.split(r"\*\*`(realm/[\w/]*)`\*\*", README.split("<!-- map -->")[1].split("<!-- /map -->")[0])
    named = {room + name for room, text in zip(rooms[1::2], rooms[2::2], strict=True) for name in _names(text)}
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "realm").rglob("*.py") if path.name != "__init__.py"}
    assert named == there


def _names(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    return [name for line in lines for name in re.findall(r"`(\w+\.py)`", line)]


def test_the_table_names_every_command() -> None:
    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    table = README.split("## Commands")[1].split("\n## ")[0]
    assert set(re.findall(r"`realm (\w+)", table)) == commands


def test_every_link_leads_to_a_file() -> None:
    targets = re.findall(r"\]\(((?!https?:)[^)#]+)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
