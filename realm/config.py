"""The one configuration of every command: typed, validated, written in YAML, each field overridable by `--set`.

A configuration file holds only what differs from the defaults below; the resolved one (every field spelled out) is
saved in the run folder and runs again as it is. Relative paths are taken from the working directory; `${NAME}` and
`${NAME:-default}` in a string are replaced from the environment.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from realm.errors import ConfigError

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Recipe = Literal["grpo", "realm-zero", "realm-r1"]

#: `model.path` of the tiny base model that is part of the package (the desk's student).
PACKAGED_BASE = "desk-base"


class Section(BaseModel):
    """A part of the configuration. Unknown keys are errors, and values are checked on assignment too."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, protected_namespaces=())


class RunConfig(Section):
    """Where the run lives and what makes it repeatable."""

    name: str = Field("run", description="Folder of the run below `dir`. A used name needs --resume or --overwrite.")
    dir: str = Field("runs", description="Parent folder of all runs.")
    seed: int = Field(0, ge=0, description="The one seed; every other seed is derived from it.")
    report_to: list[str] = Field([], description="Trackers of transformers besides metrics.jsonl: tensorboard, wandb…")


class TaskConfig(Section):
    """The questions and how an answer is judged."""

    name: Literal["desk", "gsm8k", "jsonl"] = Field("desk", description="Task family.")
    path: str | None = Field(None, description="JSONL file of training questions (gsm8k, jsonl).")
    test_path: str | None = Field(
        None, description="JSONL file of test questions; without it `test_size` is split off."
    )
    test_size: int = Field(200, ge=1, description="Questions split off for the test when there is no `test_path`.")
    verifier: Literal["exact", "number", "choice", "math", "python"] = Field(
        "exact", description="How an answer is compared with the gold (task jsonl; desk and gsm8k bring their own)."
    )
    choices: list[str] = Field(
        [], description="Allowed answers of the verifier `choice`; also the classes of macro-F1."
    )
    bad_rows: Literal["refuse", "skip"] = Field(
        "refuse", description="A row without a usable gold: refuse, or skip it."
    )
    max_train: int | None = Field(None, ge=1, description="Use at most this many training questions.")
    max_test: int | None = Field(None, ge=1, description="Use at most this many questions of every held-out split.")
    verifier_timeout: float = Field(5.0, gt=0, description="Seconds after which one verification is killed.")


class ModelSettings(Section):
    """The student (SLM)."""

    path: str = Field(PACKAGED_BASE, description=f"Model directory or Hub name; `{PACKAGED_BASE}` is the packaged one.")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="Type of the weights in training.")
    context: int | None = Field(
        None, ge=16, description="Prompt + completion in tokens; default: what the model allows."
    )


class TeacherConfig(Section):
    """The teacher whose CoTs fill the bank (`realm collect`)."""

    kind: Literal["scripted"] = Field(
        "scripted", description="`scripted`: the desk's clerk who does not know the book."
    )


class GuidanceConfig(Section):
    """Guided CoT distillation: expert comments in the teacher's prompt."""

    probability: Probability = Field(0.5, description="ρ: probability per sample that comments are shown.")


class BankConfig(Section):
    """The bank of labelled CoTs."""

    path: str | None = Field(None, description="Bank folder, or a JSONL file with `cots`. Default: <run>/bank.")
    samples: int = Field(8, ge=1, description="N: CoTs per question that `realm collect` asks for.")
    relabel: bool = Field(True, description="Judge every CoT's answer by our verifier instead of trusting the file.")


class RoutesConfig(Section):
    """Which CoTs are shown to the student."""

    k: int = Field(4, ge=0, description="Routes per prompt before fading.")
    selection: Literal["random", "balanced", "error_ratio"] = Field("random", description="How k of the N are chosen.")
    error_ratio: Probability = Field(0.4, description="Share of negatives under `error_ratio`.")
    error_range: tuple[Probability, Probability] = Field((0.2, 0.8), description="Range of it under `balanced`.")


class FadeConfig(Section):
    """EAAI: the probability p of external CoTs over training progress τ in [0, 1]."""

    schedule: Literal["cosine", "linear", "step", "constant"] = "cosine"
    p_start: Probability = 1.0
    p_end: Probability = 0.0
    hold: Probability = Field(0.0, description="τ until which p stays at p_start.")
    fade_end: Probability = Field(0.9, description="τ from which p is p_end.")
    stairs: int = Field(4, ge=1, description="Number of stairs of `step`.")
    granularity: Literal["route", "question", "count"] = "route"

    @model_validator(mode="after")
    def _ordered(self) -> FadeConfig:
        if self.hold >= self.fade_end:
            raise ValueError(f"hold ({self.hold}) must be below fade_end ({self.fade_end})")
        return self


