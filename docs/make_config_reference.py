"""Write docs/reference/config.md: every key of the configuration, from the types in realm/sections.py."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from realm.config import Config

PAGE = Path(__file__).resolve().parent / "reference" / "config.md"
HEAD = """# Every key of the configuration

Written by `python docs/make_config_reference.py` from the types in `realm/sections.py`.

A configuration is a YAML file; what it leaves out has the default. `--set KEY=VALUE` overrides one key, e.g.
`--set training.rl.steps=200`. Paths are relative to the folder in which the command is called; `${NAME}` and
`${NAME:-default}` in a text are replaced from the environment. An unknown key, and a value out of its range, are
refused before anything starts. `realm train CONFIG --show-config` prints the whole of one, with every value in force.
Recipes fix some keys (`realm/recipes/`), and the embedded desk, which commands take without CONFIG, has a file of its
own (`realm/desk/desk.yaml`).
"""
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
PLAIN = {bool: "true or false", int: "integer", float: "number", str: "text", Any: "anything", types.NoneType: "null"}


def text() -> str:
    """The page."""
    return "\n".join([HEAD, *_section(Config, "")])


def _section(section: type[BaseModel], name: str) -> list[str]:
    """The keys of a section, then the sections within it."""
    keys, within = [], []
    for key, field in section.model_fields.items():
        if inner := _model(field.annotation):
            many = typing.get_origin(field.annotation) is dict
            within += _section(inner, f"{name}{key}.NAME." if many else f"{name}{key}.")
        else:
            keys.append(f"| `{key}` | {_values(field)} | {_default(field)} | {_cell(field.description or '')} |")
    if not keys:
        return within
    about = " ".join((section.__doc__ or "").split())
    head = [f"## `{name.rstrip('.')}`\n", f"{about}\n", "| key | values | default | meaning |", "|---|---|---|---|"]
    return [*head, *keys, "", *within]


def _model(hint: Any) -> type[BaseModel] | None:
    """The section that a key holds, or holds by name."""
    held = typing.get_args(hint)[1] if typing.get_origin(hint) is dict else hint
    return held if isinstance(held, type) and issubclass(held, BaseModel) else None


def _values(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(part, key):g}"
        for part in field.metadata
        for key, sign in BOUNDS.items()
        if hasattr(part, key)
    ]
    return ", ".join([_type(field.annotation), *bounds])


def _type(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is tuple:
        return f"list of {len(arguments)} {_type(arguments[0])}s"
    if origin is dict:
        return "mapping"
    return " or ".join(map(_type, arguments)) if arguments else PLAIN[hint]


def _default(field: FieldInfo) -> str:
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    shown = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**9)
    return f"`{shown.removesuffix(chr(10)).removesuffix(chr(10) + '...')}`"


def _cell(words: str) -> str:
    return " ".join(words.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
