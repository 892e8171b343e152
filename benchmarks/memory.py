"""Peak memory of one update of a small real model's shape: TRL's path, ours, and what the estimate says of ours.

    OMP_NUM_THREADS=1 python benchmarks/memory.py [--model DIR] [--dtype bfloat16] [--lora 16] [--prompt 600]

The model is that of a directory, or random weights of the shape of SmolLM2-135M (49 152 tokens, a tied head), on the
CPU; every completion has C tokens and an advantage. Each path has a process of its own, whose peak is
taken above what it had before the model: weights, the states of AdamW, gradients, activations, and the head with TRL's
tiles or ours.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from typing import Any

import psutil
import torch
from common import add_student, arguments, make_trainer, points, save, table, take
from transformers import LlamaConfig, LlamaForCausalLM
from update import batch

from realm.config import Config
from realm.student.load import load_model, load_outline
from realm.training.adapters import with_adapters
from realm.training.estimate import Lengths, estimate, sizes

SHAPE: dict[str, Any] = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192, "tie_word_embeddings": True,
}  # fmt: skip
COLUMNS = {
    "weights": "s",
    "trained": "s",
    "P": "d",
    "C": "d",
    "G": "d",
    "trl GB": ".2f",
    "ours GB": ".2f",
    "memory": ".0%",
    "told GB": ".2f",
}


def measure(options: argparse.Namespace, prompt: int, completion: int, group: int) -> dict[str, float]:
    """GB of one update in this process above what it had before the model."""
    make_trainer("cpu", completion, group, lora=options.lora)  # what the first one imports
    before = psutil.Process().memory_info().rss
    if options.model:
        made = load_model(options.model, options.dtype)
    else:
        made = LlamaForCausalLM(LlamaConfig(**SHAPE)).to(getattr(torch, options.dtype))
    trainer = make_trainer("cpu", completion, group, made, options.lora)
    take(trainer, options.side == "ours")
    model: Any = trainer.model
    optimizer: Any = trainer.optimizer
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    optimizer.step()  # its states are there at every step but the first
    optimizer.zero_grad()
    inputs = batch(prompt, completion, group, model.config.vocab_size, torch.device("cpu"))
    trainer._compute_loss(model, inputs).backward()
    optimizer.step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"GB": (peak - before) / 1e9}


def told(options: argparse.Namespace, prompt: int, completion: int, group: int) -> float:
    """GB of such a step with shared prompts, as `realm train --estimate` has them."""
    rl = {"micro_batch_size": group, "batch_size": group, "num_generations": group}
    training = {"recipe": "grpo", "rl": rl, "lora": {"r": options.lora}}
    config = Config.model_validate({"model": {"dtype": options.dtype}, "training": training})
    with torch.device("meta"):
        made: Any = load_outline(options.model, options.dtype) if options.model else None
        model = with_adapters(made or LlamaForCausalLM(LlamaConfig(**SHAPE)), config)
    return estimate(config, sizes(model), Lengths(prompt, prompt, completion)).peak / 1e9


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--side", choices=["trl", "ours"], help="measure this one here, and print it")
    add_student(parser)
    parser.set_defaults(prompt=[600], completion=[256], group=[8])
    options = parser.parse_args()
    rows = []
    for prompt, completion, group in points(options):
        if options.side:
            print(json.dumps(measure(options, prompt, completion, group)))
            continue
        found = {}
        for side in ("trl", "ours"):
            command = [sys.executable, __file__, "--side", side, "--prompt", str(prompt)]
            command += ["--completion", str(completion), "--group", str(group)]
            command += ["--dtype", options.dtype, "--lora", str(options.lora)]
            command += ["--model", options.model] if options.model else []
            made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found[f"{side} GB"] = json.loads(made.splitlines()[-1])["GB"]
        share = found["ours GB"] / found["trl GB"]
        kind = {"weights": options.dtype, "trained": f"LoRA {options.lora}" if options.lora else "all"}
        row = {**kind, "P": prompt, "C": completion, "G": group, **found, "memory": share}
        rows.append({**row, "told GB": told(options, prompt, completion, group)})
        save(options.out or "memory_cpu", rows)
    if rows:
        table(f"peak of one update of {options.model or 'the shape of SmolLM2-135M'}", rows, COLUMNS)


if __name__ == "__main__":
    main()
