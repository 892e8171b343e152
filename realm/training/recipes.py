"""Running a recipe: its stages of training one after the other, resumable anywhere. What they are: `realm.recipes`.

A stage starts from the model that the one before left in its folder, so a run that was killed goes on in the right
stage, from that stage's last complete checkpoint.
"""

from __future__ import annotations

import importlib
import json
import os
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from traceback import clear_frames
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations.integration_utils import get_available_reporting_integrations

from realm.analysis.patterns import analyse
from realm.analysis.stats import statistics
from realm.bank.store import Bank
from realm.config import Config
from realm.errors import ConfigError, DataError, ResourceError
from realm.evaluation.evaluate import evaluate_model, has_routes
from realm.files import write_atomic
from realm.method.seeds import derive
from realm.processes import main_process
from realm.recipes import plan
from realm.recipes.stage import Stage
from realm.rows.base import Place
from realm.rows.evaluation import Evaluation
from realm.run import RunFolder
from realm.stopping import Stopped, patient
from realm.student.load import context_length, load, load_tokenizer, prompt_limit
from realm.student.prompts import evaluation_prompts
from realm.tasks.base import Question, Task
from realm.tasks.workers import VerifierPool
from realm.training.adapters import below_adapters, with_adapters
from realm.training.checkpoints import Checkpoints, agreed, last_checkpoint, publish
from realm.training.failures import explain
from realm.training.grpo import ReaLMTrainer, grpo_settings, make_grpo_trainer
from realm.training.instructors import sampled, tailored
from realm.training.recorder import Progress, Recorder, cost
from realm.training.renderer import Renderer
from realm.training.rewards import RouteReward
from realm.training.settings import accumulation, hushed, leave_group, sharded, untouched_randomness
from realm.training.sft import ColdStartTrainer, Example, examples, make_sft_trainer, tokenize
from realm.training.trial import try_out

#: Wrong CoTs whose errors are analysed for the report: enough for a verdict, in a few seconds.
PATTERNS_LIMIT = 2_000


def check(config: Config, task: Task, bank: Bank | None) -> None:
    """Find out before anything is written or paid for whether the run can start.

    Raises:
        ConfigError: the batch does not divide over the processes, k is above the number of CoTs, vLLM or a tracker is
            not installed, weights of float16 are to be trained.
        DataError: the recipe needs CoTs and the bank has none for the training questions.
        ModelError: the model cannot be loaded, or a question does not fit its context.
        ResourceError: several GPUs, but one process.
    """
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
    if config.model.dtype == "float16" and not config.training.lora.r:
        raise ConfigError(
            "model.dtype: float16 weights cannot be trained, their updates and the optimizer's squares are below its "
            "range; take bfloat16, or float32 with training.rl.bf16, or train adapters (training.lora.r 16)."
        )
    stages = plan(config)
    if config.training.rounds > 1 and max(stage.round for stage in stages) == 0:
        raise ConfigError(f"training.rounds: the recipe {config.training.recipe} has one round only; set it to 1.")
    if not all(stage.steps for stage in stages):
        raise ConfigError(
            f"training.sft.steps: the recipe {config.training.recipe} is nothing but SFT; allow it steps."
        )
    questions = task.rows("train")
    if not questions:
        raise DataError("there is no training question; check task.path and task.max_train.")
    k = max(stage.k for stage in stages)
    if bank is None and any(stage.kind == "sft" for stage in stages):
        raise DataError(
            f"the recipe {config.training.recipe} is taught by CoTs, but there is no bank; collect one "
            "(`realm collect`), or check bank.path."
        )
    if k:
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
    model, tokenizer = load(config.model.path, config.model.dtype, config.model)
    limit = prompt_limit(model, config, config.training.rl.max_completion_length)
    renderer = Renderer(config, task, bank, tokenizer, context_length(model, config))
    renderer.check()
    validation = task.rows("validation")[: config.training.eval_questions]
    evaluation_prompts(validation, None, task, config, tokenizer, limit, config.run.seed)
    rl = any(stage.kind == "rl" for stage in stages)
    try_out(model, config.model.path, rl=rl)
    with hushed():
        if rl:
            grpo_settings(config, output=os.devnull, seed=0, context=renderer.context)
        if config.training.rl.internalize.weight and sharded():
            raise ConfigError(
                "training.rl.internalize.weight: with sharded weights (FSDP, ZeRO-3) every process must forward the "
                "same number of times, and this does not; set it to 0, or use DDP or ZeRO-2."
            )
        with_adapters(model, config)
    if bank is not None and any(stage.kind == "sft" for stage in stages):
        accumulation(config.training.sft.batch_size, config.training.sft.micro_batch_size, "training.sft")
        if not by_instructors(config):
            examples(config, renderer, bank, 0)


