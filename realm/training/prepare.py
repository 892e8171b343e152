"""What a run needs before its first step, found out and made once: the checks, the student, its prompts, its examples.

`prepare` writes nothing and sends nothing. What it loads is what the first stage starts from; a later stage starts from
the model that the one before left.
"""

from __future__ import annotations

import copy
import importlib
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations.integration_utils import get_available_reporting_integrations

from realm.bank.store import Bank
from realm.config import Config, needs_bank, of_stage
from realm.errors import ConfigError, DataError, ModelError, ResourceError
from realm.evaluation.choosing import find_rule
from realm.evaluation.evaluate import completion_limit, evaluation_questions
from realm.method.seeds import derive
from realm.once import Once
from realm.plugins import POINTS, take
from realm.recipes import plan
from realm.recipes.stage import Stage
from realm.rows.base import STAGES
from realm.student.generate import stop_of
from realm.student.load import context_length, load, load_outline, load_tokenizer, prompt_limit
from realm.student.prompts import evaluation_prompts, settled
from realm.student.renderer import Renderer
from realm.tasks.base import Task
from realm.traces.base import Given, LaterError
from realm.traces.examples import Example, examples
from realm.traces.pipeline import run_steps
from realm.traces.weights import find_weigh
from realm.training.adapters import try_adapters, with_adapters
from realm.training.estimate import Lengths, Outline, outline, prompt_lengths
from realm.training.failures import explain
from realm.training.fit import refuse_what_cannot_fit
from realm.training.group import sharded
from realm.training.grpo import extras, grpo_settings
from realm.training.memory import Memory, memory
from realm.training.pairs import check_pairs
from realm.training.settings import accumulation, hushed
from realm.training.stages import KINDS, find_kind
from realm.training.trial import try_out

_LOG = logging.getLogger(__name__)
#: Learning rate below which most weights of bfloat16 stay what they are.
_COARSE = 1e-4


@dataclass(frozen=True)
class Prepared:
    """A run that can start.

    Attributes:
        stages: those of the recipe, in order.
        model: as loaded from `model.path`, for the first stage.
        tokenizer: of that model.
        renderer: of the first stage.
        examples, left: what the first stage of SFT teaches, where that are CoTs of the bank, and what its steps left.
        outline: the model's size; None where its configuration does not tell it.
        lengths: of the prompts with the most routes.
        memory: what this process may have.
        resident: bytes that it had before the model was loaded.
    """

    config: Config
    task: Task
    bank: Bank | None
    stages: tuple[Stage, ...]
    model: Once[PreTrainedModel]
    tokenizer: PreTrainedTokenizerBase
    renderer: Renderer
    examples: Once[list[Example]]
    left: list[tuple[str, int]]
    outline: Outline | None
    lengths: Lengths
    memory: Memory
    resident: int


@dataclass(frozen=True)
class Sketch:
    """What is known of a run without the weights of its student; attributes as of `Prepared`."""

    config: Config
    outline: Outline | None
    lengths: Lengths
    memory: Memory


def make_renderer(
    config: Config, task: Task, bank: Bank | None, tokenizer: PreTrainedTokenizerBase, context: int, stage: Stage
) -> Renderer:
    """The renderer of a stage; later rounds ask and draw anew."""
    seed = config.run.seed if stage.round == 0 else derive(config.run.seed, "round", stage.round)
    return Renderer(config, task, bank, tokenizer, context, k=stage.k, seed=seed)


def cold(config: Config, stages: Sequence[Stage]) -> Config:
    """Without examples where they are left to us and a teacher's CoTs show the form first: prompts are then shorter."""
    first = stages[0]
    taught = first.kind == "sft" and [*(first.traces or config.training.sft.traces)][:1] == ["bank"]
    return config.changed({"prompt.examples": "none"}) if taught and config.prompt.examples == "auto" else config


