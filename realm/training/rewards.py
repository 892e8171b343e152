"""The reward function given to TRL: parse, verify, reward; it also measures the batch and keeps it for the recorder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from realm.config import Config
from realm.method.completion import REASONS
from realm.method.prompt import Message
from realm.method.routes import Route
from realm.student.judging import copied, unreadable
from realm.student.prompts import judged
from realm.student.scoring import PROGRAM_FAILED, Asked, Judge, Scored
from realm.tasks.base import Question
from realm.tasks.workers import VerifierPool


@dataclass(frozen=True)
class Group:
    """The completions of one prompt.

    Attributes:
        copied: of each, whether its wrong answer is that of a wrong route shown.
        tokens: of each, its length, the end token included.
        room: tokens that a completion may have.
        tau: progress of the stage, in [0, 1].
    """

    question: Question
    prompt: str | list[Message]
    routes: tuple[Route, ...]
    p: float
    dropped: int
    scored: tuple[Scored, ...]
    copied: tuple[bool, ...]
    tokens: tuple[int, ...] = ()
    room: int = 0
    tau: float = 0.0


class RouteReward:
    """MRPV's two-stage reward as TRL calls it.

    A completion whose answer the verifier failed on (time-out, error) gets None instead of a reward: what nobody knows
    counts neither for nor against the model. TRL leaves None out of the group's baseline and sets the advantage to zero
    (a contract test in tests/training/test_rewards.py). The share of such completions is the figure
    `verifier_failures`, so that it is never silent; figures of rewards and answers are means over the others. An answer
    that the verifier cannot read earns what a wrong one earns; `unreadable_answers` is the share of such completions.

    Args:
        config: weights, rule and tags.
        questions: by id; the column `question_id` names them.
        pool: judges answers.

    Attributes:
        read: what a completion's tokens say; None: what the trainer says that they do. TRL leaves out special tokens,
            and where the tokenizer describes its responses, the thinking.
        groups: the local groups of the last batch.
    """

    def __init__(self, config: Config, questions: Mapping[str, Question], pool: VerifierPool) -> None:
        self.__name__ = "realm"  # TRL's name for the reward: rewards/realm/mean
        self.groups: list[Group] = []
        self.read: Callable[[Sequence[int]], str] | None = None
        self._config = config
        self._questions = questions
        self._pool = pool
        self._judge = Judge(
            pool,
            tags=config.prompt.tags(),
            weights=config.reward.weights(),
            rule=config.reward.rule,
            execute=config.prompt.execute,
        )
        self._size = config.training.rl.num_generations
        paid = config.reward.weights()
        #: The highest reward there is.
        self.best = paid.format + paid.answer + paid.scores

    def __call__(
        self,
        *,
        prompts: Sequence[str | list[Message]],
        completions: Sequence[str | list[Message]],
        question_id: Sequence[str],
        completion_ids: Sequence[Sequence[int]] | None = None,
        routes: Sequence[tuple[Route, ...]] | None = None,
        p: Sequence[float] | None = None,
        tau: Sequence[float] | None = None,
        dropped: Sequence[int] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """One reward per completion, None where the verifier failed.

        `routes` … `dropped` are the columns added by `RouteTrainer`; without them the prompts had no routes.
        """
        n = len(completions)
        shown = list(routes or [()] * n)
        if self.read is not None and completion_ids is not None:
            texts = [self.read(ids) for ids in completion_ids]
        else:
            texts = [text if isinstance(text, str) else str(text[0]["content"]) for text in completions]
        questions = [self._questions[key] for key in question_id]
        scored = self._judge(
            texts,
            [
                Asked(
                    asked.question,
                    asked.answer,
                    tuple(route.label for route in judged(self._config, routes_shown)),
                    asked.kind,
                )
                for asked, routes_shown in zip(questions, shown, strict=True)
            ],
        )
        # What nobody knows to be wrong copies nothing.
        answers = [
            (item.completion.answer, item.correct or item.verifier_failed, routes_shown, asked)
            for item, routes_shown, asked in zip(scored, shown, questions, strict=True)
        ]
        copies = copied(self._pool, answers)
        self.groups = [
            Group(
                questions[rows[0]],
                prompts[rows[0]],
                shown[rows[0]],
                p[rows[0]] if p else 0.0,
                dropped[rows[0]] if dropped else 0,
                tuple(scored[row] for row in rows),
                tuple(copies[row] for row in rows),
                tuple(len(completion_ids[row]) for row in rows) if completion_ids is not None else (),
                self._config.training.rl.max_completion_length,
                tau[rows[0]] if tau else 0.0,
            )
            for rows in self._rows(question_id)
        ]
        if log_metric is not None:
            for name, value in self._measure().items():
                log_metric(name, value)
            if tau:
                log_metric("tau", tau[0])
        return [item.paid for item in scored]

    def _rows(self, question_id: Sequence[str]) -> Iterator[range]:
        """Row numbers of each group: neighbours with one question, at most G of them (a question may follow itself).

        Where a group lies on two processes, each sees its part as a group of its own.
        """
        start = 0
        for end in range(1, len(question_id) + 1):
            if end == len(question_id) or question_id[end] != question_id[start] or end - start == self._size:
                yield range(start, end)
                start = end

    def _measure(self) -> dict[str, float]:
        """The figures of the batch by their names in metrics.jsonl; shares and means, so that they can be averaged.

        Where the verifier failed on every completion, figures of rewards and answers are left out.
        """
        scored = [item for group in self.groups for item in group.scored]
        judged = [item for item in scored if not item.verifier_failed]
        reasons = Counter(reason for item in scored for reason in item.completion.reasons)
        codes = (*REASONS, PROGRAM_FAILED) if self._config.prompt.execute else REASONS
        figures = {
            "p": fmean(group.p for group in self.groups),
            "routes_per_prompt": fmean(len(group.routes) for group in self.groups),
            "routes_dropped": fmean(group.dropped for group in self.groups),
            "parse_failures": fmean(not item.completion.format_ok for item in scored),
            "verifier_failures": fmean(item.verifier_failed for item in scored),
            "unreadable_answers": fmean(unreadable(item.completion.answer, item.verdict) for item in scored),
            **{f"parse/{reason}": reasons[reason] / len(scored) for reason in codes},
        }
        if judged:
            figures |= {
                "reward_format": fmean(item.reward.format for item in judged),
                "reward_answer": fmean(item.reward.answer for item in judged),
                "reward_scores": fmean(item.reward.scores for item in judged),
                "accuracy": fmean(item.correct for item in judged),
            }
        alone = [
            item.correct
            for group in self.groups
            if not group.routes
            for item in group.scored
            if not item.verifier_failed
        ]
        if alone:
            figures["accuracy_without_routes"] = fmean(alone)
        # Without routes there is nothing to score or to copy: such prompts would only water these two down.
        with_routes = [group for group in self.groups if group.routes]
        if with_routes and self._config.prompt.judge:
            figures["scoring"] = fmean(item.reward.scoring for group in with_routes for item in group.scored)
        wrong = [
            copy
            for group in with_routes
            for item, copy in zip(group.scored, group.copied, strict=True)
            if not item.correct and not item.verifier_failed
        ]
        if wrong:
            figures["same_err"] = fmean(wrong)
        return figures
