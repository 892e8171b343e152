"""What an experiment found: `results.json`, from which page, plot and document are made.

The keys are described in docs/howto/experiments.md; those that have a default may be left out.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import Field

from realm.rows.base import RARE, Bytes, Count, Difference, Number, Record, Row, Seconds, Share, Tokens
from realm.rows.evaluation import Confidence

#: A difference between two autonomy gaps, which are differences themselves.
GapDifference = Annotated[float, Field(ge=-2 - 1e-6, le=2 + 1e-6)]
Axis = Annotated[float, Field(ge=-1e15, le=1e15)]


@dataclass(frozen=True, kw_only=True)
class Arm(Record):
    """An arm and what it sets."""

    name: Annotated[str, Field(min_length=1)]
    set_: Annotated[dict[str, Any], Field(alias="set")] = field(default_factory=dict)
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Measure(Record):
    """What was measured: the accuracy on a split without or with routes; `label` is its name on the page."""

    name: Annotated[str, Field(min_length=1)]
    split: str
    routes: bool
    label: str


@dataclass(frozen=True, kw_only=True)
class Accuracy(Record):
    """One arm on one measure: the mean over seeds and questions with its 95 % interval, and each seed's own mean."""

    arm: str
    measure: str
    mean: Share
    low: Share
    high: Share
    seeds: dict[str, Share]


@dataclass(frozen=True, kw_only=True)
class Gap(Record):
    """Accuracy with − without routes of an arm on a split, with its 95 % interval."""

    arm: str
    split: str
    mean: Difference
    low: Difference
    high: Difference


@dataclass(frozen=True, kw_only=True)
class GapPair(Record):
    """The gap of one arm minus that of another, as a `Pair`."""

    arm: str
    against: str
    split: str
    difference: GapDifference
    low: GapDifference
    high: GapDifference
    p: Share
    p_corrected: Share

    @property
    def measure(self) -> str:
        """What is compared: the split."""
        return self.split


@dataclass(frozen=True, kw_only=True)
class Pair(Record):
    """Arm minus arm on one measure, with its 95 % interval; `p` plain and corrected for the number of pairs.

    Where the measure has a margin, p-values, corrected too, that the arm is worse by less, and that the two differ by
    less.
    """

    arm: str
    against: str
    measure: str
    difference: Difference
    low: Difference
    high: Difference
    p: Share
    p_corrected: Share
    margin: Share | None = field(default=None, metadata=RARE)
    p_no_worse: Share | None = field(default=None, metadata=RARE)
    p_same: Share | None = field(default=None, metadata=RARE)


@dataclass(frozen=True, kw_only=True)
class Scale(Record):
    """An axis: the place of each arm on it; `by`: the cost that it is, where it was measured."""

    label: str
    values: dict[str, Axis]
    by: str | None = field(default=None, metadata=RARE)


@dataclass(frozen=True, kw_only=True)
class Spread(Record):
    """How far a measure moves over the settings of one model: its highest arm minus its lowest.

    The 95 % interval holds for the differences of all pairs of these arms at once, so whichever are picked.
    """

    group: str
    measure: str
    arms: Count
    lowest: str
    highest: str
    difference: Share
    low: Share
    high: Share


@dataclass(frozen=True, kw_only=True)
class OfKind(Record):
    """The headline of an arm on one kind of question."""

    arm: str
    kind: str
    mean: Share


@dataclass(frozen=True, kw_only=True)
class OfOperator(Record):
    """Equations with one operator that the completions of an arm state, of all seeds: how many, and true ones."""

    arm: str
    measure: str
    operator: str
    n: Count
    true: Share


@dataclass(frozen=True, kw_only=True)
class Judging(Record):
    """How an arm reads the routes it is shown, means over the seeds; None where a seed has no figure."""

    arm: str
    split: str
    same_err: Share | None = None
    same_err_all: Share | None = None
    scoring_accuracy: Share | None = None
    auroc: Share | None = None


@dataclass(frozen=True, kw_only=True)
class Memory(Record):
    """Bytes that an arm takes to answer a question of the headline: weights, and keys and values of its tokens."""

    arm: str
    weights: Bytes
    cache: Bytes


@dataclass(frozen=True, kw_only=True)
class Sure(Record):
    """When an arm's answers may be trusted on one measure: means over the seeds, `threshold` too; no curve."""

    arm: str
    measure: str
    confidence: Confidence


