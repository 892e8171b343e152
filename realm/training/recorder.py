"""What a run leaves behind while it trains: metrics.jsonl, completions.jsonl, evaluations.jsonl, live progress.

Steps are counted from 1 in these files: row 1 is what the first step did, with prompts drawn at `global_step` 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

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
from realm.run import RunFolder
from realm.student.prompts import prompt_text
from realm.training.group import sharded
from realm.training.rewards import Group, RouteReward

#: Called with what is going on: stage, round, step, steps, and what is known of reward, accuracy and the time left.
Progress = Callable[[dict[str, Any]], None]
#: Called with (model, step); gives the accuracies without and with routes.
Evaluate = Callable[[PreTrainedModel, int], Mapping[str, float | None]]

#: Names in metrics.jsonl of what the trainer logs.
_TRL_NAMES = {
    "reward": "reward",
    "kl": "kl",
    "entropy": "entropy",
    "completion_tokens": "completions/mean_length",
    "truncated": "completions/clipped_ratio",
    "tokens_saved": "tokens_saved",
    "clip_ratio": "clip_ratio/region_mean",
    "internalized": "internalized",
}
#: What `RouteReward` logs.
_OUR_NAMES = (
    "p", "tau", "reward_format", "reward_answer", "reward_scores", "scoring", "accuracy",
    "accuracy_without_routes", "routes_per_prompt", "routes_dropped", "zero_spread_groups", "parse_failures",
    "verifier_failures", "unreadable_answers", "same_err",
)  # fmt: skip


class Recorder(TrainerCallback):
    """Writes the rows of one stage; only the main process writes.

    Args:
        run: the run folder.
        config: how often to evaluate and to save completions.
        stage, round_: `sft` or `rl`, and its number.
        steps: of the stage.
        evaluate: None leaves training-time evaluation out.
        tokenizer: renders the prompts that are saved.
        reward: whose groups are saved; None in SFT.
        tokens: tokens trained on up to a step; None: TRL counts them.
        progress: told after every step.
    """

    def __init__(
        self,
        run: RunFolder,
        config: Config,
        stage: str,
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
        self._where = {"stage": stage, "round": round_}
        self._steps = steps
        self._evaluate, self._reward, self._tokenizer, self._tokens = evaluate, reward, tokenizer, tokens
        self._progress = progress
        self._known: dict[str, Any] = {}
        self._before = 0.0
        self._clock = 0.0
        self._first_step = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock where the rows that are already there left it."""
        rows = self._run.read("metrics.jsonl") if state.is_world_process_zero else []
        self._before = rows[-1]["seconds"] if rows else 0.0
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
                self._run.append("completions.jsonl", {**self._where, "step": step, **self._group(group)})
        if evaluate is not None:
            # The clock is that of training: evaluation is not part of a recipe's cost.
            started = time.perf_counter()
            self._known.update(evaluate(kwargs["model"], step))
            self._clock += time.perf_counter() - started
        if self._progress is not None:
            seconds = time.perf_counter() - self._clock
            left = (state.max_steps - step) * seconds / max(step - self._first_step, 1)
            self._progress({**self._where, "step": step, "steps": self._steps, "seconds_left": left, **self._known})

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
        row = {
            **self._where,
            "step": step,
            "seconds": round(self._before + time.perf_counter() - self._clock, 3),
            "tokens": self._tokens(step) if self._tokens else state.num_input_tokens_seen,
            "loss": logs["loss"],
        }
        if self._reward is not None:
            row |= {name: logs.get(name) for name in _OUR_NAMES}
            row |= {name: logs.get(theirs) for name, theirs in _TRL_NAMES.items()}
            row |= _fed_back(logs)
            row["parse"] = {reason: share for reason in REASONS if (share := logs.get(f"parse/{reason}"))}
            self._known.update(reward=row["reward"], accuracy=row["accuracy"])
        row |= {name: logs.get(name) for name in ("grad_norm", "learning_rate")}
        self._run.append("metrics.jsonl", row)

    def _group(self, group: Group) -> dict[str, Any]:
        """A group as completions.jsonl holds it."""
        prompt = group.prompt if isinstance(group.prompt, str) else prompt_text(self._tokenizer, group.prompt)
        question = group.question
        return {
            "question_id": question.id,
            "kind": question.kind,
            "difficulty": question.difficulty,
            "question": question.question,
            "gold": question.answer,
            "p": group.p,
            "prompt": prompt,
            "routes": [
                {"id": route.id, "text": route.text, "answer": route.answer, "label": route.label}
                for route in group.routes
            ],
            "completions": [
                {
                    "text": item.text,
                    "think": item.completion.think,
                    "answer": item.completion.answer,
                    "scores": list(item.completion.scores),
                    # null: the verifier failed, and nobody knows.
                    "correct": None if item.verifier_failed else item.correct,
                    "verdict": item.verdict,
                    "reward": item.paid,
                    "format": item.reward.format,
                    "scoring": item.reward.scoring,
                    "reasons": list(item.completion.reasons),
                }
                for item in group.scored
            ],
        }


def _fed_back(logs: Mapping[str, Any]) -> dict[str, Any]:
    """What `Feedback.figures` put into the logs, with the weights of the domains as one mapping; else nothing."""
    found = {"route_free_success": logs["route_free_success"]} if "route_free_success" in logs else {}
    prefix = "domain_weights/"
    weights = {name.removeprefix(prefix): value for name, value in logs.items() if name.startswith(prefix)}
    return {**found, "domain_weights": weights} if weights else found


def cost(run: RunFolder, *, batch_size: int, num_iterations: int) -> dict[str, Any]:
    """What training took, from metrics.jsonl: steps, sampled completions, tokens through the model, seconds.

    `batch_size` and `num_iterations` are those of RL. Seconds are those of training, over all resumes, without
    evaluation.
    """
    last = {(row["round"], row["stage"]): row for row in run.read("metrics.jsonl")}
    stages: list[dict[str, Any]] = []
    before = 0.0
    for (round_, stage), row in last.items():
        stages.append(
            {
                "stage": stage,
                "round": round_,
                "steps": row["step"],
                "completions": -(-row["step"] // num_iterations) * batch_size if stage == "rl" else 0,
                "tokens": row["tokens"],
                "seconds": round(row["seconds"] - before, 3),
            }
        )
        before = row["seconds"]
    total = {name: sum(stage[name] for stage in stages) for name in ("steps", "completions", "tokens", "seconds")}
    return {**total, "stages": stages}
