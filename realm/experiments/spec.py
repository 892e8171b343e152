"""The YAML of an experiment: the question, the arms as overrides of one configuration, and what is compared.

The packaged ones lie beside this file. Every key is described in docs/howto/experiments.md.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from realm.config import flatten
from realm.errors import ConfigError
from realm.written import read_yaml_file

PACKAGED = Path(__file__).parent
#: The untrained model in tables and plots.
UNTRAINED = "base"
#: Names become parts of folder names and of table cells.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}$")]


Overrides = Annotated[
    dict[str, Any], BeforeValidator(lambda value: flatten(value) if isinstance(value, Mapping) else value)
]
#: A split, and whether the prompts show routes.
Measure = tuple[str, Literal["without", "with"]]
MeasureName = Annotated[str, Field(pattern=r"^[^/]+/(with|without)$")]


class Pair(NamedTuple):
    """A difference to test: arm − against, in every measure or in `measure` (`test/with`) alone."""

    arm: str
    against: str
    measure: MeasureName | None = None

    def of(self, key: tuple[str, bool]) -> bool:
        """Whether it is tested in this measure: a split, and whether routes are shown."""
        return self.measure in (None, f"{key[0]}/{'with' if key[1] else 'without'}")


class Part(BaseModel):
    """A part of the file; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")


class Arm(Part):
    """One way to train, compared with the others."""

    bank: str | None = Field(None, description="One of `banks`; without it, that of `base`.")
    group: str = Field("", max_length=60, description="Arms of one group stand together in tables, below its name.")
    set: Overrides = Field({}, description="What this arm changes.")


class Axis(Part):
    """A number for every arm, where the arms are points of one scale."""

    label: str
    values: dict[Name, float] = {}
    by: Literal["teacher_cots", "teacher_tokens", "teacher_cost"] | None = Field(
        None, description="In the place of `values`: what the CoTs of each arm cost the teacher."
    )


class Spec(Part):
    """An experiment as its file states it."""

    title: str
    question: str = Field(description="What is asked, with the paper's claim, in one sentence.")
    kind: Literal["train", "bound", "models"] = Field(
        "train",
        description="train: arms are trained and compared; bound: the first pair of every bank is also held "
        "against the gap between teacher and student; models: nothing is trained, arms are models (`model.path`).",
    )
    config: str | None = Field(None, description="Configuration file that `base` changes; default: the desk's.")
    base: Overrides = Field({}, description="What all arms have in common.")
    one_budget: bool = Field(
        False,
        description="The optimizer steps of RL are those of every arm in all: its cold start's are taken from them.",
    )
    equal_budget: float | None = Field(
        None,
        ge=0,
        description="Arms (those of a group) should take equal optimizer steps and, within this share, as many student "
        "tokens in training; the finding says where they do not.",
    )
    untrained: bool = Field(True, description="Evaluate the untrained model too, as the arm `base`.")
    banks: dict[Name, Overrides] = Field({}, description="Settings under which `realm collect` fills a bank, by name.")
    arms: dict[Name, Arm] = Field(min_length=1)
    axis: Axis | None = None
    pairs: list[Pair] = Field([], description="Differences to test: [arm, against], or with SPLIT/with as a third.")
    measures: list[Measure] = Field([], description="Empty: every held-out split, without and with routes.")
    headline: Measure = Field(("test", "without"), description="What the finding speaks of.")
    also: list[Measure] = Field([], description="Measures whose differences the finding tells besides.")
    true_sums: list[Measure] = Field(
        [], description="Where the share of true ones among the sums that completions state is compared and told."
    )
    margins: dict[MeasureName, Annotated[float, Field(gt=0, lt=100)]] = Field(
        {},
        description="Points by measure, as `test/without: 1`: whether the arm of each pair is worse by less, and "
        "whether the two differ by less, is tested and told there.",
    )
    tell: Literal["curves"] | None = Field(
        None, description="curves: the finding also says which arms fall from their best while they train."
    )

    @field_validator("arms")
    @classmethod
    def _free_names(cls, arms: dict[str, Arm]) -> dict[str, Arm]:
        if UNTRAINED in arms:
            raise ValueError(f"`{UNTRAINED}` is the untrained model; give the arm another name")
        return arms

    @model_validator(mode="after")
    def _consistent(self) -> Spec:
        for name, arm in self.arms.items():
            if arm.bank is not None and arm.bank not in self.banks:
                raise ValueError(f"arms.{name}.bank: no bank {arm.bank!r} among {_names(self.banks)}")
        known = [*self.arms, *([UNTRAINED] if self.untrained else [])]
        for pair in self.pairs:
            for name in (pair.arm, pair.against):
                if name not in known:
                    raise ValueError(f"pairs: no arm {name!r} among {_names(known)}")
        if self.axis is not None and self.axis.by is not None:
            if self.axis.values or self.kind == "models":
                raise ValueError("axis.by is measured of what is trained, and stands in the place of axis.values")
        elif self.axis is not None and self.axis.values.keys() != self.arms.keys():
            raise ValueError(f"axis.values needs one number for each of {_names(self.arms)}")
        if self.measures and self.headline not in self.measures:
            raise ValueError("headline: is none of `measures`")
        if self.measures and not self.asked <= set(self.measures):
            raise ValueError("`also`, `true_sums`, `margins` and the measures of `pairs` must be among `measures`")
        return self

    @property
    def asked(self) -> set[Measure]:
        """The measures that `also`, `true_sums`, `margins` and single pairs name."""
        ones = (name.rpartition("/") for name in (*(pair.measure for pair in self.pairs), *self.margins) if name)
        return {
            *self.also,
            *self.true_sums,
            *((split, "with" if ways == "with" else "without") for split, _, ways in ones),
        }


def _names(names: Any) -> str:
    return ", ".join(names) or "none"


def packaged() -> dict[str, Path]:
    """The packaged experiments by name."""
    return {path.stem: path for path in sorted(PACKAGED.glob("*.yaml"))}


def find(name: str) -> Path:
    """The file of a packaged experiment, or the path of one's own.

    Raises:
        ConfigError: there is neither.
    """
    known = packaged()
    if name in known:
        return known[name]
    if Path(name).suffix in (".yaml", ".yml"):
        return Path(name)
    near = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {_names(known)}, or give a YAML file of your own."
    raise ConfigError(f"no experiment {name!r}; {hint}")


def load(path: Path) -> Spec:
    """Read and validate the file of an experiment.

    Raises:
        ConfigError: it cannot be read, is not YAML, or has an unknown key or a bad value; names the file and the key.
    """
    content = read_yaml_file(path, "experiment")
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping with title, question and arms, found {type(content).__name__}.")
    try:
        return Spec.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(_line(path, dict(item)) for item in error.errors())) from error


def _line(path: Path, item: dict[str, Any]) -> str:
    """One problem that pydantic found, as a line."""
    key = ".".join(str(part) for part in item["loc"] if part != "[key]")
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key.rpartition(".")[2], {**Spec.model_fields, **Arm.model_fields}, 1, 0.5)
        return f"{path}: unknown key {key}{f'; did you mean {near[0]}?' if near else '.'}"
    if item["type"] == "missing":
        return f"{path}: {key} is missing."
    message = item["msg"].removeprefix("Value error, ")
    found = "" if isinstance(item["input"], dict) else f", found {item['input']!r:.60}"
    return f"{path}: {f'{key}: ' if key else ''}{message}{found}."
