"""The prompt of a question at a step: routes drawn by the method, fitted to the student's context, counted."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from realm.bank.store import Bank
from realm.config import Config
from realm.errors import ModelError
from realm.method.prompt import Message, PromptTooLongError, messages, plain
from realm.method.routes import Route, draw
from realm.method.schedule import Schedule, is_probe
from realm.student.prompts import fit_prompt, make_tags, make_wording, prompt_text
from realm.tasks.base import Question, Task


@dataclass(frozen=True)
class Rendered:
    """One prompt: its messages, the routes it shows in order, the p they were faded with (0 for a probe), and how many
    routes were dropped because the context was too short for them."""

    messages: list[Message]
    routes: tuple[Route, ...]
    p: float
    dropped: int


def make_schedule(config: Config) -> Schedule:
    """The fade of the configuration."""
    fade = config.fade
    return Schedule(
        fade.schedule, fade.p_start, fade.p_end, fade.hold, fade.fade_end, fade.stairs, fade.floor, fade.target
    )


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
        self.k = config.routes.k if k is None else k
        self.seed = config.run.seed if seed is None else seed
        self.tags = make_tags(config)
        self.wording = make_wording(config, task)
        self.questions: Mapping[str, Question] = {question.id: question for question in task.rows("train")}
        self.context = context
        self.limit = context - config.training.rl.max_completion_length
        self.tokenizer = tokenizer
        self._bank = bank
        self._schedule = make_schedule(config)
        self._config = config

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
    ) -> Rendered:
        """The prompt of the question at optimizer step `step` (from 0) and progress `tau` in [0, 1].

        Args:
            success: in [0, 1], what the schedule `adaptive` follows; some prompts are then probes without routes. None:
                nobody feeds back, p is the most it can be and there are no probes.
            schedule: instead of that of the configuration.

        Raises:
            ModelError: the question alone does not fit the context.
        """
        routes: tuple[Route, ...] = ()
        p = 0.0
        if self.k and not (success is not None and self._is_probe(question_id, step)):
            settings = self._config.routes
            drawn = draw(
                self.routes(question_id),
                k=self.k,
                strategy=settings.selection,
                schedule=schedule or self._schedule,
                granularity=self._config.fade.granularity,
                tau=tau,
                seed=self.seed,
                question_id=question_id,
                step=step,
                success=success or 0.0,
                error_ratio=settings.error_ratio,
                error_range=settings.error_range,
            )
            routes, p = drawn.routes, drawn.p
        prompt, kept, dropped = self.fit(question_id, routes)
        return Rendered(prompt, kept, p, dropped)

    def _is_probe(self, question_id: str, step: int) -> bool:
        return is_probe(self._config.fade.probe, seed=self.seed, question_id=question_id, step=step)

    def fit(self, question_id: str, routes: Sequence[Route]) -> tuple[list[Message], tuple[Route, ...], int]:
        """The prompt with as many of the routes as the context holds, those routes, and the number dropped."""
        question = self.questions[question_id]
        try:
            return fit_prompt(self.tokenizer, question, routes, self.wording, self.tags, self.limit)
        except PromptTooLongError as error:
            length = self._config.training.rl.max_completion_length
            raise ModelError(
                f"question {question_id}: its prompt needs {error.tokens} tokens even without routes, but only "
                f"{error.limit} are left (context {self.context} - training.rl.max_completion_length {length}); "
                "use a model with a longer context, allow fewer completion tokens, or leave the question out."
            ) from error

    @functools.cached_property
    def opens_thinking(self) -> bool:
        """Whether every prompt ends with the opening tag of the thinking, as templates of reasoning models write it."""
        prompt = prompt_text(self.tokenizer, messages("?", (), self.wording, self.tags))
        return prompt.rstrip().endswith(f"<{self.tags.think}>")

    def check(self) -> None:
        """Make sure, before anything is paid for, that every training question fits without routes.

        Raises:
            ModelError: names the first question that does not.
        """
        for question_id in self.questions:
            self.fit(question_id, ())
