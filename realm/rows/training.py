"""The rows that training writes: metrics.jsonl and completions.jsonl."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from realm.rows.base import (
    RARE,
    MeanTokens,
    Nats,
    Number,
    Place,
    Record,
    Reward,
    Seconds,
    Share,
    ShownRoute,
    Tokens,
)


@dataclass(frozen=True, kw_only=True)
class Step(Place):
    """metrics.jsonl: a row every `training.log_every` steps, by the stage."""

    FILE: ClassVar[str] = "metrics.jsonl"

    seconds: Seconds
    """Training so far, over all stages and resumes, without evaluation."""
    tokens: Tokens
    """Through the model in this stage so far, prompts and completions."""
    loss: Number | None
    """What the trainer minimises; null where it was no finite number."""
    grad_norm: Number | None
    """Norm of the gradient before it is cut; null where it was no finite number."""
    learning_rate: Number | None
    """Learning rate of the step."""


@dataclass(frozen=True, kw_only=True)
class SftStep(Step):
    """A step of supervised training."""

    stage: Literal["sft"]


@dataclass(frozen=True, kw_only=True)
class PairsStep(Step):
    """A step of learning from pairs.

    The reward of a CoT is β times its log-probability above that of the student before the stage; with `orpo`, which
    knows none before, β times its mean log-probability.
    """

    stage: Literal["pairs"]
    chosen: Number | None = None
    """Reward of the preferred CoTs, mean."""
    rejected: Number | None = None
    """Reward of the rejected CoTs, mean."""
    margin: Number | None = None
    """The one minus the other."""
    preferred: Share | None = None
    """Share of pairs whose preferred CoT has the higher reward; null with `kto`, where CoTs come by themselves."""


@dataclass(frozen=True, kw_only=True)
class RlStep(Step):
    """A step of reinforcement learning; null where a figure is not defined, as where no prompt showed a route."""

    stage: Literal["rl"]
    p: Share | None = None
    """Probability with which a drawn route was kept in a prompt, mean over the prompts."""
    tau: Share | None = None
    """Progress of the stage."""
    reward_format: Reward | None = None
    """Part of the reward for the format, mean over the completions that could be judged."""
    reward_answer: Reward | None = None
    """Part for the right answer, likewise."""
    reward_scores: Reward | None = None
    """Part for scoring the routes, likewise."""
    scoring: Share | None = None
    """Quality of the scores, whether the answer was right or not, where routes were shown."""
    accuracy: Share | None = None
    """Share of completions answered rightly."""
    accuracy_without_routes: Share | None = None
    """The same of prompts without routes."""
    routes_per_prompt: Number | None = None
    """Routes shown, mean over the prompts."""
    routes_dropped: Number | None = None
    """Routes that were drawn and did not fit into the context, mean over the prompts."""
    zero_spread_groups: Share | None = None
    """Share of groups whose rewards are all equal, which teach nothing."""
    parse_failures: Share | None = None
    """Share of completions with any of the reasons of `parse`."""
    verifier_failures: Share | None = None
    """Share of completions whose verifier timed out or died; nothing is learned from them."""
    unreadable_answers: Share | None = None
    """Share of completions with an answer that the verifier could not read; they earn what wrong ones do."""
    same_err: Share | None = None
    """Share of wrong answers that repeat the wrong answer of a route in the prompt."""
    reward: Reward | None = None
    """All parts together, mean over the completions."""
    kl: Nats | None = None
    """Distance from the reference model; null where `training.rl.beta` is 0."""
    entropy: Nats | None = None
    """Entropy of sampling, mean."""
    completion_tokens: MeanTokens | None = None
    """Length of a completion, mean."""
    truncated: Share | None = None
    """Share of completions cut at `training.rl.max_completion_length`."""
    tokens_saved: Number | None = None
    """Share of the tokens that plain GRPO would have put through the model, and this did not."""
    clip_ratio: Share | None = None
    """Share of tokens whose update was clipped."""
    shaped: Reward | None = field(default=None, metadata=RARE)
    """What `training.rl.shapes` have added to it, mean over the completions."""
    companions: dict[str, Number] | None = field(default=None, metadata=RARE)
    """For each of `training.rl.companions` the share of completions that it had something to learn beside; and what
    else it tells."""
    route_free_success: Share | None = field(default=None, metadata=RARE)
    """Moving average of right answers without routes, which the adaptive schedule follows."""
    domain_weights: dict[str, Share] | None = field(default=None, metadata=RARE)
    """Probability of each kind of question in the next batch, with dynamic sampling."""
    parse: dict[str, Share] = field(default_factory=dict)
    """Share of completions by the reason why a part of them could not be read."""


@dataclass(frozen=True, kw_only=True)
class RewardParts(Record):
    """What a reward is made of; the three add up to it."""

    format: Reward
    """For parts that could all be read."""
    answer: Reward
    """For the right answer."""
    scores: Reward
    """For scoring the routes; only where the answer is right."""


@dataclass(frozen=True, kw_only=True)
class SampledCompletion(Record):
    """A completion sampled in training."""

    text: str
    """As it was written."""
    think: str
    """Its thinking."""
    answer: str | None
    """Its answer; null where there is none."""
    scores: tuple[Share | None, ...]
    """Its score of each route; null where one could not be read."""
    correct: bool | None
    """Whether the verifier takes the answer for the gold; null where the verifier failed, and nobody knows."""
    verdict: str = ""
    """Why nothing was compared: `unreadable`, `unreadable gold`, `timeout`, `error: …`; else empty."""
    reward: Reward | None
    """What it earned; null where the verifier failed."""
    format: Reward
    """The part for the format."""
    scoring: Share
    """Quality of its scores, whether the answer is right or not."""
    reasons: tuple[str, ...]
    """Codes of what could not be read; none where the format is right."""
    parts: RewardParts | None = None
    """What the reward is made of; null where the verifier failed, and in files of earlier versions."""
    copied: bool | None = None
    """Whether a wrong answer is, to the verifier, that of a wrong route in the prompt; null where the verifier failed,
    and in files of earlier versions."""


@dataclass(frozen=True, kw_only=True)
class Sampled(Place):
    """completions.jsonl: some of the groups that were sampled at every `training.sample_every`-th step of RL."""

    FILE: ClassVar[str] = "completions.jsonl"

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
    p: Share
    """Probability with which each drawn route was kept."""
    prompt: str
    """As the model read it."""
    routes: tuple[ShownRoute, ...]
    """Those in the prompt."""
    completions: tuple[SampledCompletion, ...]
    """Those of the group."""