def _known_to_wandb() -> bool:
    """Whether wandb will not ask for a key as the training starts: it is installed and has one, or needs none."""
    if os.environ.get("WANDB_MODE", "").lower() in ("offline", "disabled", "dryrun"):
        return True
    wandb = importlib.import_module("wandb")  # installed, or it would have been refused
    return bool(getattr(wandb.api, "api_key", None))


def train(
    config: Config,
    *,
    run: RunFolder,
    task: Task,
    bank: Bank | None,
    pool: VerifierPool,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train by the configured recipe and return the directory of the final model, `<run>/model`.

    Everything that the run leaves behind is below `run.path`; see `Recorder` for the rows and `checkpoints` for the
    models. What it took goes to meta.json as `cost`.

    Args:
        bank: the CoTs; None for a recipe without any.
        resume: go on from the last complete checkpoint; rows beyond it are cut off and written again.

    Raises:
        UserError: see `check`, which is called first; or the disk or the memory is full, or a loss is no number.
        Stopped: by Ctrl-C or SIGTERM, after a checkpoint.
    """
    final = run.path / "model"
    if not (resume and final.is_dir()):
        check(config, task, bank)
        facts = run.path / "bank_stats.json"
        if bank is not None and main_process() and not (resume and facts.is_file()):
            # For the report: what the run learned from, also where the bank is gone or has grown.
            groups = [(question, bank.cots(question.id)) for question in task.rows("train")]
            found = statistics(groups, verifier=task.verifier, seed=config.run.seed)
            patterns = analyse(groups, verifier=task.verifier, seed=config.run.seed, limit=PATTERNS_LIMIT)
            write_atomic(facts, json.dumps({**found, "patterns": patterns.as_dict(clusters=5)}) + "\n")
        stages = plan(config)
        goals = [*(stage.folder(run.path) / "model" for stage in stages[:-1]), final]
        sources = [config.model.path, *map(str, goals)]
        try:
            for stage, source, goal in zip(stages, sources, goals, strict=False):
                if not goal.is_dir():
                    with hushed():
                        _Runner(config, run, task, bank, pool, progress).run(stage, source, goal, resume=resume)
        except Stopped as stopped:
            if stopped.together:  # else, as after any other error, this process may be alone
                clear_frames(stopped.__traceback__)  # one of them holds the trainer
                leave_group()
            raise
        leave_group()
    if not main_process():
        return final
    rl = config.training.rl
    spent = cost(run, batch_size=rl.batch_size, num_iterations=rl.num_iterations)
    if by_instructors(config):
        more = sampled(run.path / "instructors")
        spent = replace(
            spent,
            completions=spent.completions + more.completions,
            tokens=spent.tokens + more.tokens,
            seconds=spent.seconds + more.seconds,
        )
    spent = replace(spent, teacher_tokens=teacher_tokens(config, run, task, bank))
    run.write_meta(replace(run.meta, cost=spent))
    return final


def by_instructors(config: Config) -> bool:
    """Whether the recipe has SFT and it teaches what the teacher writes for the student's own errors."""
    return config.training.sft.taught in ("tailored", "contrast") and any(stage.kind == "sft" for stage in plan(config))


def teacher_tokens(config: Config, run: RunFolder, task: Task, bank: Bank | None) -> int:
    """Tokens that the teacher wrote for this student: the CoTs of the training questions, or tailored examples.

    As the teacher counted them, or, where it did not, as the student's tokenizer does. 0 for a recipe that sees none.
    """
    tailored_tokens = 0
    if by_instructors(config):
        found = json.loads((run.path / "instructors" / "cost.json").read_text(encoding="utf-8"))
        tailored_tokens = int(found["teacher_tokens"])
    taught = config.training.sft.taught
    # By contrast the teacher is shown right CoTs of the bank, which cost something too.
    reads = [stage.k > 0 or (stage.kind == "sft" and taught != "tailored") for stage in plan(config)]
    if bank is None or not any(reads):
        return tailored_tokens
    cots = [cot for question in task.rows("train") for cot in bank.cots(question.id)]
    uncounted = [cot.text for cot in cots if cot.completion_tokens is None]
    counted = tailored_tokens + sum(cot.completion_tokens for cot in cots if cot.completion_tokens is not None)
    if not uncounted:
        return counted
    tokenizer = load_tokenizer(config.model.path)
    return counted + sum(map(len, tokenizer(uncounted, add_special_tokens=False)["input_ids"]))


class _Runner:
    """Runs single stages of one run."""

    def __init__(
        self,
        config: Config,
        run: RunFolder,
        task: Task,
        bank: Bank | None,
        pool: VerifierPool,
        progress: Progress | None,
    ) -> None:
        self.config, self.run_folder, self.task, self.bank = config, run, task, bank
        self.pool, self.progress = pool, progress
        # While training one completion a question will do; pass@n is for the end.
        greedy = config.evaluation.model_copy(update={"samples": 1})
        self.evaluation_config = config.model_copy(update={"evaluation": greedy})

    def run(self, stage: Stage, source: str, goal: Path, *, resume: bool) -> None:
        """Train one stage from the model at `source` and leave its model at `goal`."""
        folder = stage.folder(self.run_folder.path)
        checkpoint = last_checkpoint(folder) if resume else None
        if resume and main_process():
            self.run_folder.rewind(stage.kind, stage.round, checkpoint[1] if checkpoint else 0)
        trainer = None
        # Later rounds ask and draw anew.
        seed = self.config.run.seed if stage.round == 0 else derive(self.config.run.seed, "round", stage.round)
        make = self._sft if stage.kind == "sft" else self._rl
        try:
            model, tokenizer = load(source, self.config.model.dtype, self.config.model)
            renderer = Renderer(
                self.config, self.task, self.bank, tokenizer, context_length(model, self.config), k=stage.k, seed=seed
            )
            trainer = make(stage, model, tokenizer, renderer, str(folder))
            if stage == plan(self.config)[0] and main_process():
                self._evaluate_base(model, tokenizer)
            with patient(speak=main_process()) as request:
                trainer.add_callback(Checkpoints(self.config.training.keep_checkpoints, request))
                trainer.train(resume_from_checkpoint=str(checkpoint[0]) if checkpoint else None)
        except Exception as error:
            step = trainer.state.global_step if trainer else 0
            path = str(self.run_folder.path)
            reason = explain(error, self.config, stage.kind, step, path)
            if reason is None:
                raise
            raise reason from error
        # After the last step a signal may have reached some processes only.
        if number := agreed(request.number or 0, trainer.args.device):
            saved = f"{stage.kind.upper()} step {trainer.state.global_step} is saved."
            raise Stopped(number, saved, together=True)
        publish(trainer, goal, base=source, dtype=self.config.model.dtype)

    def _rl(
        self,
        stage: Stage,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        renderer: Renderer,
        output: str,
    ) -> ReaLMTrainer:
        reward = RouteReward(self.config, renderer.questions, self.pool)
        recorder = self._recorder(stage, tokenizer, reward=reward)
        return make_grpo_trainer(
            self.config,
            model=model,
            tokenizer=tokenizer,
            renderer=renderer,
            reward=reward,
            output=output,
            seed=renderer.seed,
            callbacks=[recorder],
        )

    def _sft(
        self,
        stage: Stage,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        renderer: Renderer,
        output: str,
    ) -> ColdStartTrainer:
        rows = [tokenize(tokenizer, example) for example in self._examples(stage, model, tokenizer, renderer)]
        # tokens[n]: tokens of the first n examples
        tokens = [0, *accumulate(len(row["input_ids"]) for row in rows)]
        batch = self.config.training.sft.batch_size
        recorder = self._recorder(stage, tokenizer, tokens=lambda step: tokens[step * batch])
        return make_sft_trainer(
            self.config,
            model=model,
            tokenizer=tokenizer,
            rows=rows,
            output=output,
            seed=renderer.seed,
            callbacks=[recorder],
        )

    def _examples(
        self, stage: Stage, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, renderer: Renderer
    ) -> list[Example]:
        """What a stage of SFT teaches: CoTs of the bank, or what the teacher writes for the errors of the student."""
        assert self.bank is not None
        sft = self.config.training.sft
        if not by_instructors(self.config):
            return examples(self.config, renderer, self.bank, stage.round)
        return tailored(
            self.config,
            model=model,
            tokenizer=tokenizer,
            task=self.task,
            bank=self.bank,
            pool=self.pool,
            renderer=renderer,
            folder=self.run_folder.path / "instructors",
            seed=self.config.run.seed,
            round_=stage.round,
            count=sft.steps * sft.batch_size,
            contrast=sft.taught == "contrast",
        )

    def _recorder(self, stage: Stage, tokenizer: PreTrainedTokenizerBase, **more: Any) -> Recorder:
        def evaluate(model: PreTrainedModel, step: int) -> tuple[float | None, float | None]:
            return self._evaluate(model, tokenizer, Place(stage=stage.kind, round=stage.round, step=step))

        return Recorder(
            self.run_folder,
            self.config,
            stage.kind,
            stage.round,
            steps=stage.steps,
            tokenizer=tokenizer,
            evaluate=evaluate if self.config.training.eval_questions else None,
            progress=self.progress,
            **more,
        )

    def _evaluate_base(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """The validation figures of the untrained student, unless an earlier start of the run has them already.

        None where weights are spread: they are placed when training begins, and before nobody can forward.
        """
        if sharded():
            return
        done = {row.routes for row in self.run_folder.read(Evaluation) if row.stage == "base"}
        if self.config.training.eval_questions and len(done) < len(self._ways()):
            self.run_folder.keep(Evaluation, lambda row: row.stage != "base")
            self._evaluate(model, tokenizer, Place(stage="base", step=0))

    def _ways(self) -> tuple[bool, ...]:
        """Evaluations without routes and, where the bank has any for the questions asked, with them."""
        return (False, True) if has_routes(self.bank, self._validation(), self.config) else (False,)

    def _validation(self) -> list[Question]:
        """The questions of every evaluation in training."""
        return self.task.rows("validation")[: self.config.training.eval_questions]

    def _evaluate(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, where: Place
    ) -> tuple[float | None, float | None]:
        """Evaluate on the first validation questions, add the rows, and return the accuracies without and with routes.

        None stands for what was not asked.
        """
        questions = self._validation()
        accuracies: dict[bool, float] = {}
        for with_routes in self._ways():
            if not questions:
                continue
            with untouched_randomness():
                summary, _ = evaluate_model(
                    below_adapters(model),
                    tokenizer,
                    questions,
                    self.bank.routes if self.bank else None,
                    self.task,
                    self.pool,
                    self.evaluation_config,
                    with_routes=with_routes,
                    split="validation",
                    seed=self.config.run.seed,
                    where=where,
                )
            if main_process():
                self.run_folder.append(summary)
            accuracies[with_routes] = summary.accuracy
        return accuracies.get(False), accuracies.get(True)
