"""ReaLM as a trainer of TRL: constructed from a model, a dataset and a bank in memory, without a run folder."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig

from realm.bank.store import Bank
from realm.config import Config, make_config
from realm.errors import ConfigError, DataError
from realm.method.prompt import Wording
from realm.student.generate import completion_text, end_tokens
from realm.student.load import context_length, load_model, load_tokenizer
from realm.student.prompts import present
from realm.tasks.base import Question, normal, text_id
from realm.tasks.hints import hinted_wording
from realm.tasks.jsonl import JsonlTask, answer_text
from realm.tasks.workers import VerifierPool
from realm.training.feedback import make_feedback
from realm.training.grpo import RouteTrainer
from realm.training.renderer import Renderer
from realm.training.rewards import RouteReward

Section = Mapping[str, Any]
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
        bank: right and wrong CoTs, found by a question's `id` or else its text; None: no routes are ever shown.
        eval_dataset: as `train_dataset`; asked without routes.
        verifier, choices: what judges an answer, see docs/reference/verifiers.md.
        routes, fade, reward, prompt: keys of these sections, e.g. `fade={"schedule": "linear"}`.
        wording: of the prompt instead of the usual one.
        context: tokens that prompt and completion may have together; None: all that the model allows.
        reward_funcs: further rewards of TRL, added to ReaLM's, which comes first (`args.reward_weights` weighs them).
        processing_class: the tokenizer; None: the one beside the model.
        share: whether prompts are forwarded once a group, where that is found to change nothing.
        callbacks, peft_config, and what else GRPOTrainer takes: handed on.

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
        bank: Bank | str | Path | None = None,
        *,
        eval_dataset: Dataset | None = None,
        verifier: str = "exact",
        choices: Sequence[str] = (),
        routes: Section | None = None,
        fade: Section | None = None,
        reward: Section | None = None,
        prompt: Section | None = None,
        wording: Wording | None = None,
        context: int | None = None,
        reward_funcs: Sequence[Any] = (),
        processing_class: PreTrainedTokenizerBase | None = None,
        callbacks: Sequence[TrainerCallback] = (),
        share: bool = True,
        **more: Any,
    ) -> None:
        if train_dataset is None:
            raise ConfigError("train_dataset: expected a dataset with the columns question and answer, found None.")
        path = model.config._name_or_path if isinstance(model, PreTrainedModel) else str(model)
        # TRL's own default is bfloat16, which transformers refuses without an accelerator.
        args = args or GRPOConfig(f"{Path(path).name or 'student'}-realm", bf16=torch.cuda.is_available())
        held = bank if isinstance(bank, Bank) or bank is None else Bank.open(bank)
        sections = {"routes": routes, "fade": fade, "reward": reward, "prompt": prompt}
        config = _configuration({k: dict(v) for k, v in sections.items() if v is not None}, args, path, context)
        student = model if isinstance(model, PreTrainedModel) else load_model(path, _dtype(args))
        tokenizer = processing_class or load_tokenizer(path, config.model)
        if processing_class is not None:
            present(tokenizer, config.model)
        pool = VerifierPool(verifier, list(choices), config.task.verifier_timeout)
        atexit.register(pool.close)
        asked = {
            name: _questions(name, rows, held, pool)
            for name, rows in (("train_dataset", train_dataset), ("eval_dataset", eval_dataset))
            if rows is not None
        }
        task = JsonlTask(
            name="dataset",
            wording=wording or hinted_wording(verifier, choices),
            verifier=pool.verifier,
            labels=tuple(choices),
            questions={"train": list({question.id: question for rows in asked.values() for question in rows}.values())},
        )
        renderer = Renderer(
            config, task, held, tokenizer, context_length(student, config), k=None if held is not None else 0
        )
        renderer.check()
        if held is not None and renderer.selection.k and not any(held.routes(one.id) for one in asked["train_dataset"]):
            raise DataError(
                "bank: it holds no labelled CoT for any question of train_dataset; they are found by the column id, or "
                "by the text of a question."
            )
        _tell_of_dropped(renderer, asked["train_dataset"])
        paid = RouteReward(config, renderer.questions, pool)
        paid.read = partial(completion_text, tokenizer, ends=end_tokens(student, tokenizer))
        feedback = make_feedback(config, renderer.questions, args.seed, k=renderer.selection.k)
        super().__init__(
            renderer=renderer,
            feedback=feedback,
            share=share,
            internalize=config.training.rl.internalize,
            model=student,
            processing_class=tokenizer,
            reward_funcs=[paid, *reward_funcs],
            args=args,
            train_dataset=_rows(train_dataset, asked["train_dataset"]),
            eval_dataset=None if eval_dataset is None else _rows(eval_dataset, asked["eval_dataset"]),
            callbacks=[*callbacks, *([] if feedback is None else [feedback])],
            **more,
        )


def _configuration(sections: dict[str, Any], args: GRPOConfig, path: str, context: int | None) -> Config:
    """The configuration of a run with these sections, as far as the trainer's parts read one."""
    size = args.num_generations
    rl = {
        "num_generations": size,
        "max_completion_length": args.max_completion_length,
        "batch_size": args.generation_batch_size or size,
        "micro_batch_size": size,
        "num_iterations": args.num_iterations,
    }
    k = sections.get("routes", {}).get("k")
    return make_config(
        {
            **sections,
            "run": {"seed": args.seed},
            "model": {"path": path or "student", "context": context},
            "bank": {"samples": max(8, k if isinstance(k, int) else 0)},  # how many there are is the bank's own matter
            "training": {"recipe": "realm-zero", "rl": rl},
        },
        "ReaLMTrainer",
    )


