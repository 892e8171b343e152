"""One question to a trained model, in exactly the prompt without routes that it was trained on."""

from __future__ import annotations

import atexit
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realm.bank.store import Bank
from realm.commands.configuring import as_taught, config_of, load_config, run_above
from realm.config import Config
from realm.display import printable
from realm.errors import ConfigError, DataError
from realm.evaluation.evaluate import completion_limit, confidence
from realm.evaluation.measures import majority
from realm.exchange.importing import known_questions
from realm.exchange.run_bank import has_bank, open_run_bank
from realm.method.completion import Completion
from realm.method.prompt import Message
from realm.method.routes import Route
from realm.method.seeds import derive
from realm.pages.card import Surface, read_surface, surface
from realm.rows.evaluation import Confidence, Evaluation
from realm.rows.run import Meta
from realm.run_rows import read_row, read_rows
from realm.sections import EvaluationConfig
from realm.student.generate import Generation, generate, stop_of, to_accelerator
from realm.student.load import find, load, prompt_limit
from realm.student.prompts import evaluation_prompts, judged, prompt_text
from realm.student.scoring import read
from realm.tasks.base import Question, Task, normal
from realm.tasks.jsonl import JsonlTask
from realm.tasks.registry import load_task
from realm.tasks.verify import VERIFIERS, names
from realm.tasks.workers import VerifierPool, verify_once

#: Sampled answers by which the confidence is told, unless another number is asked for.
SAMPLES = 10


@dataclass(frozen=True)
class Trust:
    """Whether an answer may be trusted, by the threshold that an evaluation of the model chose.

    Attributes:
        trusted: its confidence is at least the threshold.
        by, confidence: how sure it is, as `evaluation.confidence` names it; None: it does not say, there is no answer,
            or most of its samples (`votes`) have another.
        threshold: from it on `precision` of the answers were right on the split `chosen_on`; None: nowhere.
    """

    trusted: bool
    by: str
    confidence: float | None
    threshold: float | None
    precision: float
    chosen_on: str


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
        trust: where an evaluation with `evaluation.confidence` tells from when on, of answers that are made as its own.
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
    trust: Trust | None = None


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
        self.config = as_taught(config or (config_of(run) if run else _config(told)), model)
        self.path = self.config.model.path if base else str(model)
        found = Path(self.path) if Path(self.path).is_dir() else self.path
        self._model, self._tokenizer = load(found, self.config.model.dtype, self.config.model)
        self._length = completion_limit(self.config)
        self._limit = prompt_limit(self._model, self.config, self._length)
        self.surface = told or surface(self.config, load_task(self.config), self._tokenizer, self._limit)
        self._settings, self._sure = self.config.evaluation, dict[bool, Confidence]()
        if run and folder.resolve() in (run, run / "model") and not (config or base):  # not of a checkpoint
            self._settings, self._sure = _sure(run, self._settings)
        self._known: tuple[Task, Bank | None, dict[str, Question]] | None = None
        name = self.surface.verifier
        if name != self.config.task.verifier_name and not set(names(name).values()) <= VERIFIERS.keys():
            name = "exact"  # a card is of anybody: it names no code to be run
        self._pool = VerifierPool(name, self.surface.choices, self.config.task.verifier_timeout)
        atexit.register(self._pool.close)
        to_accelerator(self._model)

    def ask(self, question: str, *, routes: bool = False, samples: int | None = None) -> Answer:
        """The model's answer.

        Args:
            routes: show it the routes that an evaluation would, of a question that the bank knows.
            samples: completions by which the confidence is told; 0: none; None: 10, or as many as the evaluation had
                votes.

        Raises:
            UserError: the question is empty, does not fit into the context, or is none of the bank's.
        """
        if not isinstance(question, str) or not question.strip():
            raise ConfigError("the question is empty.")
        settings, sure = self._settings, self._sure.get(routes)
        voted = sure is not None and sure.by == "votes"
        if samples is None:
            samples = settings.samples if voted else SAMPLES
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
            (found,) = generate(
                self._model,
                self._tokenizer,
                [prompt.ids],
                max_new_tokens=self._length,
                batch_size=batch_size,
                stop=stop_of(self.config, self._tokenizer),
                **sampling,
            )
            rows = [(one.text, len(scored)) for one in found]
            return list(zip(found, read(rows, tags, self._pool, self.config.prompt.execute), strict=True))

        ((first, found),) = answers(1, likelihood=sure is not None and sure.by == "likelihood")
        same, level = [], confidence(first, found.answer, sure.by if sure else None)
        if found.answer and samples:
            seed = derive(self.config.run.seed, "ask")
            more = answers(settings.batch_size, samples=samples, temperature=settings.temperature, seed=seed)
            verdicts = verify_once(self._pool, [asked.claim(one.answer, found.answer) for _, one in more])
            same = [
                one.answer == found.answer or verdict.correct for (_, one), verdict in zip(more, verdicts, strict=True)
            ]
            place, votes = majority([one.answer for _, one in more])
            if voted and same[place]:
                level = votes / samples
        alike = settings.samples == (samples if voted else 1)
        return Answer(
            question=question,
            think=found.think,
            answer=found.answer,
            confidence=sum(same) / samples if same else None,
            samples=samples,
            routes=prompt.routes,
            scores=found.scores,
            text=first.text,
            reasons=found.reasons,
            truncated=first.truncated,
            messages=tuple(prompt.messages),
            prompt=prompt_text(self._tokenizer, prompt.messages),
            executed=found.executed,
            trust=_trust(sure, level) if sure and alike else None,
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


def _sure(run: Path, settings: EvaluationConfig) -> tuple[EvaluationConfig, dict[bool, Confidence]]:
    """How a run's model was evaluated, and what that told of confidence, without and with routes.

    By the run's own evaluation, else by that in the folder where `realm evaluate RUN` leaves it.
    """
    beside = run.with_name(f"{run.name}-evaluation")
    for folder in (run, beside):
        rows = read_rows(folder, Evaluation, [])
        found = {row.routes > 0: one for row in rows if (one := row.confidence) and one.chosen_on}
        meta = read_row(folder, Meta, [])
        if found and meta and (folder == run or Path(meta.evaluated or "").resolve() == run / "model"):
            return load_config(folder).evaluation, found
    return settings, {}


def _trust(sure: Confidence, level: float | None) -> Trust:
    trusted = level is not None and sure.threshold is not None and level >= sure.threshold
    return Trust(trusted, sure.by, level, sure.threshold, sure.wanted or 0.0, sure.chosen_on or "")


def _config(told: Surface | None) -> Config:
    """What of a configuration a card tells."""
    assert told is not None
    # As they are, not dumped: what others wrote into a card may be small and unfold without end.
    given = {"model": told.model, "prompt": told.prompt, "evaluation": {"max_completion_length": told.max_tokens}}
    return Config.model_validate(given)