@torch.random.fork_rng(devices=[])
def prepare(config: Config, task: Task, bank: Bank | None) -> Prepared:
    """Find out before anything is written or paid for whether the run can start, and make what it starts with.

    Random states are left as they were, and the model is as it was loaded.

    Args:
        bank: the CoTs; None for a recipe without any.

    Raises:
        ConfigError: the batch does not divide over the processes, k is above the number of CoTs, vLLM or a tracker is
            not installed, weights of float16 are to be trained.
        DataError: the recipe needs CoTs and the bank has none for the training questions.
        ModelError: the model cannot be loaded, or a question does not fit its context.
        ResourceError: several GPUs, but one process; or see `refuse_what_cannot_fit`.
    """
    _check_settings(config)
    stages = tuple(plan(config))
    _check_stages(config, stages)
    _tell_unread(config, stages)
    _tell_coarse(config, stages)
    _check_routes(config, stages, task, bank)
    there = memory(config)
    size: Outline | None = None
    try:
        size = outline(config)
        refuse_what_cannot_fit(config, size, there)
    except ModelError:
        pass  # there is no estimate, and trained it may be all the same
    resident = int(psutil.Process().memory_info().rss)
    try:
        model, tokenizer = load(config.model.path, config.model.dtype, config.model)
    except Exception as error:
        reason = explain(error, config, stages[0].kind, 0, None)
        if reason is None:
            raise
        raise reason from error
    stop_of(config, tokenizer)
    limit = prompt_limit(model, config, config.training.rl.max_completion_length)
    config = settled(cold(config, stages), task, tokenizer, limit)
    context = context_length(model, config)
    renderers = {stage: make_renderer(config, task, bank, tokenizer, context, stage) for stage in stages}
    renderers[stages[0]].check()
    validation = task.rows("validation")[: config.training.eval_questions]
    evaluation_prompts(validation, None, task, config, tokenizer, limit, config.run.seed)
    room = prompt_limit(model, config, completion_limit(config))
    for asked in evaluation_questions(config, task).values():  # what would not fit is told before hours of training
        evaluation_prompts(asked, None, task, config, tokenizer, room, config.run.seed)
    rl = any(stage.kind == "rl" for stage in stages)
    if rl:
        take("rules", config.reward.rule)
    try_out(model, config.model.path, rl=rl)
    with hushed():
        with_adapters(_without_weights(model), config)
        try_adapters(model, config)
        if rl:
            extras(config, grpo_settings(config, output=os.devnull, seed=0, context=context))
    for part in find_rule(config, task):
        room = prompt_limit(model, part.config, completion_limit(part.config))
        evaluation_prompts(part.questions, None, part.task, part.config, tokenizer, room, config.run.seed)
    if sharded() and (config.training.best or config.training.average.checkpoints > 1):
        raise ConfigError(
            "training.best, training.average.checkpoints: with sharded weights (FSDP, ZeRO-3) a checkpoint holds no "
            "whole model; leave them at their defaults, or use DDP or ZeRO-2."
        )
    taught, left = None, list[tuple[str, int]]()
    if sft := next((stage for stage in stages if stage.kind == "sft"), None):
        accumulation(config.training.sft.batch_size, config.training.sft.micro_batch_size, "training.sft")
        given = Given(config, task, bank, renderers[sft], round=sft.round, left=left)
        find_weigh(config)
        with suppress(LaterError):  # what the student writes, or a teacher for it, is made as the stage begins
            traces = run_steps(sft.traces or config.training.sft.traces, given)
            taught = examples(traces, given, sft.steps * config.training.sft.batch_size)
    with hushed():
        for stage in stages:
            if stage.kind == "pairs":
                check_pairs(Given(of_stage(config, stage), task, bank, renderers[stage], round=stage.round), stage)
    return Prepared(
        config,
        task,
        bank,
        stages,
        Once(model),
        tokenizer,
        renderers[stages[0]],
        Once(taught),
        left,
        size,
        prompt_lengths(config, renderers[max(stages, key=lambda stage: stage.k)]),
        there,
        resident,
    )


def sketch(config: Config, task: Task, bank: Bank | None) -> Sketch:
    """What a run will need, of a student whose configuration and tokenizer alone are there.

    Nothing is refused for want of memory: the run may be meant for another machine.

    Raises:
        UserError: see `prepare`, as far as it is found out without weights.
    """
    _check_settings(config)
    stages = tuple(plan(config))
    _check_stages(config, stages)
    _check_routes(config, stages, task, bank)
    size, model = outline(config), load_outline(config.model.path)
    tokenizer = load_tokenizer(config.model.path, config.model)
    limit = prompt_limit(model, config, config.training.rl.max_completion_length)
    config = settled(cold(config, stages), task, tokenizer, limit)
    most = max(stages, key=lambda stage: stage.k)
    renderer = make_renderer(config, task, bank, tokenizer, context_length(model, config), most)
    return Sketch(config, size, prompt_lengths(config, renderer), memory(config))


def _without_weights(model: PreTrainedModel) -> PreTrainedModel:
    """A copy whose parameters have shapes and types and take no memory; those that layers share stay shared."""
    bare = {
        id(parameter): torch.nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
        for parameter in model.parameters()
    }
    return copy.deepcopy(model, bare)


