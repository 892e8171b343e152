"""Write docs/reference/run.md: the files of a run with all their columns, from the types in realm/rows/."""

from __future__ import annotations

import ast
import inspect
import types
import typing
from dataclasses import fields
from pathlib import Path

from realm.rows.base import Record, Row, Unit
from realm.rows.evaluation import Evaluation, Prediction
from realm.rows.run import FORMAT, BankStats, Meta
from realm.rows.training import PairsStep, RlStep, Sampled, SftStep, Step

PAGE = Path(__file__).resolve().parent / "reference" / "run.md"
#: In the order in which a run writes them.
KINDS: tuple[type[Row], ...] = (Meta, BankStats, SftStep, PairsStep, RlStep, Sampled, Evaluation, Prediction)
HEAD = f"""# A run is a folder

Written by `python docs/make_run_reference.py` from the types in `realm/rows/`, which whatever writes these files and
whatever reads them shares.

Beside the files below `runs/<name>/` holds `config.yaml` (every setting, resolved; it runs again as it is),
`checkpoints/`, `model/` (an ordinary Hugging Face directory with a card, its `README.md`), `report.html`, and `bank/`
([its format](bank.md)) where CoTs were collected for this run. What steps of SFT and miners had the student or a
teacher write is in `traces/`, `asked/` and `instructors/`. `--overwrite` deletes all of this but the banks. `realm
evaluate` leaves `config.yaml`, `meta.json`, `evaluations.jsonl` and `predictions.jsonl`.

A line of a JSONL file is written at once. A last line without its newline is a write under way or torn by a kill, and
every reader passes over it; a resumed run cuts off what its checkpoint did not know and writes it again. A line that
does not fit is told with file, line and field: the report and `realm doctor` go on without it, whatever rests on the
file stops. Columns that a reader does not know are passed over, and those that a later version added are null where an
earlier one wrote the file. The layout is format {FORMAT}; a folder of a later one is refused.

JSON has no NaN: what is no finite number is null. Columns in *italics* are there only where they hold something.
"""


def text() -> str:
    """The page."""
    return "\n".join([HEAD, *(_section(kind) for kind in KINDS)])


def _section(kind: type[Row]) -> str:
    """The file of one kind, or one stage of it, with what its columns hold."""
    file, colon, about = _about(kind).partition(": ")
    title, about = (f"`{file}`", f"{about[0].upper()}{about[1:]}") if colon else (f"`{kind.FILE}`", file)
    if issubclass(kind, Step):
        (stage,) = typing.get_args(typing.get_type_hints(kind)["stage"])
        title = f"`{kind.FILE}`, rows of `{stage}`"
        about = f"A row every `training.log_every` steps. {about}"
    parts = [f"## {title}\n", f"{about}\n", _table(kind)]
    for part, names in _within(kind).items():
        parts += [f"{', '.join(names)}: {_about(part)[0].lower()}{_about(part)[1:]}\n", _table(part)]
    return "\n".join(parts)


def _table(kind: type[Record]) -> str:
    said = _said(kind)
    rows = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    for column in fields(kind):
        hint = typing.get_type_hints(kind, include_extras=True)[column.name]
        name = column.name.removesuffix("_")
        shown = f"*{name}*" if column.metadata else f"`{name}`"
        type_ = _type(hint).removesuffix(" or null") if column.metadata else _type(hint)
        rows.append(f"| {shown} | {type_} | {_unit(hint)} | {said[column.name]} |")
    return "\n".join(rows) + "\n"


def _within(kind: type[Record], before: str = "") -> dict[type[Record], list[str]]:
    """The objects inside a row with the columns that hold them, outer ones first."""
    found: dict[type[Record], list[str]] = {}
    for column in fields(kind):
        for part in _parts(typing.get_type_hints(kind)[column.name]):
            found.setdefault(part, []).append(f"`{before}{column.name}`")
            found |= _within(part, f"{before}{column.name}.")
    return found


def _parts(hint: object) -> list[type[Record]]:
    if isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
        return [hint] if issubclass(hint, Record) else []
    return [part for argument in typing.get_args(hint) for part in _parts(argument)]


def _type(hint: typing.Any) -> str:
    """A type as JSON has it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return "text"
    if origin is tuple:
        inner = _type(arguments[0])
        return f"list of ({inner})" if " or " in inner else f"list of {inner}"
    if origin is dict:
        return f"object of {_type(arguments[1])}"
    if arguments:
        return " or ".join(_type(part) for part in arguments)
    plain = {bool: "boolean", int: "integer", float: "number", str: "text", type(None): "null"}
    return plain.get(hint, "object")


def _unit(hint: typing.Any) -> str:
    found = [part.name for part in getattr(hint, "__metadata__", ()) if isinstance(part, Unit)]
    return next(iter(found + [unit for part in typing.get_args(hint) if (unit := _unit(part))]), "")


def _about(kind: type) -> str:
    return " ".join(inspect.cleandoc(kind.__doc__ or "").split())


def _said(kind: type) -> dict[str, str]:
    """What stands below each column, in the class or in those it is made from."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        (body,) = ast.parse(inspect.getsource(base)).body
        assert isinstance(body, ast.ClassDef)
        for column, below in zip(body.body, body.body[1:], strict=False):
            if isinstance(column, ast.AnnAssign) and isinstance(below, ast.Expr):
                found[ast.unparse(column.target)] = " ".join(str(ast.literal_eval(below.value)).split())
    return found


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