@dataclass(frozen=True, kw_only=True)
class Took(Record):
    """What one training took; seconds without evaluation, over all resumes.

    `sampled` of the completions, and `sampled_tokens` of the student's tokens, went into what is taught.
    """

    arm: str
    seed: int
    steps: Count
    completions: Count
    tokens: Tokens
    sampled: Count = 0
    sampled_tokens: Tokens = 0
    teacher_tokens: Tokens | None = None
    teacher_cots: Count | None = field(default=None, metadata=RARE)
    teacher_cost: Number | None = field(default=None, metadata=RARE)
    currency: str | None = field(default=None, metadata=RARE)
    seconds: Seconds

    @property
    def rl_completions(self) -> int:
        """Completions sampled in RL."""
        return self.completions - self.sampled

    @property
    def trained_tokens(self) -> int:
        """Tokens through the student in its training."""
        return self.tokens - self.sampled_tokens


@dataclass(frozen=True, kw_only=True)
class Curve(Record):
    """(step, accuracy on the validation questions) of one seed's training; `measure` is `without` or `with` routes."""

    arm: str
    seed: int
    measure: str
    points: tuple[tuple[Count, Share], ...]


@dataclass(frozen=True, kw_only=True)
class At(Record):
    """The mean accuracy over the seeds at a step."""

    step: Count
    mean: Share


@dataclass(frozen=True, kw_only=True)
class Fall(Record):
    """How far accuracy is below the best at a step, with its 95 % interval."""

    step: Count
    difference: Difference
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Course(Record):
    """Validation accuracy of an arm at the start, at its best, at the end, and where it is shown to fall."""

    arm: str
    measure: str
    seeds: Count
    start: At
    best: At
    end: At
    falls: Fall | None


@dataclass(frozen=True, kw_only=True)
class Shown(Record):
    """The routes of an arm's RL prompts before fading: how many, share of wrong ones; and how many did not fit.

    `dropped` is the mean per prompt over the whole stage, faded as it was.
    """

    arm: str
    routes: float
    wrong: Share
    dropped: float


@dataclass(frozen=True, kw_only=True)
class BankFacts(Record):
    """A bank of the kind `bound`, means over the seeds.

    `teacher`: right CoTs among those on the questions of the headline's split that have some · `student`: accuracy of
    the untrained model on the same questions, without routes · `gap`: teacher − student, paired by question and seed,
    `low` to `high` its 95 % interval · `distance`: mean distance of two CoTs of a question (`realm.method.distance`) ·
    `pair`: (arm, against), whose difference is the gain of wrong routes.
    """

    name: str
    teacher: Share
    student: Share
    gap: Difference
    low: Difference
    high: Difference
    distance: float
    pair: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Results(Row):
    """Everything that page and plot show."""

    FILE: ClassVar[str] = "results.json"

    name: str
    title: str
    question: str
    kind: str = "train"
    command: str
    fast: bool
    seconds: Seconds
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    threads: Count | None = None
    machine: str
    versions: dict[str, str] = field(default_factory=dict)
    budget: dict[str, Count | str]
    equal_budget: float | None = None
    arms: Annotated[tuple[Arm, ...], Field(min_length=1)]
    measures: Annotated[tuple[Measure, ...], Field(min_length=1)]
    headline: str
    also: tuple[str, ...] = ()
    cells: tuple[Accuracy, ...] = ()
    gaps: tuple[Gap, ...] = ()
    gap_pairs: tuple[GapPair, ...] = ()
    pairs: tuple[Pair, ...] = ()
    sums: tuple[Accuracy, ...] = ()
    sum_pairs: tuple[Pair, ...] = ()
    operators: tuple[OfOperator, ...] = ()
    unlearned: tuple[Pair, ...] = ()
    axis: Scale | None = None
    spreads: tuple[Spread, ...] = ()
    kinds: tuple[OfKind, ...] = ()
    judging: tuple[Judging, ...] = ()
    confidence: tuple[Sure, ...] = ()
    memory: tuple[Memory, ...] = ()
    cost: tuple[Took, ...] = ()
    curves: tuple[Curve, ...] = ()
    training: tuple[Course, ...] = ()
    shown: tuple[Shown, ...] = ()
    banks: tuple[BankFacts, ...] = ()
    finding: str = ""
