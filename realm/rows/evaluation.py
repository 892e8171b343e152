"""The rows of an evaluation: evaluations.jsonl, one a split, and predictions.jsonl, one a question."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from pydantic import Field

from realm.rows.base import RARE, Bytes, Count, Difference, MeanTokens, Number, Place, Record, Share, ShownRoute, Tokens


@dataclass(frozen=True, kw_only=True)
class Part(Record):
    """The questions of one kind or difficulty."""

    n: Count
    """How many."""
    accuracy: Share
    """Share of right completions."""


@dataclass(frozen=True, kw_only=True)
class Sums(Record):
    """The equations with one operator."""

    n: Count
    """How many are stated."""
    true: Share
    """Share of true ones."""


@dataclass(frozen=True, kw_only=True)
class Estimate(Record):
    """A figure with its interval."""

    value: Number
    """What was measured."""
    low: Number
    """Lower end."""
    high: Number
    """Upper end."""


@dataclass(frozen=True, kw_only=True)
class Trusted(Record):
    """The surest answers alone."""

    threshold: Share
    """Of a confidence of at least this."""
    coverage: Estimate
    """Their share of all."""
    right: Estimate | None = None
    """Share of right ones among them; null where there are none."""


@dataclass(frozen=True, kw_only=True)
class Confidence(Record):
    """How far the confidence of answers tells which are right (`realm.evaluation.confidence`)."""

    by: str
    """What the confidence is: `likelihood`, `votes` or `stated`."""
    n: Count
    """Answers that have one."""
    missing: Count
    """Completions without: no answer, or none stated; they are trusted last, and are in neither ece nor brier."""
    ece: Estimate | None
    """Expected calibration error, in ten bins of equal width."""
    brier: Estimate | None
    """Mean (confidence - right)²."""
    auroc: Estimate | None
    """Chance that a right answer has the higher confidence of two; null where all are right or wrong."""
    aurc: Estimate
    """Area under the risk-coverage curve: the share of wrong ones among the surest, mean over all their shares."""
    aurc_best: Share
    """The least that answers of this accuracy can have: every wrong one after every right one."""
    curve: tuple[Trusted, ...]
    """The curve, at some confidences."""
    wanted: Share | None = None
    """`evaluation.precision`."""
    chosen_on: str | None = None
    """The split on which the lowest confidence was chosen that reaches it; null where that was not asked."""
    threshold: Share | None = None
    """That confidence; null where none reaches what is wanted."""
    trusted: Trusted | None = None
    """What it gives here; null on the split itself."""


@dataclass(frozen=True, kw_only=True)
class Edited(Record):
    """What edits of questions did to answers (`realm.evaluation.edits`)."""

    n: Count
    """Questions whose right answer the edit changes."""
    changed: Estimate | None
    """Share of their answers that change too."""
    stayed: Estimate | None
    """Share of the others' answers that stay as they are."""


