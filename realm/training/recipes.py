"""Running a recipe: its stages of training one after the other, resumable anywhere. What they are: `realm.recipes`.

A stage starts from the model that the one before left in its folder, so a run that was killed goes on in the right
stage, from that stage's last complete checkpoint.
"""

from __future__ import annotations

import functools
import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from traceback import clear_frames
from typing import Any, Literal

from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

from realm.analysis.patterns import analyse
from realm.analysis.stats import statistics
from realm.bank.cot import CoT
from realm.config import Config, needs_bank, of_stage
from realm.evaluation.choosing import accuracies, find_rule
from realm.evaluation.evaluate import evaluate_model, has_routes
from realm.files import write_atomic
from realm.method.completion import NO_ANSWER
from realm.once import Once
from realm.processes import main_process
from realm.recipes.stage import Stage
from realm.rows.base import Place
from realm.rows.evaluation import Evaluation
from realm.rows.run import Candidate, Chosen, Left, Taught
from realm.run import RunFolder
from realm.stopping import Stopped, patient
from realm.student.load import context_length, load, load_tokenizer
from realm.student.renderer import Renderer
from realm.tasks.base import Question
from realm.tasks.workers import VerifierPool
from realm.traces.base import Given, Spent, Voice
from realm.traces.examples import written_tokens
from realm.traces.pipeline import spent_in
from realm.training.adapters import below_adapters
from realm.training.checkpoints import Checkpoints, agreed, last_checkpoint, last_regular, publish, step_of
from realm.training.failures import explain
from realm.training.group import leave_group, sharded
from realm.training.prepare import Prepared, make_renderer
from realm.training.recorder import Progress, Recorder, cost
from realm.training.settings import hushed, untouched_randomness
from realm.training.settled import settle
from realm.training.stages import Job, find_kind

_LOG = logging.getLogger(__name__)
#: Wrong CoTs whose errors are analysed for the report: enough for a verdict, in a few seconds.
PATTERNS_LIMIT = 2_000
#: Share of answers beyond which the student is said not to know the form.
_UNPARSED = 0.9
#: Folder of a run with what its steps made, where that is more than a function of the bank.
TRACES = "traces"


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
        _tell_of_another_bank(prepared, run)
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
    more = spent_in(run.path / TRACES)
    spent = replace(
        spent,
        completions=spent.completions + more.completions,
        tokens=spent.tokens + more.tokens,
        seconds=spent.seconds + more.seconds,
    )
    run.write_meta(replace(run.meta, cost=replace(spent, **of_teachers(prepared, run))))
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


def _tell_of_another_bank(prepared: Prepared, run: RunFolder) -> None:
    """Say where a run goes on with other CoTs than bank_stats.json, where a start left it, says it began with."""
    if (bank := prepared.bank) is None or not main_process():
        return
    now = Counter(cot.label for question in prepared.task.rows("train") for cot in bank.cots(question.id))
    with suppress(OSError, ValueError, LookupError, TypeError):
        found = json.loads((run.path / "bank_stats.json").read_text(encoding="utf-8"))
        began, found = [found[name] for name in ("right", "wrong", "unlabelled")], [now[1], now[0], now[None]]
        if began != found:
            said = "right, wrong and unlabelled CoTs are"
            _LOG.warning("%s: the bank has changed since the run began: %s %s, were %s", run.path, said, found, began)


def of_teachers(prepared: Prepared, run: RunFolder) -> dict[str, Any]:
    """What teachers did for this student, as columns of `realm.rows.run.Cost`.

    Tokens are of the CoTs of the training questions, and of what its steps asked for: as the teacher counted them, or,
    where it did not, as the student's tokenizer does. 0 for a recipe that sees none.
    """
    config, bank = prepared.config, prepared.bank
    counted = spent_in(run.path / TRACES).teacher_tokens
    if bank is None or not any(needs_bank(config, stage) for stage in prepared.stages):
        return {"teacher_tokens": counted}
    cots = [cot for question in prepared.task.rows("train") for cot in bank.cots(question.id)]
    tokens = counted + written_tokens(lambda: load_tokenizer(config.model.path), cots)
    costs = [_cost_of(cot, config) for cot in cots]
    found = {"teacher_tokens": tokens, "teacher_cots": len(cots)}
    if not costs or None in costs:
        return found
    currency = config.teachers[cots[0].teacher].price.currency  # of all prices of a configuration
    return {**found, "teacher_cost": float(sum(filter(None, costs))), "currency": currency}


