"""One question to a trained model, in exactly the prompt without routes that it was trained on."""

from __future__ import annotations

import atexit
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from realm.bank.store import Bank
from realm.commands.configuring import config_of, run_above
from realm.config import Config
from realm.display import printable
from realm.errors import ConfigError, DataError
from realm.evaluation.evaluate import completion_limit
from realm.exchange.importing import known_questions
from realm.exchange.run_bank import has_bank, open_run_bank
from realm.method.completion import Completion
from realm.method.prompt import Message
from realm.method.routes import Route
from realm.method.seeds import derive
from realm.pages.card import Surface, read_surface, surface
from realm.student.generate import Generation, generate, stop_of
from realm.student.load import find, load, prompt_limit
from realm.student.prompts import evaluation_prompts, judged, prompt_text
from realm.student.scoring import read
from realm.tasks.base import Question, Task, normal
from realm.tasks.jsonl import JsonlTask
from realm.tasks.registry import load_task
from realm.tasks.verify import VERIFIERS
from realm.tasks.workers import VerifierPool, verify_once

#: Sampled answers by which the confidence is told, unless another number is asked for.
SAMPLES = 10


@dataclass(frozen=True)
class Answer:
    """What a model answered to one question.

    Attributes:
        answer: greedy decoding's; None where it wrote none that can be read (`reasons`: see `realm.Completion`).
        confidence: the share of `samples` further completions, sampled at `evaluation.temperature`, whose answer equals
            `answer` by the task's verifier: how much the model agrees with itself, not how often it is right. None
            where there is no answer, or no sample.
        scores: of each of the `routes` that the prompt showed, in [0, 1].
        executed: the answer is the result of a program in the thinking, which was run (`prompt.execute`).
        truncated: the completion was cut at its largest length.
        messages, prompt: what it was asked: the conversation, and the text that its chat template makes of it.
    """

    question: str
    think: str
    answer: str | None
    confidence: float | None
    samples: int
    routes: tuple[Route, ...]
    scores: tuple[float | None, ...]
    text: str
    reasons: tuple[str, ...]
    truncated: bool
    messages: tuple[Message, ...]
    prompt: str
    executed: bool = False


