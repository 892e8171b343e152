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

import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference, KTOTrainer
from trl.trainer.utils import add_fused_lm_head

from realm.config import Config
from realm.errors import ConfigError
from realm.recipes.stage import Stage
from realm.traces.base import Given, LaterError
from realm.traces.pairs import Rows, make_rows
from realm.traces.pipeline import mine, mined
from realm.training.adapters import below_adapters, lora_config
from realm.training.experts import Kept
from realm.training.failures import Finite
from realm.training.group import sharded
from realm.training.settings import Quiet, common_arguments, one_pass
from realm.training.stages import Job

with warnings.catch_warnings():  # that trl.experimental is experimental; the seams have tests
    warnings.simplefilter("ignore")
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer


class PairsTrainer(Quiet, Finite, Kept):
    """What the three have in common: rows come with their token ids, which no trainer makes again.

    Overrides the private `_prepare_dataset` and `_precompute_ref_logps` of DPOTrainer and KTOTrainer, and the public
    `tokenize_row` of ORPOTrainer.
    """

    #: Columns with what the reference thinks of a row, in the order in which `compute_ref_log_probs` gives it.
    _reference: tuple[str, ...] = ()

    def _prepare_dataset(self, dataset: Dataset, *args: Any) -> Dataset:
        return dataset

    def tokenize_row(self, feature: dict[str, Any], model: Any = None) -> dict[str, Any]:
        return {}

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        """As TRL reads them, which leaves them in a file that other processes do not find."""
        trainer: Any = self
        model = trainer.model.to(self.accelerator.device)  # under ZeRO-2 it is placed later
        self._put(model.config.get_text_config(), "output_router_logits", False)  # see `Kept`
        rows: Any = DataLoader(dataset, batch_size, collate_fn=self.data_collator)
        found = []
        for batch in self.accelerator.prepare(rows):
            read = trainer.compute_ref_log_probs(model, batch)[: len(self._reference)]
            found.append(self.accelerator.gather_for_metrics(read))
        for column, parts in zip(self._reference, zip(*found, strict=True), strict=True):
            dataset = dataset.add_column(column, torch.cat(parts).tolist())
        return dataset


class OwnDPOTrainer(PairsTrainer, DPOTrainer):
    """DPOTrainer on rows of token ids."""

    _reference = ("ref_chosen_logps", "ref_rejected_logps")


class OwnKTOTrainer(PairsTrainer, KTOTrainer):
    """KTOTrainer on rows of token ids."""

    _reference = ("ref_logps",)


class OwnORPOTrainer(PairsTrainer, ORPOTrainer):
    """ORPOTrainer on rows of token ids, with the head of the two others.

    Overrides the public `concatenated_forward`, which makes the logits of every place, and whose loss of what is taught
    is a mean over the tokens of a micro-batch: here over those of each row, as in the paper, so that how a batch is
    split does not matter.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        add_fused_lm_head(below_adapters(self.model), outputs=("log_probs", "mean_logits"))

    def concatenated_forward(self, model: Any, batch: dict[str, Any]) -> Any:
        both = self.concatenated_inputs(batch, padding_value=self.padding_value, device=self.accelerator.device)
        ids, mask = both["concatenated_input_ids"], both["concatenated_attention_mask"]
        options = {"output_router_logits": True} if self.aux_loss_enabled else {}
        labels = ids.masked_fill(mask == 0, -100)
        found = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True, **options)
        counted, chosen = both["concatenated_labels"][:, 1:] != -100, len(batch["chosen_labels"])
        means = (found.log_probs * counted).sum(1) / counted.sum(1)
        taught, learned = found.log_probs[:chosen], found.label_mask[:chosen]
        nll = -(taught.sum(1) / learned.sum(1)).mean()
        logits = found.mean_logits
        aux = (found.aux_loss,) if self.aux_loss_enabled else ()
        return means[:chosen], means[chosen:], logits[:chosen], logits[chosen:], nll, *aux


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


def pairs_settings(config: Config, *, output: str, seed: int, steps: int) -> Any:
    """TRL's settings of the configured loss: one pass over the rows in their order, linear decay of the rate.

    Raises:
        ConfigError: the batch does not divide over the processes, or the reference cannot be read.
    """
    pairs = config.training.pairs
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
        **one_pass(config, "pairs"),
        beta=pairs.beta,
        remove_unused_columns=False,
        **own[pairs.loss],
    )


def check_pairs(given: Given, stage: Stage) -> None:
    """Find out while a run is prepared whether a stage can begin.

    Raises: as `pairs_settings`; and as `make_rows`, where pairs are a function of the bank.
    """
    pairs_settings(given.config, output=os.devnull, seed=0, steps=stage.steps)
    with suppress(LaterError):  # what the student writes is known when the stage begins
        make_rows(mine(given.config.training.pairs.miner, given), given, stage.steps)


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
