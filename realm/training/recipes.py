"""Running a recipe: its stages of training one after the other, resumable anywhere. What they are: `realm.recipes`.

A stage starts from the model that the one before left in its folder, so a run that was killed goes on in the right
stage, from that stage's last complete checkpoint.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from traceback import clear_frames
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from realm.analysis.patterns import analyse
from realm.analysis.stats import statistics
from realm.evaluation.evaluate import evaluate_model, has_routes
from realm.files import write_atomic
from realm.processes import main_process
from realm.recipes.stage import Stage
from realm.rows.base import Place
from realm.rows.evaluation import Evaluation
from realm.run import RunFolder
from realm.stopping import Stopped, patient
from realm.student.load import context_length, load, load_tokenizer
from realm.student.renderer import Renderer
from realm.tasks.base import Question
from realm.tasks.workers import VerifierPool
from realm.training.adapters import below_adapters
from realm.training.checkpoints import Checkpoints, agreed, last_checkpoint, publish
from realm.training.failures import explain
from realm.training.group import leave_group, sharded
from realm.training.grpo import RouteTrainer, make_grpo_trainer
from realm.training.instructors import sampled, tailored
from realm.training.prepare import Prepared, by_instructors, make_renderer
from realm.training.recorder import Progress, Recorder, cost
from realm.training.rewards import RouteReward
from realm.training.settings import hushed, untouched_randomness
from realm.training.sft import ColdStartTrainer, Example, examples, make_sft_trainer, tokenize

#: Wrong CoTs whose errors are analysed for the report: enough for a verdict, in a few seconds.
PATTERNS_LIMIT = 2_000


def train(
    prepared: Prepared,
    *,
    run: RunFolder,
    pool: VerifierPool,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train by the configured recipe and return the directory of the final model, `<run>/model`.

    Everything that the run leaves behind is below `run.path`; see `Recorder` for the rows and `checkpoints` for the
    models. What it took goes to meta.json as `cost`.

    Args:
        resume: go on from the last complete checkpoint; rows beyond it are cut off and written again.

    Raises:
        UserError: the disk or the memory is full, or a loss is no number.
        Stopped: by Ctrl-C or SIGTERM, after a checkpoint.
    """
    config, stages = prepared.config, prepared.stages
    final = run.path / "model"
    goals = [*(stage.folder(run.path) / "model" for stage in stages[:-1]), final]
    done = resume and final.is_dir()
    if done or goals[0].is_dir():
        prepared.model.take()  # no stage starts from it
    if not done:
        sources = [None, *map(str, goals)]
        try:
            for stage, source, goal in zip(stages, sources, goals, strict=False):
                if not goal.is_dir():
                    with hushed():
                        _Runner(prepared, run, pool, progress).run(stage, source, goal, resume=resume)
        except BaseException as error:
            if isinstance(error, Stopped) and error.together:  # else this process may be alone
                clear_frames(error.__traceback__)  # one of them holds the trainer
                leave_group()
            with suppress(Exception):  # what stopped the run matters more than what it learned from
                _look_at_bank(prepared, run, resume)
            raise
        leave_group()
        _look_at_bank(prepared, run, resume)
    if not main_process():
        return final
    rl = config.training.rl
    spent = cost(run, batch_size=rl.batch_size, num_iterations=rl.num_iterations)
    if by_instructors(config, stages):
        more = sampled(run.path / "instructors")
        spent = replace(
            spent,
            completions=spent.completions + more.completions,
            tokens=spent.tokens + more.tokens,
            seconds=spent.seconds + more.seconds,
        )
    run.write_meta(replace(run.meta, cost=replace(spent, teacher_tokens=teacher_tokens(prepared, run))))
    return final


def _look_at_bank(prepared: Prepared, run: RunFolder, resume: bool) -> None:
    """Leave bank_stats.json for the report: what the run learned from, also where the bank is gone or has grown."""
    facts, bank, task = run.path / "bank_stats.json", prepared.bank, prepared.task
    if bank is None or not main_process() or (resume and facts.is_file()):
        return
    seed = prepared.config.run.seed
    groups = [(question, bank.cots(question.id)) for question in task.rows("train")]
    found = statistics(groups, verifier=task.verifier, seed=seed)
    patterns = analyse(groups, verifier=task.verifier, seed=seed, limit=PATTERNS_LIMIT)
    write_atomic(facts, json.dumps({**found, "patterns": patterns.as_dict(clusters=5)}) + "\n")