class RewardConfig(Section):
    """The two-stage reward r = format·ok + a·(answer + scores·scoring)."""

    format: float = Field(0.1, ge=0)
    answer: float = Field(1.0, ge=0)
    scores: float = Field(0.5, ge=0)
    rule: Literal["l1", "brier", "accuracy", "pairwise"] = "l1"


class PromptConfig(Section):
    """The surface of prompt and completion."""

    think_tag: str = Field("think", pattern=r"^[A-Za-z][\w-]*$")
    answer_tag: str = Field("answer", pattern=r"^[A-Za-z][\w-]*$")
    scores_tag: str = Field("scores", pattern=r"^[A-Za-z][\w-]*$")
    system: str | None = Field(None, description="System message instead of the task's own wording.")

    @model_validator(mode="after")
    def _distinct(self) -> PromptConfig:
        names = [self.think_tag, self.answer_tag, self.scores_tag]
        if len({name.casefold() for name in [*names, "route"]}) < 4:
            raise ValueError(f"the tags must differ from each other and from `route`, found {', '.join(names)}")
        return self


class SFTSettings(Section):
    """The cold start of realm-r1 (TRL's SFTTrainer)."""

    steps: int = Field(100, ge=0, description="Optimizer steps.")
    batch_size: int = Field(32, ge=1, description="Examples per optimizer step.")
    micro_batch_size: int = Field(32, ge=1, description="Examples per forward on one device.")
    learning_rate: float = Field(2e-5, gt=0)
    guided_first: bool = Field(True, description="Prefer guided positive CoTs as targets where there are some.")
    empty_share: Probability = Field(0.5, description="Share of examples without any route.")


class RLSettings(Section):
    """RL (TRL's GRPOTrainer underneath)."""

    steps: int = Field(200, ge=1, description="Optimizer steps; τ = step / steps.")
    num_generations: int = Field(8, ge=2, description="G: completions per prompt (the group).")
    batch_size: int = Field(96, ge=2, description="Completions per optimizer step over all processes; a multiple of G.")
    micro_batch_size: int = Field(96, ge=1, description="Completions per forward and backward on one device.")
    learning_rate: float = Field(1e-6, gt=0)
    lr_schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: int = Field(0, ge=0)
    max_completion_length: int = Field(512, ge=1, description="Tokens a completion may have.")
    temperature: float = Field(1.0, gt=0)
    beta: float = Field(0.0, ge=0, description="KL coefficient β; above 0 a reference model is kept.")
    epsilon: float = Field(0.2, gt=0, description="Clipping range of the importance ratio.")
    num_iterations: int = Field(1, ge=1, description="Updates per generated batch (μ).")
    loss_type: Literal["grpo", "dapo", "dr_grpo", "bnpo"] = "dapo"
    scale_rewards: Literal["group", "batch", "none"] = "group"
    max_grad_norm: float = Field(1.0, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    gradient_checkpointing: bool = False
    bf16: bool = Field(False, description="Mixed precision (needs hardware that has it).")
    use_vllm: bool = Field(False, description="Generate with vLLM through TRL (needs the package vllm and a GPU).")

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


class TrainingConfig(Section):
    """One training run."""

    recipe: Recipe = Field("realm-r1", description="grpo (no CoTs), realm-zero (RL at once), realm-r1 (SFT, then RL).")
    rounds: int = Field(1, ge=1, description="realm-r1: how often SFT + RL are repeated.")
    sft: SFTSettings = SFTSettings()
    rl: RLSettings = RLSettings()
    save_every: int = Field(50, ge=1, description="Steps between checkpoints that --resume can use.")
    keep_checkpoints: int = Field(2, ge=1)
    eval_every: int = Field(50, ge=1, description="Steps between evaluations on the validation questions.")
    eval_questions: int = Field(100, ge=0, description="Training-time evaluation uses this many; 0 turns it off.")
    log_every: int = Field(1, ge=1, description="Steps between rows of metrics.jsonl.")
    sample_every: int = Field(10, ge=1, description="Steps between saved groups of completions.")
    sample_groups: int = Field(2, ge=0, description="Groups saved each time.")


class EvaluationConfig(Section):
    """Evaluation of a model directory without and with routes."""

    splits: list[str] = Field([], description="Held-out splits; empty: every split of the task but train, validation.")
    batch_size: int = Field(64, ge=1)
    max_completion_length: int | None = Field(None, ge=1, description="Default: training.rl.max_completion_length.")
    samples: int = Field(1, ge=1, description="Completions per question; 1 is greedy, more gives pass@n and maj@n.")
    temperature: float = Field(1.0, gt=0, description="Used when samples > 1.")
    bootstrap: int = Field(2000, ge=100, description="Resamples of the 95 % intervals.")


class Config(Section):
    """The whole configuration."""

    run: RunConfig = RunConfig()
    task: TaskConfig = TaskConfig()
    model: ModelSettings = ModelSettings()
    teacher: TeacherConfig = TeacherConfig()
    guidance: GuidanceConfig = GuidanceConfig()
    bank: BankConfig = BankConfig()
    routes: RoutesConfig = RoutesConfig()
    fade: FadeConfig = FadeConfig()
    reward: RewardConfig = RewardConfig()
    prompt: PromptConfig = PromptConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if self.task.name in ("gsm8k", "jsonl") and not self.task.path:
            raise ValueError(f"task.path is needed for the task {self.task.name}: the JSONL file of training questions")
        if self.bank.path is None and self.routes.k > self.bank.samples:
            raise ValueError(
                f"routes.k ({self.routes.k}) is above bank.samples ({self.bank.samples}): "
                "a prompt cannot show more CoTs than a question has"
            )
        if self.task.name == "jsonl" and self.task.verifier == "choice" and len(self.task.choices) < 2:
            raise ValueError("task.choices needs at least two entries for the verifier `choice`")
        return self

    @property
    def run_path(self) -> Path:
        return Path(self.run.dir) / self.run.name


_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}")


