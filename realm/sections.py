"""The sections of the configuration: every key, its type, its default and what it means."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from realm.method.prompt import Tags
from realm.method.reward import RULES, Weights
from realm.method.routes import STRATEGIES
from realm.method.schedule import SCHEDULES, Granularity, Kind, Schedule
from realm.plugins import POINTS, check, entry
from realm.recipes import RECIPES, recipe

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
#: The kinds of teachers of this package: what makes one (`realm.teacher.base.Wanted`), imported when it is asked for.
TEACHERS = {
    "scripted": "realm.desk.scripted:make_scripted",
    "openai": "realm.teacher.endpoint:make_endpoint",
    "transformers": "realm.teacher.local:make_local",
}
#: `model.path` of the tiny base model that is part of the package (the desk's student).
PACKAGED_BASE = "desk-base"


def plugin(point: str) -> AfterValidator:
    """A name of a point of plug-ins (`realm.plugins`), or one with its options; nothing is imported."""

    def checked(value: Any) -> Any:
        name, options = entry(value)
        check(point, name)
        return {name: options} if options else name

    return AfterValidator(checked)


def reads_bank(steps: Sequence[Any]) -> bool:
    """Whether steps draw on CoTs of the bank. What a plug-in draws on is not known: it adds that to what is spent."""
    found = map(entry, steps)
    return any(name == "bank" or options.get("routes") or options.get("contrast") for name, options in found)


def asks_teachers(steps: Sequence[Any]) -> bool:
    """Whether steps ask teachers while a run is at work; those of other packages may."""
    names = {name for name, _ in map(entry, steps)}
    return not names.isdisjoint({"tailored", "passages", "refine"}) or not names.issubset(POINTS["steps"].table)


class Section(BaseModel):
    """A part of the configuration. Unknown keys are errors, and values are checked on assignment too."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, protected_namespaces=())


class RunConfig(Section):
    """Where the run lives and what makes it repeatable."""

    name: str = Field("run", description="Folder of the run below `dir`. A used name needs --resume or --overwrite.")
    dir: str = Field("runs", description="Parent folder of all runs.")
    seed: int = Field(0, ge=0, description="The one seed; every other seed is derived from it.")
    report_to: list[str] = Field([], description="Trackers of transformers besides metrics.jsonl: tensorboard, wandb…")


#: The embedded task and its harder tier.
DESKS = ("desk", "desk-hard")


def _verifiers(value: Any) -> Any:
    """A name, or one for each kind of question with one for all others."""
    texts = [one for pair in value.items() for one in pair] if isinstance(value, dict) else [value]
    if not all(isinstance(one, str) for one in texts) or (isinstance(value, dict) and "default" not in value):
        raise ValueError("expected a name, or {KIND: NAME, default: NAME}, every KIND and NAME a text in quotes")
    return value


class TaskConfig(Section):
    """The questions and how an answer is judged."""

    name: str = Field("desk", description="Task family: desk, desk-hard, gsm8k, jsonl, or package.module:attribute.")
    path: str | None = Field(
        None,
        description="Training questions (gsm8k, jsonl): a JSONL, JSON, CSV or Parquet file, or a data set of the Hub: "
        "hf:OWNER/NAME[/CONFIG][@REVISION][:SPLIT], without SPLIT its train.",
    )
    test_path: str | None = Field(
        None, description="Test questions, as `path`; without it `test_size` of `path` are split off."
    )
    columns: dict[Literal["question", "answer", "id", "kind", "difficulty", "tags"], str] = Field(
        {},
        description="Our key -> the file's, where it names columns otherwise: {question: Frage, answer: gold.value}; "
        "question: a+b joins two, {question: stem+choices} shows what there is to choose from; id: none is no key.",
    )
    test_size: int | None = Field(
        None,
        ge=1,
        description="Questions split off for the test where there is no `test_path`; null: a fifth, at most 200. Of "
        "the rest a tenth, at most 100, are for validation.",
    )
    split_seed: int | None = Field(
        None, ge=0, description="Seed by which a file's questions are split; null: `run.seed` (gsm8k, jsonl)."
    )
    verifier: Annotated[str | dict[str, str], BeforeValidator(_verifiers)] = Field(
        "exact",
        description="How an answer is compared with the gold (task jsonl; desk and gsm8k bring their own): exact, "
        "number, choice, math, python, or package.module:attribute; for each `kind` of question another one with "
        "{KIND: number, default: exact}.",
    )
    choices: list[str] = Field(
        [],
        description="Allowed answers of the verifier `choice`, as they stand here: yes, 1 and null are texts too. "
        "Also the classes of macro-F1.",
    )
    bad_rows: Literal["refuse", "skip"] = Field(
        "refuse", description="A row without a usable gold: refuse, or skip it."
    )
    max_train: int | None = Field(None, ge=1, description="Use at most this many training questions.")
    max_test: int | None = Field(None, ge=1, description="Use at most this many questions of every held-out split.")
    verifier_timeout: float = Field(5.0, gt=0, description="Seconds after which one verification is killed.")

    @model_validator(mode="after")
    def _used(self) -> TaskConfig:
        """No size where nothing is split off, so that runs that note one are the same as those that do not."""
        if self.test_size is not None and (self.name in DESKS or self.test_path):
            self.test_size = None
        return self

    @property
    def verifier_name(self) -> str:
        """The name of the verifier: as it stands here, or where each kind has its own, all of it as JSON."""
        return self.verifier if isinstance(self.verifier, str) else json.dumps(self.verifier, sort_keys=True)

    @property
    def called(self) -> str:
        """What its user calls it: the file of the questions, or the name of the task that brings its own."""
        return PurePath(self.path).name if self.path else self.name


