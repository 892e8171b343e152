"""Learning from pairs of CoTs, on TRL's DPOTrainer, KTOTrainer and ORPOTrainer: the stages of the kind `pairs`.

    dpo    the preferred CoT more likely than the rejected one, both against the student before the stage (2305.18290)
    kto    right CoTs more, wrong ones less likely than they were, each for itself: TRL's `apo_zero_unpaired`, which
           needs no estimate of the KL (KTO is 2402.01306, APO 2408.06266)
    orpo   the preferred CoT is taught, and its odds raised above the rejected one's, with no reference (2403.07691)

A prompt is the one that RL and SFT read without routes, a completion what SFT teaches of a CoT and the token that ends
it. TRL would tokenise both itself, by a chat template that may rewrite the thinking.

What the student before the stage thinks of each CoT is read before the first step (TRL's `precompute_ref_log_probs`),
so that no second model is kept, and a resumed stage has the same reference: it begins with the same student.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast

import datasets
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference, KTOTrainer

from realm.bank.cot import CoT
from realm.config import Config
from realm.errors import ConfigError, DataError
from realm.method.seeds import derive, question_order, rng
from realm.recipes.stage import Stage
from realm.traces.base import Given, LaterError, Pair, Trace
from realm.traces.examples import completion, fitting, token_ids
from realm.traces.pairs import common
from realm.traces.pipeline import mined, run_miner
from realm.training.adapters import lora_config
from realm.training.experts import Kept
from realm.training.failures import Finite
from realm.training.group import sharded
from realm.training.settings import Quiet, accumulation, common_arguments
from realm.training.stages import Job

with warnings.catch_warnings():  # that trl.experimental is experimental; the seams have tests
    warnings.simplefilter("ignore")
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer


class PairsTrainer(Quiet, Finite, Kept):
    """What the three have in common: rows come with their token ids, which no trainer makes again.

    Overrides the private `_prepare_dataset` of DPOTrainer and KTOTrainer, and the public `tokenize_row` of ORPOTrainer.
    """

    def _prepare_dataset(self, dataset: Dataset, *args: Any) -> Dataset:
        return dataset

    def tokenize_row(self, feature: dict[str, Any], model: Any = None) -> dict[str, Any]:
        return {}


class OwnDPOTrainer(PairsTrainer, DPOTrainer):
    """DPOTrainer on rows of token ids."""


class OwnKTOTrainer(PairsTrainer, KTOTrainer):
    """KTOTrainer on rows of token ids."""


class OwnORPOTrainer(PairsTrainer, ORPOTrainer):
    """ORPOTrainer on rows of token ids."""


def _masked(batch: dict[str, Any], rows: Sequence[tuple[list[int], list[int]]]) -> dict[str, Any]:
    """The batch, where of each row's completion those tokens count that the mask beside its prompt has at 1."""
    for kept, (prompt, mask) in zip(batch["completion_mask"], rows, strict=True):
        kept[len(prompt) : len(prompt) + len(mask)] = kept.new_tensor(mask)
    return batch


@dataclass
class MaskedPairs(DataCollatorForPreference):
    """TRL's collator of pairs, with the masks `chosen_mask` and `rejected_mask` of the rows."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        sides = [(row["prompt_ids"], row[f"{side}_mask"]) for side in ("chosen", "rejected") for row in examples]
        return _masked(super().torch_call(examples), sides)


@dataclass
class SplitPairs(MaskedPairs):
    """The same as ORPOTrainer takes it: each side for itself, with labels."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().torch_call(examples)
        batch["labels"] = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, -100)
        sides = {name: zip(("chosen", "rejected"), both.chunk(2), strict=True) for name, both in batch.items()}
        return {f"{side}_{name}": part for name, parts in sides.items() for side, part in parts}


