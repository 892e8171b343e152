"""What a run says of itself in one object each: meta.json and bank_stats.json."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from realm.rows.base import RARE, Count, Number, Record, Row, Seconds, Share, Stage, Time, Tokens

#: Version of the layout, `format` in meta.json: raised when a reader of old folders would misread new ones.
FORMAT = 1
Status = Literal["running", "done", "failed", "interrupted", "overwritten"]


@dataclass(frozen=True, kw_only=True)
class StageCost(Record):
    """What one stage took."""

    stage: Stage
    """`sft`, `pairs` or `rl`."""
    round: Count
    """Round of the recipe, from 0."""
    steps: Count
    """Optimizer steps."""
    completions: Count
    """Completions sampled."""
    tokens: Tokens
    """Through the model."""
    seconds: Seconds
    """Over all resumes, without evaluation."""


@dataclass(frozen=True, kw_only=True)
class Cost(Record):
    """What training took; of a stage each, and all together."""

    steps: Count
    """Optimizer steps."""
    completions: Count
    """Completions sampled, those for instructors too."""
    tokens: Tokens
    """Through the model."""
    seconds: Seconds
    """Over all resumes, without evaluation."""
    stages: tuple[StageCost, ...] = ()
    """Each stage for itself."""
    teacher_tokens: Tokens | None = None
    """What the teacher wrote for this student."""
    teacher_cots: Count | None = field(default=None, metadata=RARE)
    """CoTs of the training questions in the bank."""
    teacher_cost: Number | None = field(default=None, metadata=RARE)
    """What these cost by the prices in the configuration; null where one is not known."""
    currency: str | None = field(default=None, metadata=RARE)
    """Of `teacher_cost`."""


@dataclass(frozen=True, kw_only=True)
class Candidate(Record):
    """One checkpoint of the last stage, as `training.best` weighs it."""

    step: Count
    """Of its stage."""
    value: Share
    """The weighted mean of its accuracies."""
    accuracies: dict[str, Share]
    """By split; of another task OTHER:SPLIT."""


@dataclass(frozen=True, kw_only=True)
class Chosen(Record):
    """What validation chose among the checkpoints of the last stage (`training.best`)."""

    step: Count
    """The checkpoint whose weights the model has."""
    candidates: tuple[Candidate, ...]
    """All of them."""


@dataclass(frozen=True, kw_only=True)
class Left(Record):
    """What one step of `training.sft.traces` left."""

    step: str
    """Its name."""
    traces: Count
    """Traces after it."""


@dataclass(frozen=True, kw_only=True)
class Taught(Record):
    """What a stage of SFT draws its examples from."""

    round: Count
    """Round of the recipe, from 0."""
    steps: tuple[Left, ...]
    """Of the steps, in order."""
    short_enough: Count
    """Of the last traces, those that a completion has room for."""


class LaterError(Exception):
    """A folder of a later version."""


def _known(format_: int) -> int:
    if format_ > FORMAT:
        raise LaterError(f"format {format_} is of a later version of realm; this one reads {FORMAT}.")
    return format_


@dataclass(frozen=True, kw_only=True)
class Meta(Row):
    """meta.json: how the run was made and how it ended."""

    FILE: ClassVar[str] = "meta.json"

    format: Annotated[int, Field(ge=1), AfterValidator(_known)] = FORMAT
    """Version of these files. A folder of a later one is refused."""
    name: str = ""
    """Name of the folder."""
    recipe: str | None = field(default=None, metadata=RARE)
    """`training.recipe`."""
    evaluated: str | None = field(default=None, metadata=RARE)
    """The model, where the folder is not of a run but of an evaluation by `realm evaluate`."""
    seed: int | None = None
    """`run.seed`."""
    template_hash: str | None = field(default=None, metadata=RARE)
    """Hash of the prompt's wording and tags."""
    questions_hash: str | None = field(default=None, metadata=RARE)
    """Hash of the task's questions and golds in their splits."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of Python and of the packages that decide the numbers."""
    machine: str = ""
    """System, cores, GPUs."""
    command: str = ""
    """What was typed."""
    launch: str | None = field(default=None, metadata=RARE)
    """What `--launch` was given."""
    started: Time | None = field(default=None, metadata=RARE)
    """When the run began."""
    resumed: tuple[Time, ...] | None = field(default=None, metadata=RARE)
    """When it was gone on with."""
    finished: Time | None = None
    """When it ended, however; null while it runs."""
    status: Status | None = None
    """`running`, `done`, `failed`, `interrupted`; `overwritten`: its deletion was cut short."""
    reason: str | None = field(default=None, metadata=RARE)
    """Why it failed."""
    taught: tuple[Taught, ...] | None = field(default=None, metadata=RARE)
    """What each stage of SFT was taught from."""
    cost: Cost | None = field(default=None, metadata=RARE)
    """What training took."""
    chosen: Chosen | None = field(default=None, metadata=RARE)
    """Which checkpoint the model is, where `training.best` chose."""


@dataclass(frozen=True, kw_only=True)
class Unread(Record):
    """Answers and golds of a bank that the verifier cannot read."""

    whole: Count
    """Whole answers."""
    answers: Count
    """Of these, those that cannot be read."""
    gold_cots: Count
    """Of these, those whose gold cannot."""
    share: Share | None
    """Both together."""
    examples: tuple[str, ...]
    """Some of the answers."""
    golds: Count
    """Golds that cannot be read."""
    gold_examples: dict[str, str]
    """Some of the golds, by question."""


@dataclass(frozen=True, kw_only=True)
class Wrote(Record):
    """What one teacher wrote."""

    cots: Count
    """CoTs of the training questions."""


@dataclass(frozen=True, kw_only=True)
class BankStats(Row):
    """bank_stats.json: what the run learned from; of all that `realm bank stats --json` tells these are read again."""

    FILE: ClassVar[str] = "bank_stats.json"

    questions: Count = 0
    """Questions with CoTs."""
    mixed_share: Share | None = None
    """Share of the questions with right and wrong CoTs."""
    all_right: Count = 0
    """Questions with right ones only."""
    all_wrong: Count = 0
    """Questions with wrong ones only."""
    by_teacher: dict[str, Wrote] = field(default_factory=dict)
    """By the teacher's name in the bank."""
    unreadable: Unread | None = None
    """What could not be read."""