class ModelSettings(Section):
    """The student (SLM)."""

    path: str = Field(PACKAGED_BASE, description=f"Model directory or Hub name; `{PACKAGED_BASE}` is the packaged one.")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Type of the weights; float16 is for asking alone, and not trained."
    )
    context: int | None = Field(
        None, ge=16, description="Prompt + completion in tokens; default: what the model allows."
    )
    tokenizer: Literal["auto", "file"] = Field(
        "auto",
        description="auto: as transformers loads it; file: as tokenizer.json says, where transformers departs from it.",
    )
    template_arguments: dict[str, Any] = Field(
        {}, description="Arguments of the model's chat template: enable_thinking: false, reasoning_effort: low, …"
    )
    date: str = Field(
        "2025-01-01",
        description="The day that chat templates take for today: prompts of a run must not change overnight.",
    )

    @field_validator("date", mode="before")
    @classmethod
    def _a_day(cls, value: object) -> object:
        try:  # YAML has made a date of it already, where it is not quoted
            return datetime.date.fromisoformat(str(value)).isoformat()
        except ValueError as error:
            raise ValueError("expected a day as 2025-01-31") from error


class SamplingConfig(Section):
    """How a teacher samples. What is null is not sent: the endpoint's own default holds."""

    temperature: float | None = Field(0.8, ge=0, description="How far samples differ; 0: the likeliest token.")
    top_p: float | None = Field(None, gt=0, le=1, description="Share of the probability that is sampled from.")
    max_tokens: int = Field(2048, ge=1, description="Tokens one answer may have; a longer one is cut and marked.")
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="What the endpoint calls it (newer OpenAI models: max_completion_tokens)."
    )
    extra: dict[str, Any] = Field(
        {},
        description="Anything else, sent as it is: top_k, reasoning_effort, … Of a seed, each request gets its own.",
    )


