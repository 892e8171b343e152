"""The prompt of a question at a step: routes drawn by the method, fitted to the student's context, counted."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from realm.bank.store import Bank
from realm.config import Config
from realm.method.prompt import Message, messages, plain
from realm.method.routes import NOTHING, Draw, Route, draw
from realm.method.schedule import Schedule, is_probe
from realm.plugins import outside
from realm.student.prompts import Prompt, make_prompt, make_selection, make_wording, plain_text, presented, prompt_text
from realm.tasks.base import Question, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def as_prompt(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> list[Message] | str:
    """What TRL's `prompt` column wants: messages for a tokenizer with a chat template, else plain text."""
    return messages if tokenizer.chat_template else plain(messages)


class Renderer:
    """Renders training questions. `render` is a pure function of (seed, question id, step), τ and success.

    Args:
        config: of the run; seed, routes, fade, prompt and `training.rl.max_completion_length` are read.
        task: the training questions and the wording.
        bank: the CoTs; None where no route is ever shown.
        tokenizer: of the student.
        context: tokens that prompt and completion may have together.
        k: routes per prompt before fading instead of `config.routes.k` (0 in the recipe `grpo`).
        seed: instead of `config.run.seed` (later rounds draw anew).
    """

    def __init__(
        self,
        config: Config,
        task: Task,
        bank: Bank | None,
        tokenizer: PreTrainedTokenizerBase,
        context: int,
        *,
        k: int | None = None,
        seed: int | None = None,
    ) -> None:
        selection = make_selection(config)
        self.selection = selection if k is None else replace(selection, k=k)
        self.seed = config.run.seed if seed is None else seed
        self.tags = config.prompt.tags()
        self.questions: Mapping[str, Question] = {question.id: question for question in task.rows("train")}
        self.context = context
        self.limit = context - config.training.rl.max_completion_length
        self.wording = make_wording(config, task, tokenizer, self.limit)
        self.tokenizer = tokenizer
        self._bank = bank
        self._probe = config.fade.probe

    def routes(self, question_id: str) -> list[Route]:
        """Every route the bank holds for the question."""
        return [] if self._bank is None else self._bank.routes(question_id)

    def render(
        self,
        question_id: str,
        step: int,
        tau: float,
        success: float | None = None,
        *,
        schedule: Schedule | None = None,
    ) -> Prompt:
        """The prompt of the question at optimizer step `step` (from 0) and progress `tau` in [0, 1].

        Args:
            success: in [0, 1], what the schedule `adaptive` follows; some prompts are then probes without routes. None:
                nobody feeds back, p is the most it can be and there are no probes.
            schedule: instead of that of the configuration.

        Raises:
            ConfigError: a plug-in chooses routes or gives a p that it may not.
            ModelError: the question alone does not fit the context.
        """
        named: Any = {"seed": self.seed, "question_id": question_id, "step": step}
        if not self.selection.k or (success is not None and is_probe(self._probe, **named)):
            return self.fit(question_id)
        selection = self.selection if schedule is None else replace(self.selection, schedule=schedule)
        with outside():
            drawn = draw(self.routes(question_id), selection, tau=tau, success=success or 0.0, **named)
        return self.fit(question_id, drawn)

    def fit(self, question: str | Question, drawn: Draw = NOTHING) -> Prompt:
        """The prompt of a question, or of a training question's id, with as many of the routes as the context holds.

        Raises `ModelError` as `make_prompt` does.
        """
        question = self.questions[question] if isinstance(question, str) else question
        return make_prompt(self.tokenizer, question, drawn, self.wording, self.tags, self.limit)

    @functools.cached_property
    def harmless(self) -> Callable[[str], str]:
        """What others wrote as plain text to the tokenizer (`realm.student.prompts.plain_text`)."""
        return plain_text(self.tokenizer)

    @functools.cached_property
    def opens_thinking(self) -> bool:
        """Whether every prompt ends with the opening tag of the thinking, as templates of reasoning models write it."""
        asked = presented(self.tokenizer, messages("?", (), self.wording, self.tags))
        prompt = prompt_text(self.tokenizer, asked)
        return prompt.rstrip().endswith(f"<{self.tags.think}>")

    def check(self) -> None:
        """Make sure, before anything is paid for, that every training question fits without routes.

        Raises:
            ModelError: names the first question that does not.
        """
        for question_id in self.questions:
            self.fit(question_id)
