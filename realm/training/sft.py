"""Supervised fine-tuning, on TRL's SFTTrainer: the cold start of realm-r1, and all of the baselines that need no RL.

What is taught is made by the steps of `training.sft.traces` (`realm.traces`); the surface is that of MRPV.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl.trainer.sft_config import SFTConfig

from realm.config import Config
from realm.traces.base import Target
from realm.traces.examples import examples, tokenize
from realm.traces.pipeline import made
from realm.traces.weights import find_weigh, weigh
from realm.training.adapters import lora_config
from realm.training.experts import Kept
from realm.training.failures import Finite
from realm.training.settings import Quiet, common_arguments, one_pass
from realm.training.stages import Job
from realm.training.weighted import Weighted, training_rows


class ColdStartTrainer(Quiet, Finite, Kept, Weighted):
    """SFTTrainer without telemetry, model cards and printing, that stops before an update by what is no number."""


def sft_settings(config: Config, *, output: str, seed: int, steps: int) -> SFTConfig:
    """TRL's settings for one cold start: one pass over the examples in their order, linear decay of the rate.

    Raises:
        ConfigError: the batch does not divide over the processes.
    """
    return SFTConfig(
        **common_arguments(config, output=output, seed=seed, steps=steps),
        **one_pass(config, "sft"),
        per_device_train_batch_size=config.training.sft.micro_batch_size,
        max_length=None,
        packing=False,
        shuffle_dataset=False,
    )


def make_sft(job: Job) -> ColdStartTrainer:
    """The trainer of one stage of SFT; its checkpoints go below `job.output`."""
    config, sft = job.config, job.config.training.sft
    found = job.examples.take()
    if found is None:
        traces = made(job.stage.traces or sft.traces, job.given, job.kept)
        found = examples(traces, job.given, job.stage.steps * sft.batch_size)
    tokenized = tokenize(job.renderer, found)
    kept = job.kept.with_name(f"{job.kept.stem}-weights.json")
    rows, targets = training_rows(tokenized, weigh(tokenized, job.given, find_weigh(config), kept))
    # tokens[n]: tokens of the first n examples
    tokens = [0, *accumulate(len(row["input_ids"]) for row in rows)]
    return make_sft_trainer(
        config,
        model=job.model,
        tokenizer=job.tokenizer,
        rows=rows,
        targets=targets,
        output=job.output,
        seed=job.renderer.seed,
        callbacks=[job.record(tokens=lambda step: tokens[step * sft.batch_size])],
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
    """The trainer of one cold start on rows (see `training_rows`, as of `targets`), in their order.

    Checkpoints go below `output`.
    """
    steps = len(rows) // config.training.sft.batch_size
    arguments: dict[str, Any] = {"processing_class": tokenizer, "callbacks": callbacks, "targets": targets}
    arguments["by_length"] = config.training.sft.padding == "length"
    trainer = ColdStartTrainer(
        model=model,
        args=sft_settings(config, output=output, seed=seed, steps=steps),
        train_dataset=Dataset.from_list(list(rows)),
        peft_config=lora_config(config),
        **arguments,
    )
    trainer.be_quiet()
    return trainer