class PriceConfig(Section):
    """What a million of a teacher's tokens costs, as vendors print it."""

    input: float | None = Field(None, ge=0, description="Of the prompt, e.g. 0.27.")
    output: float | None = Field(None, ge=0, description="Of the answer, e.g. 1.10.")
    cached: float | None = Field(
        None, ge=0, description="Of what of a prompt the endpoint says it read from its cache; null: as `input`."
    )
    batch: float = Field(0.5, ge=0, description="Times these prices is what an answer in a batch file costs.")
    currency: str = Field("USD", pattern=r"^[A-Z]{3}$", description="Of all.")

    def of(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> Decimal | None:
        """What that many tokens cost, so many of the prompt cached; None where a price is not known."""
        if self.input is None or self.output is None:
            return None
        # By their texts: 0.27 is meant, not the binary number next to it.
        per_input, per_output = Decimal(str(self.input)), Decimal(str(self.output))
        per_cached = per_input if self.cached is None else Decimal(str(self.cached))
        fresh = (prompt_tokens - cached_tokens) * per_input
        return (fresh + cached_tokens * per_cached + completion_tokens * per_output) / 10**6


class TeacherConfig(Section):
    """One teacher. Its key below `teachers` is its name in the bank."""

    kind: Annotated[str, plugin("teachers")] = Field(
        "scripted",
        description="scripted (the desk's clerk), openai (any compatible endpoint), transformers (a local model), or "
        "package.module:attribute.",
    )
    model: str | None = Field(None, description="Name of the model at the endpoint, or a local model directory.")
    base_url: str | None = Field(None, description="Endpoint, e.g. http://127.0.0.1:8000/v1; null: OpenAI's own.")
    api_key_env: str | None = Field(
        "OPENAI_API_KEY", description="Environment variable that holds the key; null: the endpoint needs none."
    )
    share: int = Field(1, ge=0, description="Its part of the N samples of a question, relative to the other teachers.")
    sampling: SamplingConfig = SamplingConfig()
    system: str | None = Field(None, description="System message instead of our own; an empty one sends none.")
    prompt: str | None = Field(
        None,
        description="User message instead of our own, with {question}, {comments} and {instruction}; {gold} tells the "
        "teacher the answer, for CoTs to teach (collect.splits: [train]).",
    )
    shows: Literal["both", "reasoning", "answer"] = Field(
        "both",
        description="What a route's text is where the endpoint gives the reasoning apart (openai): the reasoning and "
        "the answer's text behind it, or one of them. The final answer is read from the answer's text.",
    )
    price: PriceConfig = PriceConfig()
    batch_size: int = Field(
        8,
        ge=1,
        description="Samples generated together (transformers), or asked for by one request where they share a prompt, "
        "which is then paid once (openai; one by one where the endpoint gives one at a time).",
    )
    batch: str | None = Field(
        None,
        pattern=r"^\d+[mhd]$",
        description="Ask by batch files, which the endpoint answers within this window, e.g. 24h, for price.batch of "
        "the price (openai); null: at once.",
    )
    batch_samples: int = Field(10_000, ge=1, le=50_000, description="Samples that a batch file asks for at most.")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="Of the weights (transformers).")
    template_arguments: dict[str, Any] = Field(
        {}, description="Arguments of the model's chat template (transformers), as `model.template_arguments`."
    )

    def cost(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> Decimal | None:
        """What that many tokens cost as it is asked, at once or by batch files; None where a price is not known."""
        found = self.price.of(prompt_tokens, completion_tokens, cached_tokens)
        return found * Decimal(str(self.price.batch)) if found is not None and self.batch else found

    @model_validator(mode="after")
    def _named(self) -> TeacherConfig:
        if self.kind in ("openai", "transformers") and not self.model:
            raise ValueError(f"a teacher of kind {self.kind} needs a `model`")
        if self.batch and self.kind != "openai":
            raise ValueError(f"only a teacher of kind openai is asked by `batch` files, not one of kind {self.kind}")
        return self


class BudgetConfig(Section):
    """What a collection may use in all, over every start of it; it is never passed."""

    requests: int | None = Field(None, ge=1, description="Requests sent, failed ones among them.")
    tokens: int | None = Field(None, ge=1, description="Tokens of prompts and answers.")
    cost: float | None = Field(
        None, ge=0, description="Money, in the currency of the prices; every teacher then needs both."
    )


class CollectConfig(Section):
    """How `realm collect` asks the teachers."""

    concurrency: int = Field(16, ge=1, le=1024, description="Requests under way at the same time.")
    timeout: float = Field(120.0, gt=0, description="Seconds one request may take in all.")
    retries: int = Field(
        6, ge=0, description="Further tries of a request that failed for a passing reason (429: 5 times as many)."
    )
    give_up_after: int = Field(20, ge=1, description="Failures in a row, no answer between them, that stop it all.")
    splits: list[str] = Field(
        [],
        description="Splits of the task to ask about; empty: every one. CoTs of train are learned from, those of other "
        "splits shown where a student is evaluated with routes.",
    )
    budget: BudgetConfig = BudgetConfig()


class GuidanceConfig(Section):
    """Guided CoT distillation: expert comments in the teacher's prompt."""

    probability: Probability = Field(0.5, description="ρ: probability per sample that comments are shown.")
    comments: str | None = Field(None, description="Markdown or JSONL file of comments; null: the task's own.")
    match: Literal["tag", "always", "retrieval"] = Field(
        "tag", description="Which are shown: those that share a tag with the question, all, or the best by BM25."
    )
    top: int = Field(3, ge=1, description="How many `retrieval` shows at most.")
    floor: Probability = Field(
        0.17, description="`retrieval`: share of a comment's words, rare ones counting more, that a question must have."
    )


class BankConfig(Section):
    """The bank of labelled CoTs."""

    path: str | None = Field(None, description="Bank folder, or a JSONL file with `cots`. Default: <run>/bank.")
    samples: int = Field(8, ge=1, description="N: CoTs per question that `realm collect` asks for.")
    relabel: bool = Field(True, description="Judge every CoT's answer by our verifier instead of trusting the file.")
    mapping: dict[str, str] = Field(
        {},
        description="`realm bank import`: our key -> dotted key of the file, e.g. {text: response.content}; a+b joins "
        "two, x.* is each entry of a list, none is no key.",
    )


class RoutesConfig(Section):
    """Which CoTs are shown to the student."""

    k: int = Field(4, ge=0, description="Routes per prompt before fading.")
    selection: Annotated[str, plugin("selections")] = Field(
        "random", description=f"How k of the N are chosen: {', '.join(STRATEGIES)}, or package.module:attribute."
    )
    error_ratio: Probability = Field(0.4, description="Share of negatives under `error_ratio`.")
    error_range: tuple[Probability, Probability] = Field((0.2, 0.8), description="Range of it under `balanced`.")


class FadeConfig(Section):
    """EAAI: the probability p of external CoTs over training progress τ in [0, 1]."""

    schedule: Annotated[str, plugin("schedules")] = Field(
        "cosine",
        description=f"How p falls: {', '.join(SCHEDULES)} (below the cosine by as much as the student succeeds without "
        "routes), or package.module:attribute.",
    )
    p_start: Probability = Field(1.0, description="p at the start.")
    p_end: Probability = Field(0.0, description="p at the end.")
    hold: Probability = Field(0.0, description="τ until which p stays at p_start (`adaptive`: may stay).")
    fade_end: Probability = Field(0.9, description="τ from which p is p_end.")
    stairs: int = Field(4, ge=1, description="Number of stairs of `step`.")
    granularity: Granularity = Field(
        "route", description="What p decides: each route for itself, all of a prompt, or how many are left."
    )
    target: float = Field(
        0.9, gt=0, le=1, description="`adaptive`: success without routes at which p has come down to `floor`."
    )
    floor: Probability = Field(
        0.1, description="`adaptive`: p that success alone cannot go below before fade_end; the cosine can."
    )
    per: Literal["global", "kind", "difficulty"] = Field(
        "global", description="`adaptive`: one p for all questions, or one for each kind or difficulty of them."
    )
    memory: float = Field(
        0.8, ge=0, lt=1, description="`adaptive`: share of the old success kept when a batch brings a new one."
    )
    probe: Probability = Field(
        0.1, description="`adaptive`: share of prompts without any route, so that success is known while p is high."
    )

    def made(self, kind: str | Kind) -> Schedule:
        """The schedule of that kind that these settings are; raises `ValueError` where they are none."""
        return Schedule(kind, self.p_start, self.p_end, self.hold, self.fade_end, self.stairs, self.floor, self.target)

    @model_validator(mode="after")
    def _one(self) -> FadeConfig:
        self.made("constant")
        return self


class RewardConfig(Section):
    """The two-stage reward r = format·ok + a·(answer + scores·scoring)."""

    format: float = Field(0.1, ge=0, description="For a completion of the asked form.")
    answer: float = Field(1.0, ge=0, description="For a right answer.")
    scores: float = Field(0.5, ge=0, description="For scores that tell the routes' labels; only with a right answer.")
    rule: Annotated[str, plugin("rules")] = Field(
        "l1",
        description=f"How well scores tell labels (`scoring`): {', '.join(RULES)}, or package.module:attribute.",
    )

    def weights(self) -> Weights:
        """The weights of the parts."""
        return Weights(self.format, self.answer, self.scores)


class PromptConfig(Section):
    """The surface of prompt and completion."""

    think_tag: str = Field("think", description="Name of the tag around the reasoning.")
    answer_tag: str = Field("answer", description="Name of the tag around the answer.")
    scores_tag: str = Field("scores", description="Name of the tag around the routes' scores.")
    system: str | None = Field(None, description="System message instead of the task's own wording.")
    examples: Literal["auto", "none"] | list[dict[Literal["question", "think", "answer"], str]] = Field(
        "auto",
        description="Questions answered in the asked form, as turns before the real one: [{question: …, think: …, "
        "answer: …}, …]; auto: the task's own, or three easy ones, unless the student's tokenizer knows <answer> as "
        "one token (such a student was made for the form, as the packaged one is), `execute` is set, training begins "
        "with SFT on a bank, or they would take more than half of the room of a prompt; none.",
    )
    judge: bool = Field(True, description="Ask for a score of every route; false: for the answer alone.")
    execute: bool = Field(
        False, description="Where the thinking is a program, it is run and its result is the answer: a tool in use."
    )

    def tags(self) -> Tags:
        """The tags of a completion; raises `ValueError` where they cannot be told apart, or are no names."""
        return Tags(self.think_tag, self.answer_tag, self.scores_tag)

    @model_validator(mode="after")
    def _distinct(self) -> PromptConfig:
        self.tags()
        return self

    @field_validator("examples", mode="before")
    @classmethod
    def _answered(cls, given: Any) -> Any:
        """In one sentence what pydantic would say in one for each of the two types."""

        def whole(one: Any) -> bool:
            texts = one.values() if isinstance(one, dict) and one.keys() == {"question", "think", "answer"} else [""]
            return all(isinstance(text, str) and text.strip() for text in texts)

        if given not in ("auto", "none") and not (isinstance(given, list) and all(map(whole, given))):
            raise ValueError("expected auto, none, or a list of {question: text, think: text, answer: text}")
        return given


class EvaluationConfig(Section):
    """Evaluation of a model directory without and with routes."""

    splits: list[str] = Field(
        [],
        description="Splits that are asked; empty: every one of the task but train and those that begin with "
        "validation.",
    )
    batch_size: int = Field(64, ge=1, description="Prompts answered together.")
    max_completion_length: int | None = Field(None, ge=1, description="Default: training.rl.max_completion_length.")
    samples: int = Field(1, ge=1, description="Completions per question; 1 is greedy, more gives pass@n and maj@n.")
    temperature: float = Field(1.0, gt=0, description="Used when samples > 1.")
    stop_temperature: float | None = Field(
        None,
        gt=0,
        description="Of the token that closes the thinking alone: below 1 it comes later, above 1 earlier; null: 1.",
    )
    bootstrap: int = Field(2000, ge=100, description="Resamples of the 95 % intervals.")
    confidence: Literal["likelihood", "votes", "stated"] | None = Field(
        None,
        description="How sure an answer is, and how far that can be trusted: the mean likelihood of its tokens; the "
        "share of `samples` that agree; what the completion states (`confidence: 0.9`), where the prompt asks for it.",
    )
    precision: Probability = Field(
        0.95, description="Share of right answers wanted among those that are trusted; tells the confidence to ask for."
    )
    precision_on: str = Field("validation", description="The split on which that confidence is chosen.")
    edits: list[Literal["clause", "wording", "number", "flip"]] = Field(
        [],
        description="Questions are asked again without routes, edited: an irrelevant clause, another wording; other "
        "numbers and a condition turned round, where the task can tell the answer (desk). Splits SPLIT+EDIT.",
    )
    also: str | None = Field(
        None,
        description="Another configuration, whose held-out questions are asked too, of the untrained and the trained "
        "model: what was unlearned.",
    )

    @model_validator(mode="after")
    def _voted(self) -> EvaluationConfig:
        if self.confidence == "votes" and self.samples < 2:
            raise ValueError("confidence: votes needs evaluation.samples of at least 2, a vote each")
        return self


class SFTSettings(Section):
    """Supervised fine-tuning: the cold start of realm-r1, and all of some baselines (TRL's SFTTrainer)."""

    steps: int = Field(100, ge=0, description="Optimizer steps; 0: no cold start.")
    batch_size: int = Field(32, ge=1, description="Examples per optimizer step.")
    micro_batch_size: int = Field(32, ge=1, description="Examples per forward on one device.")
    padding: Literal["batch", "length"] = Field(
        "length",
        description="length: examples of like length are forwarded together, and the head reads what is learned alone; "
        "batch: all of a forward as long as its longest, the same loss in more time (sums are rounded otherwise).",
    )
    learning_rate: float = Field(2e-5, gt=0, description="Step size of the optimizer; it falls in a line to 0.")
    traces: list[Annotated[Any, plugin("steps")]] = Field(
        ["bank", "right", "fits", "guided_first"],
        min_length=1,
        description="What is taught, step by step: a name, or a name with its options, as {mix: {share: 0.2}} (see "
        f"realm/traces/steps): {', '.join(POINTS['steps'].table)}; or package.module:attribute.",
    )
    weigh: Annotated[Any, plugin("weighs")] | None = Field(
        None,
        description="What each token counts in the loss: null: all the same; or a name, or a name with its options "
        f"(see realm/traces/weighs): {', '.join(POINTS['weighs'].table)}; or package.module:attribute.",
    )
    empty_share: Probability = Field(0.5, description="Share of examples without any route.")

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, values: Any) -> Any:
        """`taught` and `guided_first`, which configurations of earlier versions have, are steps now."""
        if not isinstance(values, dict) or "traces" in values or not {"taught", "guided_first"} & set(values):
            return values
        taught, first = values.get("taught", "positive"), values.get("guided_first", True)
        steps = {
            "positive": ["bank", "right", "fits", *(["guided_first"] if first else [])],
            "distinct": ["bank", "right", "fits", "distinct"],
            "all": ["bank", "fits"],
            "tailored": ["tailored"],
            "contrast": [{"tailored": {"contrast": True}}],
        }
        kept = {key: value for key, value in values.items() if key not in ("taught", "guided_first")}
        return {**kept, "traces": steps[taught]} if taught in steps else values


