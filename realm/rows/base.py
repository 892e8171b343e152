"""What all rows are made of: units, columns that may be left out, where in a run a row belongs.

What a later version added has a default, so that folders of earlier ones are read. Columns that are `RARE` are not
written where they are None. docs/reference/run.md is made of the types and of what stands below each column.
"""

from dataclasses import dataclass, field, fields
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import ConfigDict, Field

#: Where in a run a row belongs: before training, in a stage of it, or at its end.
Stage = Literal["base", "sft", "pairs", "rl", "final"]
#: Order of the stages within a round; `final` comes after every round.
STAGES: tuple[Stage, ...] = get_args(Stage)
RARE = {"rare": True}


@dataclass(frozen=True)
class Unit:
    """What a number of an annotated type counts."""

    name: str


_MOST = 10**15
Count = Annotated[int, Field(ge=0, le=_MOST)]
Number = float
Share = Annotated[float, Field(ge=-1e-6, le=1 + 1e-6), Unit("0 to 1")]
Difference = Annotated[float, Field(ge=-1 - 1e-6, le=1 + 1e-6), Unit("-1 to 1")]
Seconds = Annotated[float, Field(ge=0), Unit("s")]
Tokens = Annotated[int, Field(ge=0, le=_MOST), Unit("tokens")]
MeanTokens = Annotated[float, Unit("tokens")]
Bytes = Annotated[float, Field(ge=0), Unit("bytes")]
Nats = Annotated[float, Unit("nats a token")]
Reward = Annotated[float, Unit("reward")]
Label = Annotated[int, Field(ge=0, le=1), Unit("1 right, 0 wrong")]
Time = Annotated[str, Unit("UTC, ISO 8601")]


@dataclass(frozen=True, kw_only=True)
class Record:
    """A JSON object with these columns; others that it may have are passed over."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True)
class Row(Record):
    """A line of the file `FILE`, or all of it where it is one object."""

    FILE: ClassVar[str]


@dataclass(frozen=True, kw_only=True)
class Place(Row):
    """Where in the run a row belongs."""

    stage: Stage
    """`sft`, `pairs` or `rl`, `base` before them, `final` after all."""
    round: Count = 0
    """Round of the recipe, from 0."""
    step: Count
    """Optimizer step of the stage, from 1; of an evaluation, the steps that the model has had."""


@dataclass(frozen=True, kw_only=True)
class ShownRoute(Record):
    """A route in a prompt, in the prompt's order."""

    id: str
    """Id of the CoT in the bank."""
    text: str | None = field(default=None, metadata=RARE)
    """Its reasoning; in completions.jsonl alone."""
    answer: str
    """Its own final answer."""
    label: Label
    """By the verifier."""


def record(row: Record) -> dict[str, object]:
    """A row as the JSON object that stands for it, its columns in the order of the type."""
    return {
        column.name.removesuffix("_"): _plain(value)
        for column in fields(row)
        if (value := getattr(row, column.name)) is not None or not column.metadata
    }


def _plain(value: object) -> object:
    if isinstance(value, Record):
        return record(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value