def _cost_of(cot: CoT, config: Config) -> Decimal | None:
    """What a CoT cost; None where its tokens were not counted or its teacher has no price."""
    teacher, prompt, written = config.teachers.get(cot.teacher), cot.prompt_tokens, cot.completion_tokens
    return None if teacher is None or prompt is None or written is None else teacher.cost(prompt, written)


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
            source: the model that the stage before left; None: there is none before.
        """
        folder = stage.folder(self.run_folder.path)
        checkpoint = last_checkpoint(folder) if resume else None
        if resume and main_process():
            self.run_folder.rewind(stage.rows, stage.round, checkpoint[1] if checkpoint else 0)
        trainer = None
        start = None if stage.fresh else source
        try:
            make = find_kind(stage.kind)
            model, tokenizer, renderer = self._start(stage, start)
            job = self._job(stage, source, model, tokenizer, renderer)
            trainer = make(job)
            if job.given.left and main_process():
                self._note_taught(stage, job.given.left)
            if source is None and main_process():
                if not sharded():
                    model.to(trainer.args.device)  # type: ignore[arg-type]  # under ZeRO-2 it is placed later
                self._evaluate_base(model, tokenizer)
            with patient(speak=main_process()) as request:
                trainer.add_callback(Checkpoints(self.config.training.keep_checkpoints, request))
                trainer.train(resume_from_checkpoint=str(checkpoint[0]) if checkpoint else None)
        except Exception as error:
            step = trainer.state.global_step if trainer else 0
            path = str(self.run_folder.path)
            reason = explain(error, self.config, stage.rows, step, path)
            if reason is None:
                raise
            raise reason from error
        # After the last step a signal may have reached some processes only.
        if number := agreed(request.number or 0, trainer.args.device):
            saved = f"{stage.kind.upper()} step {trainer.state.global_step} is saved."
            raise Stopped(number, saved, together=True)
        path = start or self.config.model.path
        settle = self._settle(stage, path, trainer)
        publish(trainer, goal, base=path, dtype=self.config.model.dtype, settle=settle)

    def _settle(self, stage: Stage, start: str, trainer: Trainer) -> Callable[[Path], None] | None:
        """What puts other weights than the last step's in the place of a stage's model; None: nothing does."""
        training, last = self.config.training, stage == self.prepared.stages[-1]
        share, best = (training.average.base, training.best) if last else (0.0, {})
        if training.average.checkpoints == 1 and not share and not best:
            return None

        def put(written: Path) -> None:
            most = training.keep_checkpoints if best else training.average.checkpoints
            every, steps = int(trainer.args.save_steps), trainer.state.max_steps
            found = last_regular(stage.folder(self.run_folder.path), every, steps, most)
            choose = functools.partial(self._best, [*map(step_of, found)]) if best else None
            settle(written, found, share, self.config, start, choose)

        return put

    def _best(self, steps: Sequence[int], models: Sequence[Path]) -> int:
        """The place of the model that is best by `training.best`; noted in meta.json, with all of them."""
        rule = find_rule(self.config, self.task)
        whole, found = sum(part.weight for part in rule), []
        asked = accuracies(rule, models, self.prepared.tokenizer, self.config)
        for step, each in zip(steps, asked, strict=True):
            value = sum(part.weight * each[part.name] for part in rule) / whole
            found.append(Candidate(step=step, value=value, accuracies=each))
        best = max(found, key=lambda one: (one.value, one.step))
        chosen = Chosen(step=best.step, candidates=tuple(found))
        self.run_folder.write_meta(replace(self.run_folder.meta, chosen=chosen))
        return found.index(best)

    def _start(self, stage: Stage, start: str | None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Renderer]:
        """The student with which a stage begins, its tokenizer, and the prompts of the stage."""
        first = stage == self.prepared.stages[0]
        if first and (model := self.prepared.model.take()) is not None:
            return model, self.prepared.tokenizer, self.prepared.renderer
        config = self.config
        model, tokenizer = load(start or config.model.path, config.model.dtype, config.model)
        context = context_length(model, config)
        return model, tokenizer, make_renderer(config, self.task, self.bank, tokenizer, context, stage)

    def _job(
        self,
        stage: Stage,
        source: str | None,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        renderer: Renderer,
    ) -> Job:
        config, run = of_stage(self.config, stage), self.run_folder.path
        paths = {"now": source, "base": None}

        def students(which: Literal["now", "base"], spent: Spent) -> Voice:
            begins_with = None if stage.fresh else source
            voice, reads = model, tokenizer
            if paths[which] != begins_with:
                voice, reads = load(paths[which] or config.model.path, config.model.dtype, config.model)
            return Voice(voice, reads, batch_size=config.evaluation.batch_size, spent=spent)

        first = stage == next((one for one in self.prepared.stages if one.kind == "sft"), None)
        told = functools.cache(students)
        given = Given(config, self.task, self.bank, renderer, self.pool, stage.round, told, run)
        given.left.extend(self.prepared.left if first else ())
        return Job(
            config=config,
            stage=stage,
            model=model,
            tokenizer=tokenizer,
            renderer=renderer,
            given=given,
            pool=self.pool,
            examples=self.prepared.examples if first else Once(None),
            output=str(stage.folder(run)),
            kept=run / TRACES / f"{stage.kind}-{stage.round}.json",
            record=functools.partial(self._recorder, stage, tokenizer),
        )

    def _note_taught(self, stage: Stage, left: Sequence[tuple[str, int]]) -> None:
        """Leave in meta.json what the steps of a stage of SFT left; a resumed one that reads their file keeps that."""
        *steps, (_, enough) = left
        each = tuple(Left(step=name, traces=n) for name, n in steps)
        meta = self.run_folder.meta
        others = (one for one in meta.taught or () if one.round != stage.round)
        taught = (*others, Taught(round=stage.round, steps=each, short_enough=enough))
        self.run_folder.write_meta(replace(meta, taught=taught))

    def _recorder(self, stage: Stage, tokenizer: PreTrainedTokenizerBase, **more: Any) -> Recorder:
        def evaluate(model: PreTrainedModel, step: int) -> tuple[float | None, float | None]:
            return self._evaluate(model, tokenizer, Place(stage=stage.rows, round=stage.round, step=step))

        return Recorder(
            self.run_folder,
            self.config,
            stage.rows,
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
            self._tell_unparsed(str(tokenizer.chat_template))

    def _tell_unparsed(self, template: str) -> None:
        """Say so at once where RL begins with a student that it can hardly pay for anything."""
        rows = [row for row in self.run_folder.read(Evaluation) if row.stage == "base"]

        def unread(row: Evaluation) -> float:
            return sum(row.reasons.get(one, 0) for one in NO_ANSWER) / (row.n * row.samples)

        worst = max(rows, key=unread, default=None)
        if self.prepared.stages[0].kind != "rl" or worst is None or unread(worst) < _UNPARSED:
            return
        shown = self.prepared.renderer.wording.examples
        _LOG.warning(
            "%.0f %% of the untrained student's completions%s have no answer that can be parsed, and %.0f %% are cut: "
            "RL will find little to pay for. Teach the form first by a cold start (training.recipe realm-r1), %sor let "
            "answers end (training.rl.max_completion_length, now %d%s).",
            100 * unread(worst),
            " to prompts with routes" if worst.routes else "",
            100 * (worst.truncated or 0.0),
            "show it (prompt.examples, now none), " * (not shown),
            self.config.training.rl.max_completion_length,
            "; without a thinking of its own: model.template_arguments {enable_thinking: false}"
            * ("enable_thinking" in template and "enable_thinking" not in self.config.model.template_arguments),
        )

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
