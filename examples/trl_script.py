"""A GRPO script as TRL's users write it; the lines marked `realm` make ReaLM of it.

    python examples/trl_script.py MODEL questions.jsonl --bank BANK --output OUT [--steps 200]

MODEL is a directory (or Hub name), questions.jsonl has the keys question and answer, and BANK is what
`realm collect` or `realm bank import` filled. Without --bank the script is plain GRPO.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig

import realm  # realm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("questions")
    parser.add_argument("--bank")  # realm
    parser.add_argument("--verifier", default="exact")  # realm
    parser.add_argument("--output", default="out")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--length", type=int, default=64, help="tokens of a completion")
    options = parser.parse_args()
    dataset: Any = Dataset.from_json(options.questions)
    args = GRPOConfig(
        output_dir=options.output,
        max_steps=options.steps,
        per_device_train_batch_size=16,
        num_generations=8,
        max_completion_length=options.length,
        learning_rate=1e-5,
        temperature=1.0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        bf16=torch.cuda.is_available(),
    )
    # GRPOTrainer(model=options.model, args=args, train_dataset=dataset, reward_funcs=is_right)
    trainer = realm.ReaLMTrainer(  # realm
        model=options.model,
        args=args,
        train_dataset=dataset,
        bank=options.bank,  # realm
        verifier=options.verifier,  # realm
    )
    trainer.train()
    trainer.save_model(f"{options.output}/model")


if __name__ == "__main__":
    main()