@dataclass
class MaskedOnes(DataCollatorForUnpairedPreference):
    """TRL's collator of single completions, with their `mask`."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        return _masked(super().torch_call(examples), [(row["prompt_ids"], row["mask"]) for row in examples])


#: TRL's settings, the trainer and the collator by the loss that a configuration names.
_LOSSES: dict[str, tuple[Any, Any, Any]] = {
    "dpo": (DPOConfig, OwnDPOTrainer, MaskedPairs),
    "kto": (KTOConfig, OwnKTOTrainer, MaskedOnes),
    "orpo": (ORPOConfig, OwnORPOTrainer, SplitPairs),
}


@dataclass(frozen=True)
class Side:
    """A CoT as it is learned: token ids, the one that ends it last, and how many of them are the thinking."""

    ids: list[int]
    thinking: int


@dataclass(frozen=True)
class Rows:
    """What a stage learns from: the different rows, and the number of the one that stands at each place of training.

    `tokens[n]`: through the model once the reference has read each row and n steps are done.
    """

    rows: list[dict[str, Any]]
    order: list[int]
    tokens: list[int]


def make_rows(pairs: Iterable[Pair], given: Given, steps: int) -> Rows:
    """The rows of a stage in the order of training: a function of the pairs, the renderer's seed and the round.

    Questions take turns, and each time one of the question's pairs is drawn by lot. KTO learns from CoTs by themselves:
    a preferred and a rejected one take turns, as many of each, whatever questions they are of.

    Raises:
        DataError: there is nothing that the student could learn from.
    """
    settings, seed = given.config.training.pairs, given.renderer.seed
    lanes = _lanes(pairs, given)
    if not all(lanes):
        raise DataError(
            f"training.pairs.miner: {settings.miner} found no pair of a preferred and a rejected CoT of at most "
            f"training.rl.max_completion_length = {given.room} tokens each. A question needs both, and what the "
            "student writes has to be of the asked form: collect or sample more CoTs (bank.samples, the miner's "
            "samples), teach the form first (training.sft.steps), or take another miner (docs/howto/what-is-taught.md)."
        )
    count = steps * settings.batch_size
    drawn = []
    for number, lane in enumerate(lanes):
        order = question_order(list(lane), count, derive(seed, "pairs", given.round, number))
        drawn.append([rng(seed, "pairs", given.round, number, n).choice(lane[key]) for n, key in enumerate(order)])
    places = [row for turn in zip(*drawn, strict=True) for row in turn]
    used = {id(row): row for row in places}
    numbers = {key: number for number, key in enumerate(used)}
    read = 0 if settings.loss == "orpo" else sum(map(_length, used.values()))
    width = settings.batch_size * len(lanes)
    lengths = [sum(map(_length, places[start : start + width])) for start in range(0, len(places), width)]
    return Rows(list(used.values()), [numbers[id(row)] for row in places], [*accumulate(lengths, initial=read)])


def _lanes(pairs: Iterable[Pair], given: Given) -> list[dict[str, list[dict[str, Any]]]]:
    """The rows by question id: of the pairs or, for KTO, those of the preferred CoTs and those of the rejected ones."""
    settings, pairs = given.config.training.pairs, list(pairs)
    sides = _sides(pairs, given)
    lanes: list[dict[str, list[dict[str, Any]]]] = [{}, {}] if settings.loss == "kto" else [{}]
    for pair in pairs:
        chosen, rejected = (sides.get(cot) if cot else None for cot in (pair.chosen, pair.rejected))
        if chosen and rejected and chosen.ids == rejected.ids:
            continue
        prompt = given.renderer.fit(pair.question).ids
        if settings.loss == "kto":
            for lane, side, other in ((0, chosen, rejected), (1, rejected, chosen)):
                if side:
                    row = {"prompt_ids": prompt, "completion_ids": side.ids, "label": side is chosen}
                    row["mask"] = _mask(side, other, settings.learned)
                    lanes[lane].setdefault(pair.question.id, []).append(row)
        elif chosen and rejected:
            row = {"prompt_ids": prompt, "chosen_ids": chosen.ids, "rejected_ids": rejected.ids}
            row["chosen_mask"] = _mask(chosen, rejected, settings.learned)
            row["rejected_mask"] = _mask(rejected, chosen, settings.learned)
            lanes[0].setdefault(pair.question.id, []).append(row)
    return lanes


def _sides(pairs: Sequence[Pair], given: Given) -> dict[CoT, Side]:
    """The CoTs that a completion may be long enough for."""
    renderer = given.renderer
    asked = {cot: pair.question for pair in pairs for cot in (pair.chosen, pair.rejected) if cot}
    cots = [trace.cot for trace in fitting([Trace(question, cot) for cot, question in asked.items()], given)]
    texts = [completion(renderer, cot) for cot in cots]
    close = f"</{renderer.tags.think}>"
    thoughts = [text.partition(close)[0] + close for text in texts]
    found = zip(cots, token_ids(renderer, texts), token_ids(renderer, thoughts), strict=True)
    end = renderer.tokenizer.eos_token_id
    return {cot: Side([*ids, end], common(ids, thinking)) for cot, ids, thinking in found}


def _mask(side: Side, other: Side | None, learned: str) -> list[int]:
    """For each token 1 where it counts, 0 where not; the one that ends the completion always does."""
    ids, start, stop = side.ids, 0, len(side.ids) - 1
    if learned == "answer":
        start = side.thinking
    elif learned == "difference" and other:
        start = min(common(ids, other.ids), stop)
        stop = max(stop - common(ids[-2::-1], other.ids[-2::-1]), start)
    return [int(start <= n < stop or n == len(ids) - 1) for n in range(len(ids))]


def _length(row: dict[str, Any]) -> int:
    """Tokens that the model reads of a row."""
    sides = [ids for name, ids in row.items() if name in ("chosen_ids", "rejected_ids", "completion_ids")]
    return sum(len(row["prompt_ids"]) + len(ids) for ids in sides)


def pairs_settings(config: Config, *, output: str, seed: int, steps: int) -> Any:
    """TRL's settings of the configured loss: one pass over the rows in their order, linear decay of the rate.

    Raises:
        ConfigError: the batch does not divide over the processes, or the reference cannot be read.
    """
    pairs, rl = config.training.pairs, config.training.rl
    if sharded() and pairs.loss != "orpo":
        raise ConfigError(
            f"training.pairs.loss: {pairs.loss} reads its reference before training begins, when weights are not "
            "spread yet (FSDP, ZeRO-3); take orpo, or DDP or ZeRO-2."
        )
    own: dict[str, dict[str, Any]] = {
        "dpo": {"precompute_ref_log_probs": True, "max_length": None},
        "kto": {"precompute_ref_log_probs": True, "max_length": None, "loss_type": "apo_zero_unpaired"},
        "orpo": {"max_length": 2**31},  # nothing is cut here; None would be 512
    }
    return _LOSSES[pairs.loss][0](
        **common_arguments(config, output=output, seed=seed, steps=steps),
        per_device_train_batch_size=pairs.micro_batch_size * (2 if pairs.loss == "kto" else 1),
        gradient_accumulation_steps=accumulation(pairs.batch_size, pairs.micro_batch_size, "training.pairs"),
        learning_rate=pairs.learning_rate,
        lr_scheduler_type="linear",
        max_grad_norm=rl.max_grad_norm,
        weight_decay=rl.weight_decay,
        gradient_checkpointing=rl.gradient_checkpointing,
        bf16=rl.bf16,
        beta=pairs.beta,
        remove_unused_columns=False,
        train_sampling_strategy="sequential",
        **own[pairs.loss],
    )


def check_pairs(given: Given, stage: Stage) -> None:
    """Find out while a run is prepared whether a stage can begin.

    Raises: as `pairs_settings`; and as `make_rows`, where pairs are a function of the bank.
    """
    pairs_settings(given.config, output=os.devnull, seed=0, steps=stage.steps)
    with suppress(LaterError):  # what the student writes is known when the stage begins
        make_rows(run_miner(given.config.training.pairs.miner, given), given, stage.steps)


def make_pairs(job: Job) -> PairsTrainer:
    """The trainer of a stage of pairs."""
    pairs = mined(job.config.training.pairs.miner, job.given, job.kept)
    rows = make_rows(pairs, job.given, job.stage.steps)
    return make_pairs_trainer(
        job.config,
        model=job.model,
        tokenizer=job.tokenizer,
        rows=rows,
        output=job.output,
        seed=job.renderer.seed,
        callbacks=[job.record(tokens=lambda step: rows.tokens[step])],
    )


def make_pairs_trainer(
    config: Config,
    *,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Rows,
    output: str,
    seed: int,
    callbacks: list[TrainerCallback],
) -> PairsTrainer:
    """The trainer of one stage on its rows (see `make_rows`); checkpoints go below `output`.

    Raises:
        ConfigError: see `pairs_settings`.
    """
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    _, kind, collator = _LOSSES[config.training.pairs.loss]
    with _no_bars():
        trainer: PairsTrainer = kind(
            model=model,
            args=pairs_settings(config, output=output, seed=seed, steps=len(rows.tokens) - 1),
            data_collator=collator(pad_token_id=pad),
            train_dataset=Dataset.from_list(rows.rows),
            processing_class=tokenizer,
            callbacks=callbacks,
            peft_config=lora_config(config),
        )
    # The reference has read each row once; now they stand in the order of training.
    trainer.train_dataset = cast(Dataset, trainer.train_dataset).select(rows.order)
    trainer.be_quiet()
    return trainer


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep the bars of TRL's and datasets' passes over the rows off the terminal."""
    shown, before = not datasets.are_progress_bars_disabled(), os.environ.get("TQDM_DISABLE")
    datasets.disable_progress_bars()
    os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
        os.environ.pop("TQDM_DISABLE")
        if before is not None:
            os.environ["TQDM_DISABLE"] = before