class RLSettings(Section):
    """RL (TRL's GRPOTrainer underneath)."""

    steps: int = Field(200, ge=1, description="Optimizer steps; τ = step / steps.")
    num_generations: int = Field(8, ge=2, description="G: completions per prompt (the group).")
    batch_size: int = Field(96, ge=2, description="Completions per optimizer step over all processes; a multiple of G.")
    micro_batch_size: int = Field(96, ge=1, description="Completions per forward and backward on one device.")
    learning_rate: float = Field(1e-6, gt=0, description="Step size of the optimizer.")
    lr_schedule: Literal["constant", "linear", "cosine"] = Field(
        "constant", description="Course of the learning rate after the warm-up: as it is, or down to 0."
    )
    warmup_steps: int = Field(0, ge=0, description="Steps in which the learning rate rises to its value.")
    max_completion_length: int = Field(
        512, ge=1, description="Tokens a completion may have; a CoT that is longer is not taught."
    )
    temperature: float = Field(1.0, gt=0, description="Of the completions that are sampled.")
    beta: float = Field(
        0.0, ge=0, description="KL coefficient β, of k3 times the importance ratio; above 0 a reference model is kept."
    )
    epsilon: float = Field(0.2, gt=0, description="Clipping range of the importance ratio.")
    epsilon_high: float | None = Field(None, gt=0, description="Of it the upper one, where it is another.")
    top_entropy_quantile: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of each micro-batch's tokens that are learned from: where the student is least sure.",
    )
    mask_truncated: bool = Field(
        False, description="Learn nothing from completions cut at max_completion_length; they count in their group."
    )
    num_iterations: int = Field(1, ge=1, description="Updates per generated batch (μ).")
    sampler: Literal["even", "dynamic"] = Field(
        "even", description="even: every question as often as any other; dynamic: kinds far from the target more often."
    )
    sampler_target: Probability = Field(
        1.0, description="`dynamic`: share of the highest reward from which on a kind counts as mastered."
    )
    sampler_temperature: float = Field(
        0.5, gt=0, description="`dynamic`: the lower, the more the kind farthest from the target is asked."
    )
    sampler_floor: Probability = Field(
        0.1, description="`dynamic`: share of the questions that is spread evenly over the kinds whatever they earn."
    )
    sampler_memory: float = Field(
        0.8, ge=0, lt=1, description="`dynamic`: share of a kind's old reward kept when a batch brings a new one."
    )
    loss_type: Literal["grpo", "dapo", "dr_grpo", "bnpo"] = Field(
        "dapo", description="How the losses of tokens become one, as TRL's `loss_type`."
    )
    scale_rewards: Literal["group", "batch", "none"] = Field(
        "group", description="Whose standard deviation advantages are divided by."
    )
    max_grad_norm: float = Field(
        1.0, gt=0, description="Longer gradients are shortened to this norm, in SFT and pairs too."
    )
    weight_decay: float = Field(0.0, ge=0, description="Of AdamW, in SFT and pairs too.")
    gradient_checkpointing: bool = Field(
        False,
        description="Less memory, more time, in SFT and pairs too. The update shares no prompts then: it reads a "
        "prompt once per completion.",
    )
    bf16: bool = Field(False, description="Mixed precision, in SFT and pairs too (needs hardware that has it).")
    optimizer: Literal["adamw_torch_fused", "adamw_torch", "adamw_8bit", "adafactor"] = Field(
        "adamw_torch_fused", description="Of SFT and pairs too; adamw_8bit needs the package bitsandbytes."
    )
    # YAML reads a bare off as false, here and below.
    shared_prefix: Annotated[Literal["auto", "off"], BeforeValidator(lambda v: "off" if v is False else v)] = Field(
        "auto", description="auto: a prompt is read once for its whole group wherever that pays; off: TRL's own path."
    )
    vllm: Annotated[Literal["off", "colocate", "server"], BeforeValidator(lambda v: "off" if v is False else v)] = (
        Field(
            "off",
            description="Generate with vLLM through TRL: beside the training on every GPU, or on a server of its own.",
        )
    )
    vllm_url: str = Field(
        "http://localhost:8000", pattern=r"^https?://", description="Where the server of `vllm: server` listens."
    )
    vllm_memory: float = Field(0.3, gt=0, le=0.95, description="Share of each GPU's memory under `vllm: colocate`.")
    shapes: list[Annotated[Any, plugin("shapes")]] = Field(
        [],
        description="What shapes each group's rewards and advantages, one after the other: a name, or a name with its "
        f"options (see realm/training/shapes): {', '.join(POINTS['shapes'].table)}; or package.module:attribute.",
    )
    companions: list[Annotated[Any, plugin("companions")]] = Field(
        [],
        description="Terms of the loss beside GRPO's: a name, or a name with its options, as {internalize: {weight: "
        f"5}}}} (see realm/training/companions): {', '.join(POINTS['companions'].table)}; or package.module:attribute.",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, values: Any) -> Any:
        """`internalize`, which configurations of earlier versions have, is a companion now."""
        if not isinstance(values, dict) or "companions" in values or not isinstance(values.get("internalize"), dict):
            return values
        kept, old = {key: value for key, value in values.items() if key != "internalize"}, values["internalize"]
        if not set(old) <= {"weight", "by"}:
            return values
        return {**kept, "companions": [{"internalize": old}]} if old.get("weight") else kept

    @model_validator(mode="after")
    def _divides(self) -> RLSettings:
        if self.batch_size % self.num_generations:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of num_generations G ({self.num_generations}), "
                f"e.g. {max(1, round(self.batch_size / self.num_generations)) * self.num_generations}"
            )
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of micro_batch_size ({self.micro_batch_size})"
            )
        return self


