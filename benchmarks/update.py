"""Forward and backward of one group: TRL's path against shared prompts.

    OMP_NUM_THREADS=1 python benchmarks/update.py [--quick] [--device cuda] [--prompt 800 1600] [--profile]

Every completion has C tokens and every row an advantage, so that nothing is saved but the prompts. TRL has its best
case here: without any padding it needs no attention mask. `bound` is G (P + C) / (P + G C), the ratio of the tokens
that go through the layers. On a CPU TRL scores the prompt's tokens too (its head on a GPU does not), which is more than
the bound knows of; the title says which share of a token's arithmetic the head is. Memory: see `common.kept_bytes`.
"""

from __future__ import annotations

from typing import Any

import torch
from common import arguments, in_turns, kept_bytes, make_trainer, points, print_profile, save, table, timed

COLUMNS = {
    "P": "d", "C": "d", "G": "d", "trl s": ".2f", "ours s": ".2f", "ratio": ".2f", "bound": ".2f", "of bound": ".0%",
    "trl MiB": ".0f", "ours MiB": ".0f", "memory": ".2f",
}  # fmt: skip


def batch(prompt: int, completion: int, group: int, vocabulary: int, device: torch.device) -> dict[str, Any]:
    """One group as TRL hands it to the loss."""
    source = torch.Generator().manual_seed(prompt)
    ids = torch.randint(2, vocabulary, (1, prompt), generator=source).expand(group, -1)
    answers = torch.randint(2, vocabulary, (group, completion), generator=source)
    tensors = {
        "prompt_ids": ids,
        "prompt_mask": torch.ones_like(ids),
        "completion_ids": answers,
        "completion_mask": torch.ones_like(answers),
        "advantages": torch.linspace(-1, 1, group) + 0.01,
        "num_items_in_batch": torch.tensor(answers.numel()),
    }
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--profile", action="store_true", help="where the time of our path goes, for the last point")
    options = parser.parse_args()
    rows = []
    for prompt, completion, group in points(options):
        trainer = make_trainer(options.device, completion, group)
        inputs = batch(prompt, completion, group, trainer.model.config.vocab_size, trainer.accelerator.device)

        def work(trainer: Any = trainer, inputs: Any = inputs) -> None:
            trainer.model.zero_grad()
            trainer._compute_loss(trainer.model, inputs).backward()

        memory = {}
        for name, share in (("trl", False), ("ours", True)):
            trainer._share = share
            memory[name] = kept_bytes(work, trainer.model.parameters())
        times = in_turns(trainer, work, options.repeats)
        row = timed(prompt, completion, group, times)
        rows.append(
            {
                **row,
                "of bound": row["ratio"] / row["bound"],
                "trl MiB": memory["trl"],
                "ours MiB": memory["ours"],
                "memory": memory["ours"] / memory["trl"],
            }
        )
        save(options.out or f"update_{options.device}", rows)
    body = sum(p.numel() for p in trainer.model.model.layers.parameters())
    head = trainer.model.lm_head.weight.numel()
    table(f"forward + backward; the head is {head / (head + body):.0%} of a token's arithmetic", rows, COLUMNS)
    if options.profile:
        print_profile(trainer, work)


if __name__ == "__main__":
    main()