def _expand(value: Any, where: str) -> Any:
    """Replace `${NAME}` and `${NAME:-default}` in every string below `value`."""
    if isinstance(value, str):

        def replace(match: re.Match[str]) -> str:
            found = os.environ.get(match[1], match[2])
            if found is None:
                raise ConfigError(f"{where}: the environment variable {match[1]} is not set; set it or write a path.")
            return found

        return _VARIABLE.sub(replace, value)
    if isinstance(value, Mapping):
        return {key: _expand(item, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, where) for item in value]
    return value


def field_names(model: type[BaseModel] = Config, prefix: str = "") -> list[str]:
    """Every dotted key of the configuration, in the order of the file."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += field_names(kind, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def _hint(key: str) -> str:
    """What an unknown dotted key most likely means, for the end of an error message."""
    known = field_names()
    sections = sorted({".".join(name.split(".")[:depth]) for name in known for depth in range(1, name.count(".") + 1)})
    # The last part, where it is a known one in another section, says more than the look of the whole.
    same_last = [name for name in known if name.split(".")[-1] == key.split(".")[-1]]
    near = difflib.get_close_matches(key, same_last, 1, 0.0) or difflib.get_close_matches(key, known + sections, 1, 0.5)
    if near:
        return f"did you mean {near[0]}?"
    return f"the sections are {', '.join(Config.model_fields)}"


def _explain(error: ValidationError, file: str, overrides: Sequence[str]) -> ConfigError:
    """One line for each problem that pydantic found, blamed on the override or else on the file it came from."""
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        set_here = [f"--set {text}" for text in overrides if f"{text.partition('=')[0].strip()}.".startswith(f"{key}.")]
        where = set_here[-1] if key and set_here else file
        if item["type"] == "extra_forbidden":
            lines.append(f"{where}: unknown key {key}; {_hint(key)}")
        else:
            message = item["msg"].removeprefix("Value error, ")
            found = "" if isinstance(item["input"], dict | BaseModel) else f", found {item['input']!r}"
            lines.append(f"{where}: {f'{key}: ' if key else ''}{message}{found}.")
    return ConfigError("\n".join(lines))


def _set(tree: dict[str, Any], assignment: str) -> None:
    key, sep, text = assignment.partition("=")
    key = key.strip()
    if not sep or not key:
        raise ConfigError(f"--set {assignment}: expected KEY=VALUE, e.g. --set training.rl.steps=200.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    node = tree
    *parents, last = key.split(".")
    for depth, parent in enumerate(parents, 1):
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            section = ".".join(parents[:depth])
            raise ConfigError(f"--set {assignment}: {section} has a value here, {child!r}, and is no section.")
        node = child
    node[last] = value


def load_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file (or the defaults), apply `KEY=VALUE` overrides and validate.

    Raises:
        ConfigError: the file is missing or is not YAML, a key is unknown, or a value is out of range.
    """
    tree: dict[str, Any] = {}
    where = "configuration"
    if path is not None:
        where = str(path)
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(f"{path}: cannot read the configuration ({reason}).") from error
        try:
            loaded = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
        if loaded is not None and not isinstance(loaded, dict):
            raise ConfigError(f"{path}: expected a mapping of sections, found {type(loaded).__name__}.")
        tree = loaded or {}
    for assignment in overrides:
        _set(tree, assignment)
    try:
        return Config.model_validate(_expand(tree, where))
    except ValidationError as error:
        raise _explain(error, where, overrides) from error


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML that `load_config` reads back unchanged."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