def _check_settings(config: Config) -> None:
    """Settings that do not suit this machine, whatever the recipe."""
    if torch.cuda.device_count() > 1 and "WORLD_SIZE" not in os.environ:
        raise ResourceError(
            f"{torch.cuda.device_count()} GPUs are visible to one process: start with `accelerate launch -m realm …`, "
            "or show it one of them with CUDA_VISIBLE_DEVICES=0."
        )
    trackers = get_available_reporting_integrations()
    for name in config.run.report_to:
        if name not in (*trackers, "all", "none"):
            raise ConfigError(
                f"run.report_to: {name} is no tracker that is installed here; install it, or choose of: "
                f"{', '.join(trackers) or 'none is installed'}."
            )
    if "wandb" in config.run.report_to and not _known_to_wandb():
        raise ConfigError(
            "run.report_to: wandb has no key here (WANDB_API_KEY, or `wandb login`); set one, or WANDB_MODE=offline, "
            "or take wandb out."
        )
    if config.model.dtype == "float16":
        raise ConfigError(
            "model.dtype: float16 weights cannot be trained, nor can adapters above them: gradients, updates and the "
            "optimizer's squares are below its range; take bfloat16, or float32 with training.rl.bf16."
        )


def _known_to_wandb() -> bool:
    """Whether wandb will not ask for a key as the training starts: it is installed and has one, or needs none."""
    if os.environ.get("WANDB_MODE", "").lower() in ("offline", "disabled", "dryrun"):
        return True
    wandb = importlib.import_module("wandb")  # installed, or it would have been refused
    return bool(getattr(wandb.api, "api_key", None))


def _check_stages(config: Config, stages: Sequence[Stage]) -> None:
    """Rounds and steps that the recipe has no use for, and stages that nothing makes."""
    for stage in stages:
        find_kind(stage.kind)
    places = [(stage.round, STAGES.index(stage.rows)) for stage in stages]
    if places != sorted(set(places)):
        raise ConfigError(
            f"training.recipe: {config.training.recipe}: expected stages whose rows follow each other, in every round "
            f"one each of {', '.join(STAGES[1:-1])} at most and in this order, found "
            f"{', '.join(f'{stage.kind} in round {stage.round}' for stage in stages)}; give later ones another round."
        )
    if config.training.rounds > 1 and [*stages] == [*plan(config.changed({"training.rounds": 1}))]:
        raise ConfigError(f"training.rounds: the recipe {config.training.recipe} does not repeat; set it to 1.")
    if not all(stage.steps for stage in stages):
        raise ConfigError(
            f"training.sft.steps: the recipe {config.training.recipe} is nothing but SFT; allow it steps."
        )


def _tell_unread(config: Config, stages: Sequence[Stage]) -> None:
    """Say which plug-ins nothing comes of: those of stages that the recipe lacks."""
    kinds = {stage.kind for stage in stages}
    if not kinds <= KINDS.keys():
        return  # what another one reads is not known
    usual = Config()
    for key, *_ in POINTS.values():
        section, _, rest = key.removeprefix("training.").partition(".")
        if rest and section in KINDS.keys() - kinds and config.get(key) != usual.get(key):
            _LOG.warning("%s is not read: the recipe %s has no stage %s", key, config.training.recipe, section)


def _tell_coarse(config: Config, stages: Sequence[Stage]) -> None:
    """Say that weights of bfloat16 hardly move at a low rate.

    AdamW moves a weight by about the rate. One of 0.02 stays as it is below 6e-5, half of its last place, in every step
    anew: such steps do not add up.
    """
    rates = {stage.rows: getattr(config.training, stage.rows).learning_rate for stage in stages}
    low = {f"training.{kind}.learning_rate": rate for kind, rate in rates.items() if rate < _COARSE}
    if config.model.dtype == "bfloat16" and not config.training.lora.r and low:
        _LOG.warning(
            "model.dtype bfloat16 without adapters: steps of %s are rounded away for most weights, so that little or "
            "nothing is learned. Take model.dtype float32 (training.rl.bf16 true computes in bfloat16 all the same), "
            "or train adapters (training.lora.r 16).",
            " and ".join(f"{name} {rate:g}" for name, rate in low.items()),
        )


def _check_routes(config: Config, stages: Sequence[Stage], task: Task, bank: Bank | None) -> None:
    """Training questions that are not there, or CoTs that the recipe shows or teaches."""
    questions = task.rows("train")
    if not questions:
        raise DataError("there is no training question; check task.path and task.max_train.")
    if bank is None and any((stage.kind != "rl" or not stage.k) and needs_bank(config, stage) for stage in stages):
        raise DataError(
            f"the recipe {config.training.recipe} is taught by CoTs, but there is no bank; collect one "
            "(`realm collect`), or check bank.path."
        )
    k = max(stage.k for stage in stages)
    if not k:
        return
    most = max((len(bank.routes(question.id)) for question in questions), default=0) if bank else 0
    if most == 0:
        raise DataError(
            f"the recipe {config.training.recipe} shows CoTs, but the bank holds none for the training questions; "
            "collect them (`realm collect`), or check bank.path."
        )
    if k > most:
        raise ConfigError(
            f"routes.k: {k} routes are wanted, but the bank holds at most {most} CoTs for a training question; "
            "lower routes.k, or collect more (bank.samples)."
        )