@dataclass(frozen=True, kw_only=True)
class Evaluation(Place):
    """evaluations.jsonl: a model on one split, without or with routes; null where a figure is not defined.

    Intervals are of 95 %, over questions.
    """

    FILE: ClassVar[str] = "evaluations.jsonl"

    split: str
    """`test`, `ood`, `validation` …"""
    routes: Count
    """Routes that a prompt should show; 0: the model alone."""
    n: Count
    """Questions."""
    samples: Count = 1
    """Completions of each."""
    accuracy: Share
    """Share of right completions."""
    accuracy_low: Share
    """Its interval, lower end."""
    accuracy_high: Share
    """Upper end."""
    same_err: Share | None = None
    """Share of wrong completions that repeat the wrong answer of a route shown."""
    same_err_all: Share | None = None
    """The same of all completions that were shown routes."""
    scoring_accuracy: Share | None = None
    """Share of routes judged rightly at ½."""
    auroc: Share | None = None
    """Chance that a right route has the higher score of two."""
    brier: Share | None = None
    """Mean (score - label)²; a missing score counts 1."""
    f1: Share | None = None
    """Macro F1, of tasks with classes."""
    parse_failures: Share | None = None
    """Share of completions with any of the `reasons`."""
    reasons: dict[str, Count] = field(default_factory=dict)
    """Completions by the code of what could not be read."""
    verifier_failures: Count = 0
    """Completions that the verifier could not finish with; they count as wrong."""
    unreadable_answers: Share | None = None
    """Share of completions with an answer that the verifier could not read; they count as wrong."""
    unreadable_examples: tuple[str, ...] = ()
    """The first of these answers."""
    truncated: Share | None = None
    """Share of completions cut at their largest length."""
    completion_tokens: MeanTokens | None = None
    """Length of a completion, mean."""
    routes_per_prompt: Number | None = None
    """Routes shown, mean."""
    routes_dropped: Number | None = None
    """Routes that the context had no room for, mean."""
    pass_at_n: Share | None = None
    """Share of questions with any right completion, where there are several."""
    maj_at_n: Share | None = None
    """Share of questions whose commonest answer is right, where there are several."""
    sums: Count = 0
    """Equations that the completions state."""
    true_sums: Share | None = None
    """Share of true ones."""
    true_sums_low: Share | None = None
    """Its interval, lower end."""
    true_sums_high: Share | None = None
    """Upper end."""
    by_operator: dict[str, Sums] = field(default_factory=dict)
    """By their operator; `mixed`: several."""
    by_kind: dict[str, Part] = field(default_factory=dict)
    """By kind of question."""
    by_difficulty: dict[str, Part] = field(default_factory=dict)
    """By difficulty."""
    executed: Share | None = field(default=None, metadata=RARE)
    """Share of completions whose answer is the result of the program in them, where programs are run."""
    autonomy_gap: Difference | None = field(default=None, metadata=RARE)
    """Accuracy with - without routes, paired by question; in the rows with routes of the last evaluation."""
    autonomy_gap_low: Difference | None = field(default=None, metadata=RARE)
    """Its interval, lower end."""
    autonomy_gap_high: Difference | None = field(default=None, metadata=RARE)
    """Upper end."""
    weights: Bytes | None = field(default=None, metadata=RARE)
    """Of the model as it was loaded; in the last evaluation, as the next."""
    cache: Bytes | None = field(default=None, metadata=RARE)
    """Keys and values of a question's prompt and of all its completions, mean, if every layer keeps every token's."""
    over_shortest: Estimate | None = field(default=None, metadata=RARE)
    """Tokens of all completions over those of the shortest right CoT of the bank, of questions that have one."""
    stated_at: Estimate | None = field(default=None, metadata=RARE)
    """Share of the tokens after which the answer has been stated, of completions that state it."""
    confidence: Confidence | None = field(default=None, metadata=RARE)
    """When answers may be trusted, where `evaluation.confidence` asks for it."""
    edited: Edited | None = field(default=None, metadata=RARE)
    """What became of the answers, in rows of `evaluation.edits` (`SPLIT+EDIT`)."""
    before: Share | None = field(default=None, metadata=RARE)
    """Accuracy of the untrained model, in rows of the task that `evaluation.also` names (`OTHER:SPLIT`); of the same
    questions unedited, in rows of `evaluation.edits`."""
    change: Difference | None = field(default=None, metadata=RARE)
    """What training (or the edit) changed of it, paired by question; below 0 where something was unlearned."""
    change_low: Difference | None = field(default=None, metadata=RARE)
    """Its interval, lower end."""
    change_high: Difference | None = field(default=None, metadata=RARE)
    """Upper end."""

    @property
    def fewer_routes(self) -> bool:
        """Whether prompts that should show routes show fewer."""
        return self.routes_per_prompt is not None and self.routes - self.routes_per_prompt >= 0.05


@dataclass(frozen=True, kw_only=True)
class AnsweredCompletion(Record):
    """A completion of an evaluation."""

    text: str
    """As it was written."""
    answer: str | None
    """Its answer; null where there is none."""
    scores: tuple[Share | None, ...]
    """Its score of each route; null where one could not be read."""
    correct: bool
    """Whether the verifier takes the answer for the gold."""
    verdict: str = ""
    """Why nothing was compared: `unreadable`, `unreadable gold`, `timeout`, `error: …`; else empty."""
    copied: bool
    """Whether a wrong answer is, to the verifier, that of a wrong route in the prompt."""
    class_: Annotated[str | None, Field(alias="class")] = None
    """The class that the verifier takes the answer for, in tasks with classes."""
    reasons: tuple[str, ...]
    """Codes of what could not be read; none where the format is right."""
    tokens: Tokens
    """Its length."""
    truncated: bool
    """Whether it was cut."""
    stated_at: Tokens | None = field(default=None, metadata=RARE)
    """Its tokens up to where its answer is first stated; in the last evaluation."""
    confidence: Share | None = field(default=None, metadata=RARE)
    """Of its answer: by likelihood, or as it is stated (`evaluation.confidence`)."""
    executed: bool | None = field(default=None, metadata=RARE)
    """Whether the answer is the result of the program in it, where programs are run."""


@dataclass(frozen=True, kw_only=True)
class Prediction(Place):
    """predictions.jsonl: a question of the last evaluation with all its completions."""

    FILE: ClassVar[str] = "predictions.jsonl"

    split: str
    """As in evaluations.jsonl."""
    routes: Count
    """As in evaluations.jsonl."""
    question_id: str
    """Id of the question."""
    kind: str = ""
    """Its kind, empty where it has none."""
    difficulty: int = 0
    """Its difficulty, 0 where it has none."""
    question: str
    """Its text."""
    gold: str
    """The right answer."""
    class_: Annotated[str | None, Field(alias="class")] = None
    """The class of the gold, in tasks with classes."""
    shown: tuple[ShownRoute, ...]
    """The routes in the prompt."""
    dropped: Count = 0
    """Routes that the context had no room for."""
    shortest: Tokens | None = field(default=None, metadata=RARE)
    """Length of the shortest right CoT of the bank, as a completion; in the last evaluation."""
    completions: Annotated[tuple[AnsweredCompletion, ...], Field(min_length=1)]
    """`evaluation.samples` of them."""