class LoRASettings(Section):
    """Training of low-rank adapters (LoRA, arXiv 2106.09685) instead of all weights; the saved model is merged."""

    r: int = Field(0, ge=0, description="Rank of the adapters; 0 trains all weights.")
    alpha: int = Field(32, ge=1, description="The adapters' output is scaled by alpha / r.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Of the adapters' input, in the cold start; RL runs without.")
    targets: list[str] = Field(
        [], description="Ends of the names of adapted layers, e.g. [q_proj, v_proj]; empty: every one but the head."
    )


class PairsSettings(Section):
    """Learning from pairs of CoTs, a preferred and a rejected one of a question (TRL's trainers)."""

    miner: Annotated[Any, plugin("miners")] = Field(
        "bank",
        description="What finds the pairs: a name, or a name with its options, as {rollout: {samples: 4}} (see "
        f"realm/traces/miners): {', '.join(POINTS['miners'].table)}; or package.module:attribute.",
    )
    loss: Literal["dpo", "kto", "orpo"] = Field(
        "dpo",
        description="dpo: preferred above rejected, both against the student before; kto: each CoT for itself, against "
        "it too; orpo: the preferred one taught, and its odds raised, against nothing.",
    )
    learned: Literal["all", "answer", "difference"] = Field(
        "all",
        description="Tokens that count: all of a completion's, those behind the thinking, or those between what both "
        "completions have in common at their beginnings and ends. (orpo teaches the preferred one whole all the same.)",
    )
    steps: int = Field(100, ge=1, description="Optimizer steps.")
    batch_size: int = Field(16, ge=1, description="Pairs per optimizer step.")
    micro_batch_size: int = Field(16, ge=1, description="Pairs per forward on one device.")
    learning_rate: float = Field(1e-6, gt=0, description="Step size of the optimizer; it falls in a line to 0.")
    beta: float = Field(
        0.1,
        gt=0,
        description="dpo, kto: the higher, the nearer to the student before; orpo: weight of the odds beside the CoT.",
    )


