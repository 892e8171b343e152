"""What a run leaves behind while it trains: metrics.jsonl, completions.jsonl, evaluations.jsonl, live progress.

Steps are counted from 1 in these files: row 1 is what the first step did, with prompts drawn at `global_step` 0.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from realm.config import Config
from realm.method.completion import REASONS
from realm.rows.base import ShownRoute
from realm.rows.run import Cost, StageCost
from realm.rows.training import PairsStep, RewardParts, RlStep, Sampled, SampledCompletion, SftStep, Step
from realm.run import RunFolder
from realm.student.prompts import prompt_text
from realm.student.scoring import PROGRAM_FAILED, Scored
from realm.training.group import sharded
from realm.training.rewards import Group, RouteReward


@dataclass(frozen=True)
class Event:
    """What is going on: the step that ended, of how many, and what is known of reward, accuracy and the time left.

    `accuracy` is that of the completions sampled, `without` and `shown` those on the validation questions without and
    with routes, the last that were taken.
    """

    stage: Literal["sft", "pairs", "rl"]
    round: int
    step: int
    steps: int
    seconds_left: float = 0.0
    reward: float | None = None
    accuracy: float | None = None
    without: float | None = None
    shown: float | None = None


#: Called after every step.
Progress = Callable[[Event], None]
#: Called with (model, step); gives the accuracies without and with routes, None where they were not taken.
Evaluate = Callable[[PreTrainedModel, int], tuple[float | None, float | None]]

#: The rows of each stage.
_ROWS: dict[str, type[Step]] = {"sft": SftStep, "pairs": PairsStep, "rl": RlStep}
#: What the trainer logs under other names than those in metrics.jsonl.
_TRL_NAMES = {
    "completion_tokens": "completions/mean_length",
    "truncated": "completions/clipped_ratio",
    "clip_ratio": "clip_ratio/region_mean",
    "chosen": "rewards/chosen",
    "rejected": "rewards/rejected",
    "margin": "rewards/margins",
    "preferred": "rewards/accuracies",
}


class Recorder(TrainerCallback):
    """Writes the rows of one stage; only the main process writes.

    Args:
        run: the run folder.
        config: how often to evaluate and to save completions.
        stage, round_: `sft`, `pairs` or `rl`, and its number.
        steps: of the stage.
        evaluate: None leaves training-time evaluation out.
        tokenizer: renders the prompts that are saved.
        reward: whose groups are saved; None where none is sampled.
        tokens: tokens trained on up to a step; None: TRL counts them.
        progress: told after every step.
    """

    def __init__(
        self,
        run: RunFolder,
        config: Config,
        stage: Literal["sft", "pairs", "rl"],
        round_: int,
        *,
        steps: int,
        tokenizer: PreTrainedTokenizerBase,
        evaluate: Evaluate | None = None,
        reward: RouteReward | None = None,
        tokens: Callable[[int], int] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._run, self._training = run, config.training
        self._known = Event(stage, round_, 0, steps)
        self._evaluate, self._reward, self._tokenizer, self._tokens = evaluate, reward, tokenizer, tokens
        self._progress = progress
        self._before = 0.0
        self._clock = 0.0
        self._first_step = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock where the rows that are already there left it."""
        rows = self._run.read(Step) if state.is_world_process_zero else []
        self._before = rows[-1].seconds if rows else 0.0
        self._clock = time.perf_counter()
        self._first_step = state.global_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save completions and evaluate where it is time to, before the row and the checkpoint of this step."""
        step = state.global_step
        if step >= state.max_steps:
            control.should_log = True
        due = step % self._training.eval_every == 0 or step >= state.max_steps
        evaluate = self._evaluate if due else None
        if not state.is_world_process_zero:
            if evaluate is not None and sharded():  # no process can forward alone; this one's figures are not kept
                evaluate(kwargs["model"], step)
            return
        every = self._training.sample_every
        if self._reward is not None and (step % every == 0 or step in (1, state.max_steps)):
            for group in self._reward.groups[: self._training.sample_groups]:
                self._run.append(self._sampled(step, group))
        if evaluate is not None:
            # The clock is that of training: evaluation is not part of a recipe's cost.
            started = time.perf_counter()
            without, shown = evaluate(kwargs["model"], step)
            self._known = replace(self._known, without=without, shown=shown)
            self._clock += time.perf_counter() - started
        if self._progress is not None:
            seconds = time.perf_counter() - self._clock
            left = (state.max_steps - step) * seconds / max(step - self._first_step, 1)
            self._progress(replace(self._known, step=step, seconds_left=left))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """One row of metrics.jsonl for what the trainer logs (and sends to the trackers of `run.report_to`)."""
        if logs is None or "loss" not in logs or not state.is_world_process_zero:
            return
        step = state.global_step
        row: dict[str, Any] = {
            "stage": self._known.stage,
            "round": self._known.round,
            "step": step,
            "seconds": round(self._before + time.perf_counter() - self._clock, 3),
            "tokens": self._tokens(step) if self._tokens else state.num_input_tokens_seen,
        }
        if self._reward is not None:
            for table in ("domain_weights", "companions"):
                start = f"{table}/"
                row[table] = {name.removeprefix(start): logs[name] for name in logs if name.startswith(start)} or None
            codes = (*REASONS, PROGRAM_FAILED)
            row["parse"] = {reason: share for reason in codes if (share := logs.get(f"parse/{reason}"))}
            self._known = replace(self._known, reward=logs.get("reward"), accuracy=logs.get("accuracy"))
        kind = _ROWS[self._known.stage]
        logged = [column.name for column in fields(kind) if column.name not in row]
        row |= {name: logs.get(_TRL_NAMES.get(name, name)) for name in logged}
        self._run.append(kind(**row))

    def _sampled(self, step: int, group: Group) -> Sampled:
        """A group as completions.jsonl holds it."""
        question = group.question
        return Sampled(
            stage=self._known.stage,
            round=self._known.round,
            step=step,
            question_id=question.id,
            kind=question.kind,
            difficulty=question.difficulty,
            question=question.question,
            gold=question.answer,
            p=group.p,
            prompt=group.prompt if isinstance(group.prompt, str) else prompt_text(self._tokenizer, group.prompt),
            routes=tuple(
                ShownRoute(id=route.id, text=route.text, answer=route.answer, label=route.label)
                for route in group.routes
            ),
            completions=tuple(map(_completion, group.scored, group.copied)),
        )


def _completion(item: Scored, copied: bool) -> SampledCompletion:
    """A completion as completions.jsonl holds it; where the verifier failed nobody knows what it is worth."""
    reward, unknown = item.reward, item.verifier_failed
    return SampledCompletion(
        text=item.text,
        think=item.completion.think,
        answer=item.completion.answer,
        scores=item.completion.scores,
        correct=None if unknown else item.correct,
        verdict=item.verdict,
        reward=item.paid,
        format=reward.format,
        scoring=reward.scoring,
        reasons=item.completion.reasons,
        parts=None if unknown else RewardParts(format=reward.format, answer=reward.answer, scores=reward.scores),
        copied=None if unknown else copied,
    )


def cost(run: RunFolder, *, batch_size: int, num_iterations: int) -> Cost:
    """What training took, from metrics.jsonl: steps, sampled completions, tokens through the model, seconds.

    `batch_size` and `num_iterations` are those of RL. Seconds are those of training, over all resumes, without
    evaluation.
    """
    last = {(row.round, row.stage): row for row in run.read(Step)}
    stages: list[StageCost] = []
    before = 0.0
    for row in last.values():
        stages.append(
            StageCost(
                stage=row.stage,
                round=row.round,
                steps=row.step,
                completions=-(-row.step // num_iterations) * batch_size if row.stage == "rl" else 0,
                tokens=row.tokens,
                seconds=round(row.seconds - before, 3),
            )
        )
        before = row.seconds
    return Cost(
        steps=sum(stage.steps for stage in stages),
        completions=sum(stage.completions for stage in stages),
        tokens=sum(stage.tokens for stage in stages),
        seconds=sum(stage.seconds for stage in stages),
        stages=tuple(stages),
    )