def teacher_tokens(prepared: Prepared, run: RunFolder) -> int:
    """Tokens that the teacher wrote for this student: the CoTs of the training questions, or tailored examples.

    As the teacher counted them, or, where it did not, as the student's tokenizer does. 0 for a recipe that sees none.
    """
    config, bank = prepared.config, prepared.bank
    tailored_tokens = 0
    if by_instructors(config, prepared.stages):
        found = json.loads((run.path / "instructors" / "cost.json").read_text(encoding="utf-8"))
        tailored_tokens = int(found["teacher_tokens"])
    taught = config.training.sft.taught
    # By contrast the teacher is shown right CoTs of the bank, which cost something too.
    reads = [stage.k > 0 or (stage.kind == "sft" and taught != "tailored") for stage in prepared.stages]
    if bank is None or not any(reads):
        return tailored_tokens
    cots = [cot for question in prepared.task.rows("train") for cot in bank.cots(question.id)]
    uncounted = [cot.text for cot in cots if cot.completion_tokens is None]
    counted = tailored_tokens + sum(cot.completion_tokens for cot in cots if cot.completion_tokens is not None)
    if not uncounted:
        return counted
    tokenizer = load_tokenizer(config.model.path)
    return counted + sum(map(len, tokenizer(uncounted, add_special_tokens=False)["input_ids"]))


class _Runner:
    """Runs single stages of one run."""

    def __init__(
        self, prepared: Prepared, run: RunFolder, pool: VerifierPool, progress: Progress | None = None
    ) -> None:
        self.prepared, self.run_folder, self.pool, self.progress = prepared, run, pool, progress
        self.config, self.task, self.bank = prepared.config, prepared.task, prepared.bank
        # While training one completion a question will do; pass@n is for the end.
        greedy = self.config.evaluation.model_copy(update={"samples": 1})
        self.evaluation_config = self.config.model_copy(update={"evaluation": greedy})

    def run(self, stage: Stage, source: str | None, goal: Path, *, resume: bool) -> None:
        """Train one stage and leave its model at `goal`.

        Args:
            source: the model from which it starts; None: the one that was prepared.
        """
        folder = stage.folder(self.run_folder.path)
        checkpoint = last_checkpoint(folder) if resume else None
        if resume and main_process():
            self.run_folder.rewind(stage.kind, stage.round, checkpoint[1] if checkpoint else 0)
        trainer = None
        make = self._sft if stage.kind == "sft" else self._rl
        try:
            model, tokenizer, renderer = self._start(stage, source)
            trainer = make(stage, model, tokenizer, renderer, str(folder))
            if source is None and main_process():
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
        publish(trainer, goal, base=source or self.config.model.path, dtype=self.config.model.dtype)

    def _start(self, stage: Stage, source: str | None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Renderer]:
        """The student with which a stage begins, its tokenizer, and the prompts of the stage."""
        if source is None and (model := self.prepared.model.take()) is not None:
            return model, self.prepared.tokenizer, self.prepared.renderer
        config = self.config
        model, tokenizer = load(source or config.model.path, config.model.dtype, config.model)
        context = context_length(model, config)
        return model, tokenizer, make_renderer(config, self.task, self.bank, tokenizer, context, stage)

    def _rl(
        self,
        stage: Stage,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        renderer: Renderer,
        output: str,
    ) -> RouteTrainer:
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
        rows = tokenize(tokenizer, self._examples(stage, model, tokenizer, renderer))
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
        if not by_instructors(self.config, self.prepared.stages):
            first = stage == next(stage for stage in self.prepared.stages if stage.kind == "sft")
            made = self.prepared.examples.take() if first else None
            return made or examples(self.config, renderer, self.bank, stage.round)
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
