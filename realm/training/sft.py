"""Supervised fine-tuning, on TRL's SFTTrainer: the cold start of realm-r1, and all of the baselines that need no RL.

An example has the surface of MRPV: a question with 0 … k routes -> a CoT as the thinking, its answer, the routes'
labels as scores. Which CoTs are taught is `training.sft.taught`, right ones unless a recipe says otherwise. The CoT
that is taught is never itself among the routes shown: the student would learn to copy instead of to reason.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl.trainer.sft_config import SFTConfig

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.config import Config
from realm.errors import DataError
from realm.method.prompt import Message, PromptTooLongError, target
from realm.method.routes import Draw, Route, select
from realm.method.seeds import derive, question_order, rng
from realm.student.prompts import fit_prompt, judged
from realm.student.renderer import Renderer
from realm.tasks.base import Question
from realm.traces.base import Target
from realm.training.adapters import lora_config
from realm.training.experts import Kept
from realm.training.failures import Finite
from realm.training.settings import Quiet, accumulation, common_arguments
from realm.training.weighted import Weighted


class ColdStartTrainer(Quiet, Finite, Kept, Weighted):
    """SFTTrainer without telemetry, model cards and printing, that stops before an update by what is no number."""


@dataclass(frozen=True)
class Example:
    """One SFT example before its completion is tokenised; `prompt`: token ids of the messages."""

    question_id: str
    messages: list[Message]
    prompt: list[int]
    routes: tuple[Route, ...]
    taught: CoT
    completion: str


def taught_cots(config: Config, renderer: Renderer, bank: Bank) -> dict[str, list[CoT]]:
    """The CoTs that SFT may teach, by question id; questions without any are left out.

    Only those that a completion may be long enough for: what is taught must be within reach of a completion in RL.

    Raises:
        DataError: there is none.
    """
    sft = config.training.sft
    room = config.training.rl.max_completion_length
    longest = [1.0] * config.routes.k  # the most scores that can follow
    taught: dict[str, list[CoT]] = {}
    for question_id in renderer.questions:
        # As for routes, a CoT that is cut, empty, refused or unjudged is none, whatever the recipe.
        usable = [cot for cot in bank.cots(question_id) if cot.usable]
        wanted = [cot for cot in usable if cot.label == 1 or sft.taught == "all"]
        lengths = _completion_lengths(renderer, wanted, longest)
        fitting = [cot for cot, length in zip(wanted, lengths, strict=True) if length <= room]
        if sft.taught == "distinct":
            fitting = list({cot.text: cot for cot in reversed(fitting)}.values())
        guided = [cot for cot in fitting if cot.guided]
        if fitting:
            taught[question_id] = guided if guided and sft.guided_first and sft.taught == "positive" else fitting
    if not taught:
        raise DataError(
            f"SFT has nothing to teach: the bank holds no {'' if sft.taught == 'all' else 'right '}CoT of at most "
            f"training.rl.max_completion_length = {room} tokens for any training question; "
            "raise that length, set training.sft.steps to 0, or collect other CoTs."
        )
    return taught


def examples(config: Config, renderer: Renderer, bank: Bank, round_: int) -> list[Example]:
    """Every example of one stage of SFT in the order of training: a function of the renderer's seed and the round.

    Questions take turns; of the distinct right CoTs every one takes its turn, so that a question with many of them is
    taught more often, as in RFT.

    Raises:
        DataError: the bank has nothing to teach.
    """
    sft = config.training.sft
    taught = taught_cots(config, renderer, bank)
    if sft.taught == "distinct":
        taught = {cot.id: [cot] for cots in taught.values() for cot in cots}
    count = sft.steps * sft.batch_size
    order = question_order(list(taught), count, derive(renderer.seed, "sft", round_))
    return [
        _example(config, renderer, taught[key], rng(renderer.seed, "sft", round_, number))
        for number, key in enumerate(order)
    ]


def _example(config: Config, renderer: Renderer, taught: Sequence[CoT], source: random.Random) -> Example:
    cot = source.choice(taught)
    question_id = cot.question_id
    shown: list[Route] = []
    if renderer.selection.k and source.random() >= config.training.sft.empty_share:
        # Leaving out every route with the same text too would leave mostly wrong ones where a teacher's right CoTs read
        # alike, and teach that routes are wrong.
        others = [route for route in renderer.routes(question_id) if route.id != cot.id]
        # A synthesizer reads k routes at inference too; elsewhere routes fade, so that any number may come.
        k = source.randint(1, renderer.selection.k) if config.prompt.judge else renderer.selection.k
        shown = select(others, replace(renderer.selection, k=k), source)
    prompt = renderer.fit(question_id, Draw(tuple(shown), 1.0))
    completion = _completion(renderer, cot, [float(route.label) for route in judged(config, prompt.routes)])
    return Example(question_id, prompt.messages, prompt.ids, prompt.routes, cot, completion)


def without_routes(renderer: Renderer, question: Question, cot: CoT) -> Example | None:
    """The example that teaches a CoT of a question, not necessarily one of the task's, with no route in the prompt.

    None where the prompt does not fit the context, or the completion would be longer than one may be in RL.
    """
    try:
        messages, _, _, ids = fit_prompt(
            renderer.tokenizer, question, (), renderer.wording, renderer.tags, renderer.limit
        )
    except PromptTooLongError:
        return None
    if _completion_lengths(renderer, [cot], ())[0] > renderer.context - renderer.limit:
        return None
    return Example(question.id, messages, ids, (), cot, _completion(renderer, cot, ()))


def _completion_lengths(renderer: Renderer, cots: Sequence[CoT], scores: Sequence[float]) -> list[int]:
    """Tokens of what is taught of each CoT, the one that ends it included."""
    completions = [_completion(renderer, cot, scores) for cot in cots]
    return [len(ids) + 1 for ids in _ids(renderer.tokenizer, completions)]


def _completion(renderer: Renderer, cot: CoT, scores: Sequence[float]) -> str:
    """What is taught of a CoT; a special token that its text spells out would teach the student to end there.

    Where the prompt has opened the thinking, the completion goes on from there.
    """
    harmless = renderer.harmless
    completion = target(harmless(cot.text), harmless(cot.answer), scores, renderer.tags)
    return completion.removeprefix(f"<{renderer.tags.think}>").lstrip() if renderer.opens_thinking else completion


def _ids(tokenizer: PreTrainedTokenizerBase, completions: list[str]) -> list[list[int]]:
    """Token ids of completions, still without the token that ends them."""
    found: list[list[int]] = tokenizer(completions, add_special_tokens=False)["input_ids"] if completions else []
    return found


def tokenize(tokenizer: PreTrainedTokenizerBase, found: Sequence[Example]) -> list[dict[str, list[int]]]:
    """`input_ids` and `labels` of examples: the prompt as RL reads it, then the completion, which alone is learned.

    Tokenised here rather than by SFTTrainer, which renders prompt and completion as one conversation: chat templates
    that rewrite the thinking of an assistant's turn would teach a surface that RL never sees. The token that ends the
    completion is the one that ends it in RL.
    """
    rows = []
    for example, ids in zip(found, _ids(tokenizer, [example.completion for example in found]), strict=True):
        completion = [*ids, tokenizer.eos_token_id]
        rows.append({"input_ids": example.prompt + completion, "labels": [-100] * len(example.prompt) + completion})
    return rows


def sft_settings(config: Config, *, output: str, seed: int) -> SFTConfig:
    """TRL's settings for one cold start: one pass over the examples in their order, linear decay of the rate.

    Raises:
        ConfigError: the batch does not divide over the processes.
    """
    sft, rl = config.training.sft, config.training.rl
    return SFTConfig(
        **common_arguments(config, output=output, seed=seed, steps=sft.steps),
        per_device_train_batch_size=sft.micro_batch_size,
        gradient_accumulation_steps=accumulation(sft.batch_size, sft.micro_batch_size, "training.sft"),
        learning_rate=sft.learning_rate,
        lr_scheduler_type="linear",
        max_grad_norm=rl.max_grad_norm,
        weight_decay=rl.weight_decay,
        gradient_checkpointing=rl.gradient_checkpointing,
        bf16=rl.bf16,
        max_length=None,
        packing=False,
        shuffle_dataset=False,
        train_sampling_strategy="sequential",
    )


def make_sft_trainer(
    config: Config,
    *,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[dict[str, Any]],
    output: str,
    seed: int,
    callbacks: list[TrainerCallback],
    targets: Sequence[Target] = (),
) -> ColdStartTrainer:
    """The trainer of one cold start on `rows` (see `training_rows`, as of `targets`); checkpoints go below `output`."""
    arguments: dict[str, Any] = {"processing_class": tokenizer, "callbacks": callbacks, "targets": targets}
    trainer = ColdStartTrainer(
        model=model,
        args=sft_settings(config, output=output, seed=seed),
        train_dataset=Dataset.from_list(list(rows)),
        peft_config=lora_config(config),
        **arguments,
    )
    trainer.be_quiet()
    return trainer
