"""The cold start of the desk: micro-batches as wide as their longest row, against rows by their length.

    OMP_NUM_THREADS=1 python benchmarks/sft.py [--bank DIR] [--steps 8] [--repeats 5] [--profile]

Forward, backward and optimizer step on the packaged student's own examples, both ways in turns on the same micro-batch
from the same weights, in one process, when both are warm. The time is that of the thread, which what else the machine
does moves less than the clock. `bound` is the ratio of the token positions that go through the layers; above it lies
what the head no longer scores. `loss` and `gradient` are the largest relative differences of both.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import save, table

from realm.bank.store import Bank
from realm.commands.configuring import load_config
from realm.tasks.registry import load_task
from realm.traces.examples import tokenize
from realm.training.prepare import prepare
from realm.training.settings import hushed
from realm.training.sft import ColdStartTrainer, make_sft_trainer
from realm.training.unpadded import of_like_length
from realm.training.weighted import training_rows

COLUMNS = {
    "examples": "s", "rows": "d", "tokens": ".0f", "padding": ".0%", "learned": ".0%", "batch s": ".3f",
    "length s": ".3f", "ratio": ".2f", "bound": ".2f", "loss": ".0e", "gradient": ".0e",
}  # fmt: skip
#: Examples as the packaged recipe has them, and those of the recipe that shows no routes.
RECIPES = {"with routes (realm-r1)": "realm-r1", "without (sft)": "sft"}


def make_trainer(recipe: str, bank: Path, steps: int) -> ColdStartTrainer:
    """The trainer of the packaged cold start, before its first step."""
    settings = [f"bank.path={bank}", f"training.recipe={recipe}", f"training.sft.steps={steps}"]
    config = load_config(None, [*settings, "training.sft.padding=length"])
    with hushed():
        prepared = prepare(config, load_task(config), Bank.open(bank))
        examples, model = prepared.examples.take(), prepared.model.take()
        assert examples is not None and model is not None
        rows, _ = training_rows(tokenize(prepared.renderer, examples))
        trainer = make_sft_trainer(
            config, model=model, tokenizer=prepared.tokenizer, rows=rows, output=tempfile.mkdtemp(), seed=0,
            callbacks=[],
        )  # fmt: skip
    trainer.create_optimizer_and_scheduler(steps)
    model.train()
    return trainer


def measure(name: str, trainer: ColdStartTrainer, repeats: int) -> dict[str, Any]:
    """The row of one kind of examples."""
    model: Any = trainer.model
    optimizer: Any = trainer.optimizer
    batches = list(trainer.get_train_dataloader())
    start = {key: value.clone() for key, value in model.state_dict().items()}
    times: dict[bool, list[float]] = {False: [], True: []}
    apart = {"loss": 0.0, "gradient": 0.0}

    def step(batch: dict[str, Any]) -> torch.Tensor:
        items = trainer._get_num_items_in_batch([batch], model.device)
        loss: torch.Tensor = trainer.compute_loss(model, dict(batch), num_items_in_batch=items)
        loss.backward()
        optimizer.step()
        return loss.detach()

    for turn in range(repeats + 1):
        for batch in batches:
            seen = {}
            for by_length in (False, True):
                trainer._by_length = by_length
                model.load_state_dict(start)
                optimizer.zero_grad()
                began = time.thread_time()
                loss = step(batch)
                if turn:
                    times[by_length].append(time.thread_time() - began)
                seen[by_length] = loss, [one.grad.clone() for one in model.parameters()]
            (loss, gradient), (other, others) = seen[False], seen[True]
            apart["loss"] = max(apart["loss"], float((other - loss).abs() / loss))
            furthest = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(others, gradient, strict=True))
            apart["gradient"] = max(apart["gradient"], furthest)
    lengths = [batch["attention_mask"].sum(1).tolist() for batch in batches]
    tokens, whole = sum(map(sum, lengths)), sum(batch["input_ids"].numel() for batch in batches)
    forwarded = sum(rows[one[0]] * len(one) for rows in lengths for one in of_like_length(rows))
    medians = [statistics.median(times[side]) for side in (False, True)]
    return {
        "examples": name,
        "rows": sum(map(len, lengths)),
        "tokens": tokens / sum(map(len, lengths)),
        "padding": 1 - tokens / whole,
        "learned": sum(int((batch["labels"] != -100).sum()) for batch in batches) / whole,
        "batch s": medians[0],
        "length s": medians[1],
        "ratio": medians[0] / medians[1],
        "bound": whole / forwarded,
        **apart,
        "seconds": {"batch": times[False], "length": times[True]},
    }


def profiled(trainer: ColdStartTrainer) -> list[dict[str, Any]]:
    """Where the time of a padded step goes: operations, their share of the whole, and calls."""
    trainer._by_length = False
    batch, model = next(iter(trainer.get_train_dataloader())), trainer.model
    with torch.profiler.profile() as profile:
        trainer.compute_loss(model, batch, num_items_in_batch=1).backward()
    averages = profile.key_averages()
    whole = sum(event.self_cpu_time_total for event in averages)
    top = sorted(averages, key=lambda event: -event.self_cpu_time_total)[:12]
    return [{"operation": e.key, "share": round(e.self_cpu_time_total / whole, 4), "calls": e.count} for e in top]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bank", type=Path, help="of the desk; without it one is collected")
    parser.add_argument("--steps", type=int, default=8, help="micro-batches, of 32 examples each")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="where the time of the padded step goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bank = options.bank or Path(folder) / "bank"
        if options.bank is None:
            command = [sys.executable, "-m", "realm", "collect", "--out", str(bank)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        rows, profile = [], None
        for name, recipe in RECIPES.items():
            trainer = make_trainer(recipe, bank, options.steps)
            rows.append(measure(name, trainer, options.repeats))
            if options.profile and profile is None:
                profile = profiled(trainer)
    table("forward, backward and optimizer step of 32 examples of the desk", rows, COLUMNS)
    save("sft_cpu", rows, profile)


if __name__ == "__main__":
    main()