class Student:
    """A trained model, or the base of its run, ready to be asked.

    Args:
        place: folder of a run, or a directory of a model. What prompt it was trained on is told by the run that it lies
            in, or by its card.
        config: tells it instead.
        base: the untrained model of the run is asked.

    Raises:
        UserError: nothing tells the prompt, or the model cannot be loaded.
    """

    def __init__(self, place: str | Path, config: Config | None = None, *, base: bool = False) -> None:
        folder = Path(place)
        run = run_above(folder)
        model = folder / "model" if run == folder.resolve() else folder
        if model != folder and not model.is_dir():
            raise ConfigError(f"{folder}: the run has no model yet; go on with it: realm train {folder} --resume")
        told = None if config else read_surface(model)
        self._alone = config is None and run is None  # with its card
        if self._alone and told is None:
            find(str(place))
            if not folder.exists():  # a name that the Hub may know, of a model without a run
                raise ConfigError(
                    f"{folder}: there is no such folder; give a run, or a model of the Hub with --config."
                )
            raise ConfigError(
                f"{folder}: nothing tells the prompt that this model was trained on: it lies in no run, and its "
                "README.md has no section `realm`. Name a configuration with --config."
            )
        if self._alone and base:
            raise ConfigError(f"{folder}: its base is not known; --base is for a run.")
        self.config = config or (config_of(run) if run else _config(told))
        self.surface = told or surface(self.config, load_task(self.config))
        self.path = self.config.model.path if base else str(model)
        self._known: tuple[Task, Bank | None, dict[str, Question]] | None = None
        name = self.surface.verifier
        if name not in VERIFIERS and name != self.config.task.verifier_name:
            name = "exact"  # a card is of anybody: it names no code to be run
        self._pool = VerifierPool(name, self.surface.choices, self.config.task.verifier_timeout)
        atexit.register(self._pool.close)
        self._length = completion_limit(self.config)
        found = Path(self.path) if Path(self.path).is_dir() else self.path
        self._model, self._tokenizer = load(found, self.config.model.dtype, self.config.model)
        self._limit = prompt_limit(self._model, self.config, self._length)
        self._model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]

    def ask(self, question: str, *, routes: bool = False, samples: int = SAMPLES) -> Answer:
        """The model's answer.

        Args:
            routes: show it the routes that an evaluation would, of a question that the bank knows.
            samples: completions by which the confidence is told; 0: none.

        Raises:
            UserError: the question is empty, does not fit into the context, or is none of the bank's.
        """
        if not isinstance(question, str) or not question.strip():
            raise ConfigError("the question is empty.")
        if not isinstance(samples, int) or samples < 0:
            raise ConfigError(f"samples: expected a whole number, 0 or more, found {samples!r}.")
        name = f"`{printable(question.strip(), 60)}`"
        asked, task, bank = self._with_routes(question, name) if routes else (Question(name, question, ""), None, None)
        (prompt,) = evaluation_prompts(
            [asked],
            bank.routes if bank else None,
            task or self._task(),
            self.config,
            self._tokenizer,
            self._limit,
            self.config.run.seed,
        )
        if routes and not prompt.routes:
            raise DataError(f"{name}: has no routes to show (routes.k, and room in the context).")
        scored, tags = judged(self.config, prompt.routes), self.config.prompt.tags()

        def answers(batch_size: int, **sampling: Any) -> list[tuple[Generation, Completion]]:
            length, asked = self._length, [prompt.ids]
            (found,) = generate(
                self._model,
                self._tokenizer,
                asked,
                max_new_tokens=length,
                batch_size=batch_size,
                stop=stop_of(self.config, self._tokenizer),
                **sampling,
            )
            rows = [(one.text, len(scored)) for one in found]
            return list(zip(found, read(rows, tags, self._pool, self.config.prompt.execute), strict=True))

        ((first, found),) = answers(1)
        equal = 0
        if found.answer and samples:
            settings, seed = self.config.evaluation, derive(self.config.run.seed, "ask")
            more = answers(settings.batch_size, samples=samples, temperature=settings.temperature, seed=seed)
            verdicts = verify_once(self._pool, [asked.claim(one.answer, found.answer) for _, one in more])
            equal = sum(
                one.answer == found.answer or verdict.correct for (_, one), verdict in zip(more, verdicts, strict=True)
            )
        return Answer(
            question=question,
            think=found.think,
            answer=found.answer,
            confidence=equal / samples if found.answer and samples else None,
            samples=samples,
            routes=prompt.routes,
            scores=found.scores,
            text=first.text,
            reasons=found.reasons,
            truncated=first.truncated,
            messages=tuple(prompt.messages),
            prompt=prompt_text(self._tokenizer, prompt.messages),
            executed=found.executed,
        )

    def _task(self) -> Task:
        """A task without questions, but with the student's surface."""
        asked = self.surface
        return JsonlTask(asked.task, asked.wording(), self._pool.verifier, tuple(asked.choices), {})

    def _with_routes(self, question: str, name: str) -> tuple[Question, Task, Bank]:
        """The question as the run knows it, the run's task and its bank."""
        if self._known is None:
            if self._alone:
                raise ConfigError("--routes: routes are of a run's bank, and this model lies in no run.")
            task = load_task(self.config)
            bank = open_run_bank(self.config, task, self._pool, resume=True) if has_bank(self.config) else None
            questions = [*known_questions(task), *(bank.questions.values() if bank else ())]
            self._known = task, bank, {normal(one.question): one for one in questions}
        task, bank, known = self._known
        if bank is None:
            raise ConfigError("--routes: there is no bank (bank.path, or `bank` in the run's folder).")
        asked = known.get(normal(question))
        if asked is None or not bank.routes(asked.id):
            raise DataError(f"{name}: is no question of the bank, so there are no routes to show.")
        return asked, task, bank


def _config(told: Surface | None) -> Config:
    """What of a configuration a card tells."""
    assert told is not None
    # As they are, not dumped: what others wrote into a card may be small and unfold without end.
    given = {"model": told.model, "prompt": told.prompt, "evaluation": {"max_completion_length": told.max_tokens}}
    return Config.model_validate(given)
