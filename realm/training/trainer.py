"""ReaLM as a trainer of TRL: constructed from a model, a dataset and a bank in memory, without a run folder."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig

from realm.bank.cot import digest
from realm.bank.store import Bank
from realm.errors import ConfigError, DataError, ModelError, TrainingError
from realm.method.prompt import Wording
from realm.plugins import trust
from realm.student.generate import completion_text, end_tokens
from realm.student.load import context_length, end_turns, load_model, load_tokenizer
from realm.student.prompts import present
from realm.student.renderer import Renderer
from realm.student.sampling import NotFiniteError
from realm.tasks.base import Question
from realm.tasks.jsonl import JsonlTask
from realm.tasks.registry import wording_of
from realm.tasks.workers import VerifierPool
from realm.training.feedback import make_feedback
from realm.training.given import Section, check_model, configuration, dtype_of, read_questions, with_ids
from realm.training.grpo import RouteTrainer, extras
from realm.training.rewards import RouteReward

_LOG = logging.getLogger(__name__)
#: Questions whose prompts are rendered before the training to see what fits.
_LOOKED_AT = 32


class ReaLMTrainer(RouteTrainer):
    """TRL's GRPOTrainer whose prompts show CoTs of a bank, fewer and fewer of them, and whose reward is MRPV's.

        trainer = ReaLMTrainer(
            model="path/to/student", args=GRPOConfig("out", max_steps=200), train_dataset=dataset, bank="path/to/bank",
            verifier="number",
        )
        trainer.train()
        trainer.save_model("out/model")

    What the fade, the routes, the reward and the prompt may be set to, and what each is by default, is what the
    sections of that name of a run's configuration say (`realm train --show-config`).

    Args:
        model: a model, or the path (or Hub name) of one.
        args: TRL's settings; `max_steps`, or epochs and the dataset's length, is what the fade is spread over.
        train_dataset: columns `question` (or `prompt`, a text) and `answer` (the gold); `id`, `kind` and `difficulty`
            where there are. Rows are asked in the order of TRL's own sampler.
        bank: right and wrong CoTs (`Bank`, its folder, or a dataset for `Bank.from_dataset`), found by a question's
            `id` or else its text; None: no routes are ever shown.
        eval_dataset: as `train_dataset`; asked without routes.
        verifier, choices: what judges an answer, see docs/reference/verifiers.md.
        routes, fade, reward, prompt: keys of these sections, e.g. `fade={"schedule": "linear"}`; or an
            object of `realm.Selection`, `Schedule` or `Weights`.
        wording: of the prompt instead of the usual one.
        context: tokens that prompt and completion may have together; None: all that the model allows.
        reward_funcs: further rewards of TRL, added to ReaLM's, which comes first (`args.reward_weights` weighs them).
            Besides the columns of the dataset they get `question_id`, `routes` (those in the prompt), `p`, `tau`.
        shapes, companions: what shapes rewards and advantages, and terms of the loss beside GRPO's, named as in
            `training.rl`, e.g. `shapes=[{"mgpo": {"strength": 2}}]`.
        processing_class: the tokenizer; None: the one beside the model.
        share: whether prompts are forwarded once a group, where that is found to change nothing.
        callbacks, more: handed on, as is whatever else GRPOTrainer takes (`peft_config`, …).

    Raises:
        ConfigError: a setting is unknown or out of range.
        DataError: a column is missing, a gold cannot be verified, or the bank has no CoT for any question.
        ModelError: the model is no student, or a question does not fit its context.
    """

    def __init__(
        self,
        model: str | Path | PreTrainedModel,
        args: GRPOConfig | None = None,
        train_dataset: Dataset | None = None,
        bank: Bank | Dataset | str | Path | None = None,
        *,
        eval_dataset: Dataset | dict[str, Dataset] | None = None,
        verifier: str = "exact",
        choices: Sequence[str] = (),
        routes: Section | None = None,
        fade: Section | None = None,
        reward: Section | None = None,
        prompt: Section | None = None,
        wording: Wording | None = None,
        context: int | None = None,
        reward_funcs: Callable[..., Any] | Sequence[Any] | None = None,
        shapes: Sequence[Any] = (),
        companions: Sequence[Any] = (),
        processing_class: PreTrainedTokenizerBase | None = None,
        callbacks: Sequence[TrainerCallback] | None = None,
        share: bool = True,
        **more: Any,
    ) -> None:
        if train_dataset is None:
            raise ConfigError("train_dataset: expected a dataset with the columns question and answer, found None.")
        check_model(model)
        path = model.config._name_or_path if isinstance(model, PreTrainedModel) else str(model)
        if not path and processing_class is None:
            raise ConfigError("processing_class: give the tokenizer; the model does not say where its own is.")
        # TRL's own default is bfloat16, which transformers refuses without an accelerator.
        args = copy(args) or GRPOConfig(f"{Path(path).name or 'student'}-realm", bf16=torch.cuda.is_available())
        trust(verifier)
        held = Bank.from_dataset(bank, verifier, choices) if isinstance(bank, Dataset) else bank
        held = held if isinstance(held, Bank) or held is None else Bank.open(held)
        config = configuration(
            {"routes": routes, "fade": fade, "reward": reward, "prompt": prompt},
            args,
            path,
            context,
            {"shapes": [*shapes], "companions": [*companions]},
        )
        student = model if isinstance(model, PreTrainedModel) else load_model(path, dtype_of(args))
        args.model_init_kwargs = None  # TRL would say that it ignores them
        tokenizer = processing_class or load_tokenizer(path, config.model)
        if processing_class is not None:
            present(tokenizer, config.model)
        end_turns(student, tokenizer)
        self._pool = VerifierPool(verifier, list(choices), config.task.verifier_timeout)
        atexit.register(self._pool.close)
        questions = read_questions("train_dataset", train_dataset, held, self._pool)
        task = JsonlTask(
            name="dataset",
            wording=wording or wording_of(verifier, verifier, choices),
            verifier=self._pool.verifier,
            labels=tuple(choices),
            questions={"train": list({question.id: question for question in questions}.values())},
        )
        k = None if held is not None else 0
        renderer = Renderer(config, task, held, tokenizer, context_length(student, config), k=k)
        try:
            renderer.check()
        except ModelError as error:
            raise ModelError(f"{error} The completion's length is args.max_completion_length here.") from error
        if held is not None and renderer.selection.k:
            _tell_of_routes(renderer, task.rows("train"))
        self._asked: dict[str, Question] = dict(renderer.questions)
        renderer.questions = self._asked
        paid = RouteReward(config, self._asked, self._pool)
        paid.read = partial(completion_text, tokenizer, ends=end_tokens(student, tokenizer))
        feedback = make_feedback(config, dict(self._asked), args.seed, k=renderer.selection.k)
        further = [reward_funcs] if callable(reward_funcs) else list(reward_funcs or ())
        super().__init__(
            renderer=renderer,
            feedback=feedback,
            share=share,
            **extras(config, args),
            model=student,
            processing_class=tokenizer,
            reward_funcs=[paid, *further],
            args=args,
            train_dataset=with_ids(train_dataset, [one.id for one in questions]),
            eval_dataset=self._held_out(eval_dataset),
            callbacks=[*(callbacks or ()), *([] if feedback is None else [feedback])],
            **more,
        )

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As of any trainer.

        Raises:
            TrainingError: a loss, a gradient or a probability is no finite number; the update was not made.
        """
        try:
            return super().train(*args, **kwargs)
        except NotFiniteError as error:
            raise TrainingError(
                f"RL step {self.state.global_step + 1}: {error} is not a finite number. The update was not made; the "
                f"checkpoints below {self.args.output_dir} are good.\nThe same settings would come here again: lower "
                f"args.learning_rate ({self.args.learning_rate:g}) or args.max_grad_norm "
                f"({self.args.max_grad_norm:g}), or train a model of float32 with bf16=False and fp16=False."
            ) from error

    def evaluate(self, eval_dataset: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As of any trainer; another dataset than the constructor's has the same columns."""
        return super().evaluate(self._held_out(eval_dataset), *args, **kwargs)

    def _held_out(self, given: Any) -> Any:
        """A dataset (or several by name) whose questions are asked without routes, under ids that none else has."""
        if isinstance(given, dict):
            return {name: self._held_out(rows) for name, rows in given.items()}
        if given is None or isinstance(given, str) or "question_id" in (getattr(given, "column_names", None) or ()):
            return given
        questions = read_questions("eval_dataset", given, None, self._pool)
        ids = [f"held out {digest([one.question, one.answer])}" for one in questions]
        self._asked |= {name: replace(one, id=name) for name, one in zip(ids, questions, strict=True)}
        return with_ids(given, ids)


def _tell_of_routes(renderer: Renderer, questions: Sequence[Question]) -> None:
    """Warn of questions without a route, and where the context holds less than half of them, on a few questions.

    Raises:
        DataError: no question has any.
    """
    without = [one.id for one in questions if not renderer.routes(one.id)]
    if len(without) == len(questions):
        raise DataError(
            "bank: it holds no labelled CoT for any question of train_dataset; they are found by the column id, or by "
            "the text of a question."
        )
    if without:
        _LOG.warning(
            "%d of %d questions have no CoT in the bank, e.g. %s; they are asked alone.",
            len(without),
            len(questions),
            without[0],
        )
    shown = [renderer.render(one.id, 0, 0.0) for one in questions[:_LOOKED_AT]]
    dropped, kept = sum(one.dropped for one in shown), sum(len(one.routes) for one in shown)
    if dropped > kept:
        _LOG.warning(
            "Of %d routes of the first prompts %d are dropped: the context of %d tokens leaves %d to a prompt. Lower "
            "args.max_completion_length or routes={'k': …}, shorten the wording, or take a model of a longer context.",
            dropped + kept,
            dropped,
            renderer.context,
            renderer.limit,
        )
