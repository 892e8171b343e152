"""Forward and backward of one group: TRL's path against shared prompts.

    OMP_NUM_THREADS=1 python benchmarks/update.py [--quick] [--device cuda] [--prompt 800 1600] [--profile]
    OMP_NUM_THREADS=1 python benchmarks/update.py --routes 0 1 2 4 8 --completion 64 --group 8

Every completion has C tokens and every row an advantage, so that nothing is saved but the prompts. TRL has its best
case here: without any padding it needs no attention mask. `bound` is G (P + C) / (P + G C), the ratio of the tokens
that go through the layers. On a CPU TRL scores the prompt's tokens too (its head on a GPU does not), which is more than
the bound knows of; the title says which share of a token's arithmetic the head is. Memory: see `common.kept_bytes`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from common import (
    arguments,
    in_turns,
    make_trainer,
    peaks,
    points,
    quotient,
    save,
    show_profile,
    sides,
    table,
    timed,
)

from realm.bank.store import Bank
from realm.config import load_config
from realm.student.load import load_tokenizer
from realm.student.renderer import Renderer
from realm.tasks.registry import load_task
from realm.training.estimate import prompt_lengths

COLUMNS = {
    "P": "d", "C": "d", "G": "d", "trl s": ".2f", "ours s": ".2f", "ratio": ".2f", "processor": ".2f", "bound": ".2f",
    "of bound": ".0%", "trl MiB": ".0f", "ours MiB": ".0f", "memory": ".2f",
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


def desk_prompts(routes: list[int]) -> dict[int, int]:
    """Mean tokens of the embedded desk's prompts with k routes shown, for each k; a bank is collected for it."""
    most = max(1, *routes)
    settings = [f"bank.samples={most}", f"routes.k={most}"]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "realm", "collect", "--out", folder]
        command += [word for setting in settings for word in ("--set", setting)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        config = load_config(None, [f"bank.path={folder}", *settings])
        task, bank = load_task(config), Bank.open(Path(folder))
    tokenizer = load_tokenizer(config.model.path)
    # The context is so large that no route is dropped.
    lengths = {k: prompt_lengths(config, Renderer(config, task, bank, tokenizer, 10**6, k=k)) for k in routes}
    return {k: round(found.mean) for k, found in lengths.items()}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument(
        "--routes", type=int, nargs="+", metavar="K", help="prompts as long as the desk's with K routes"
    )
    parser.add_argument("--profile", action="store_true", help="where the time of our path goes, for the last point")
    options = parser.parse_args()
    shown = {length: k for k, length in desk_prompts(options.routes).items()} if options.routes else {}
    if shown:
        print("; ".join(f"k = {k}: P = {length}" for length, k in shown.items()))
        options.prompt = list(shown)
    rows = []
    for prompt, completion, group in points(options):
        measured = sides(options.device, prompt, completion, group)
        trainer = make_trainer(options.device, completion, group)
        inputs = batch(prompt, completion, group, trainer.model.config.vocab_size, trainer.accelerator.device)

        def work(trainer: Any = trainer, inputs: Any = inputs) -> None:
            trainer.model.zero_grad()
            trainer._compute_loss(trainer.model, inputs).backward()

        memory = peaks(trainer, work, measured)
        times = in_turns(trainer, work, options.repeats, measured, warm=True)  # by the look at the memory
        row = timed(prompt, completion, group, times)
        rows.append(
            {
                **row,
                "of bound": quotient(row["ratio"], row["bound"]),
                **memory,
                **({"k": shown[prompt]} if shown else {}),
            }
        )
        save(options.out or f"update_{options.device}", rows)
    body = sum(p.numel() for p in trainer.model.model.layers.parameters())
    head = trainer.model.lm_head.weight.numel()
    table(f"forward + backward; the head is {head / (head + body):.0%} of a token's arithmetic", rows, COLUMNS)
    if options.profile:
        save(options.out or f"update_{options.device}", rows, show_profile(trainer, work))


if __name__ == "__main__":
    main()
