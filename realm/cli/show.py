"""The resolved configuration as commented YAML: every key, its value, what it means and what it may be."""

from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from realm.config import Config
from realm.sections import TeacherConfig


def annotate(config: Config, *, given: bool = True) -> str:
    """YAML text with one comment a key; `realm.config.load_config` reads it back as the same configuration.

    Where a value is not the default, the comment says what that is.

    Args:
        given: a file or a run was named; else the values are those of the embedded desk, and the head says so.
    """
    whose = "the values in force" if given else "the values of the embedded desk, as no CONFIG was given"
    head = f"# Every key of the configuration, with {whose}. Where that is not the default, the comment tells it."
    return "\n".join([head, *_section(config, Config(), 0), ""])


def _section(section: BaseModel, usual: BaseModel, depth: int) -> list[str]:
    indent = "  " * depth
    lines: list[str] = []
    for name, field in type(section).model_fields.items():
        value, default = getattr(section, name), getattr(usual, name)
        if isinstance(value, BaseModel):
            title = (type(value).__doc__ or "").strip().splitlines()
            lines += ["" if depth == 0 else f"{indent}#", *(f"{indent}# {line}" for line in title)]
            lines += [f"{indent}{name}:", *_section(value, default, depth + 1)]
        elif isinstance(value, dict) and any(isinstance(item, BaseModel) for item in value.values()):
            lines += ["" if depth == 0 else f"{indent}#", f"{indent}# {_comment(field)}", f"{indent}{name}:"]
            for key, item in value.items():
                lines += [f"{indent}  {_scalar(key)}:", *_section(item, TeacherConfig(), depth + 2)]
        else:
            told = f"default: {_scalar(default)}" if value != default else ""
            comment = " ".join(part for part in (_comment(field), told) if part)
            lines.append(f"{indent}{name}: {_scalar(value)}" + (f"  # {comment}" if comment else ""))
    return lines


def _scalar(value: Any) -> str:
    """One value on one line, in YAML's flow style."""
    plain = list(value) if isinstance(value, tuple) else value
    text: str = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=10**9)
    return text.removesuffix("\n").removesuffix("\n...")


def _comment(field: FieldInfo) -> str:
    """What the key means, and the values it may have where they are few."""
    parts = [" ".join((field.description or "").split())]
    choices = [str(value) for kind in (field.annotation, *get_args(field.annotation)) for value in _literals(kind)]
    if choices:
        parts.append(f"one of: {' | '.join(choices)}")
    return " ".join(part for part in parts if part)


def _literals(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()