def _dtype(args: GRPOConfig) -> str:
    given: Any = args.model_init_kwargs or {}
    return str(given.get("dtype", "float32")).removeprefix("torch.")


def _questions(name: str, rows: Dataset, bank: Bank | None, pool: VerifierPool) -> list[Question]:
    """The rows as questions, in order; those of one text share an id."""
    text = next((column for column in ("question", "prompt") if column in rows.column_names), None)
    if text is None or "answer" not in rows.column_names:
        raise DataError(
            f"{name}: expected the columns question and answer, found {', '.join(rows.column_names) or 'none'}; rename "
            "those that hold them (Dataset.rename_column)."
        )
    known: dict[str, str] = {normal(one.question): one.id for one in bank.questions.values()} if bank else {}
    found = []
    for number, row in enumerate(rows):
        if not isinstance(row[text], str) or not row[text].strip():
            raise DataError(f"{name}: row {number}: expected a text under {text}, found {row[text]!r:.80}.")
        try:
            gold = answer_text(row)
        except ValueError as error:
            raise DataError(f"{name}: row {number}: {error}.") from error
        own = row.get("id")
        question_id = str(own) if own not in (None, "") else known.get(normal(row[text]), text_id(row[text]))
        if bank is not None and not bank.cots(question_id):
            question_id = known.get(normal(row[text]), question_id)
        found.append(
            Question(
                question_id,
                row[text],
                gold,
                kind=str(row.get("kind") or ""),
                difficulty=int(row.get("difficulty") or 0),
            )
        )
    verdicts = pool.verify([(one.answer, one.answer, one.question) for one in found])
    for number, (one, verdict) in enumerate(zip(found, verdicts, strict=True)):
        if not verdict.correct:
            raise DataError(
                f"{name}: row {number}: the gold {one.answer!r:.60} does not verify "
                f"({verdict.reason or 'not equal to itself'}) by the verifier {pool.verifier.name}."
            )
    return found


def _tell_of_dropped(renderer: Renderer, questions: Sequence[Question]) -> None:
    """Warn where the context holds less than half of the routes, looked at on a few questions."""
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


def _rows(rows: Dataset, questions: Sequence[Question]) -> Dataset:
    """What TRL is given: the dataset, with the id of each question, and a prompt that is rendered when it is due."""
    kept = rows.remove_columns([name for name in ("prompt", "question_id") if name in rows.column_names])
    named: Callable[[str, list[str]], Dataset] = kept.add_column  # its signature asks for an argument with a default
    return named("question_id", [one.id for one in questions]).add_column("prompt", [""] * len(questions))