class AverageSettings(Section):
    """Weights averaged as a stage ends, so that less is unlearned."""

    checkpoints: int = Field(
        1,
        ge=1,
        description="Each stage leaves the mean of its last n checkpoints, `save_every` steps apart, that of its last "
        "step among them; 1: the last step's alone.",
    )
    base: Probability = Field(0.0, description="Share of the untrained student in the run's model.")


class InstructorSettings(Section):
    """The baseline LLMs-as-Instructors (arXiv 2407.00497): the teacher writes examples for the student's own errors."""

    questions: int = Field(200, ge=1, description="Training questions whose answers are looked at in each round.")
    examples: int = Field(4, ge=1, description="Examples asked for each error, each with a request of its own.")


def _recipe_there(name: str, info: ValidationInfo) -> str:
    if not (info.context or {}).get("reading"):
        recipe(name)
    return name


class TrainingConfig(Section):
    """One training run."""

    recipe: Annotated[str, AfterValidator(_recipe_there)] = Field(
        "realm-r1",
        description="realm-r1 (SFT, then RL), realm-zero (RL at once), or a baseline (see realm/recipes): "
        f"{', '.join(RECIPES)}; or package.module:attribute.",
    )
    rounds: int = Field(
        1,
        ge=1,
        description="How often realm-r1, sft+grpo, redistill, pairs and phi4-mini repeat their stages, and instructors "
        "its SFT.",
    )
    sft: SFTSettings = SFTSettings()
    pairs: PairsSettings = PairsSettings()
    rl: RLSettings = RLSettings()
    lora: LoRASettings = LoRASettings()
    instructors: InstructorSettings = InstructorSettings()
    average: AverageSettings = AverageSettings()
    best: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {},
        description="Validation splits and what they weigh, as {validation: 1, other:validation: 0.5} (a split of "
        "`evaluation.also`): of the checkpoints that are kept the run's model is the one with the highest weighted "
        "accuracy without routes, of equals the latest; empty: the last step's.",
    )
    save_every: int = Field(50, ge=1, description="Steps between checkpoints that --resume can use.")
    keep_checkpoints: int = Field(2, ge=1, description="How many of the newest are kept.")
    eval_every: int = Field(50, ge=1, description="Steps between evaluations on the validation questions.")
    eval_questions: int = Field(100, ge=0, description="Training-time evaluation uses this many; 0 turns it off.")
    log_every: int = Field(1, ge=1, description="Steps between rows of metrics.jsonl.")
    sample_every: int = Field(10, ge=1, description="Steps between saved groups of completions.")
    sample_groups: int = Field(2, ge=0, description="Groups saved each time.")

    @model_validator(mode="after")
    def _kept(self) -> TrainingConfig:
        if self.best and (self.average.checkpoints > 1 or self.keep_checkpoints < 2):
            raise ValueError(
                "best chooses one of the checkpoints that are kept: raise keep_checkpoints above 1, and set "
                "average.checkpoints to 1"
            )
        if self.average.checkpoints > self.keep_checkpoints:
            raise ValueError(
                f"average.checkpoints ({self.average.checkpoints}) are averaged of those that are kept: raise "
                f"keep_checkpoints ({self.keep_checkpoints})"
            )
        return self
