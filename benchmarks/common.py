"""What the speed benchmarks share: a trainer with a random model, fair timing, memory, and the files of results.

Both paths are the same object: a `FrugalGRPOTrainer` is TRL's GRPOTrainer where its switch is off. They are timed one
after the other, in turns, in one process, after a warm-up; medians are reported, and all times are kept.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from trl import GRPOConfig
from trl.trainer import utils as trl_utils

from realm.config import Config
from realm.run import machine, versions
from realm.training.adapters import lora_config
from realm.training.estimate import Lengths, estimate, sizes
from realm.training.fit import size
from realm.training.frugal import FrugalGRPOTrainer
from realm.training.memory import memory
from realm.training.settings import narrow_head

#: Names of the paths that are measured, with the value of the trainer's switch.
Sides = tuple[tuple[str, bool], ...]
BOTH: Sides = (("trl", False), ("ours", True))
#: By the wall clock, and of the processor on all threads of this process.
Seconds = tuple[float, float]
#: Tokens of the vocabulary that TRL's own head takes at a time.
WIDE_HEAD = trl_utils._CHUNKED_LOGPROB_CHUNK_SIZE
RESULTS = Path(__file__).resolve().parent / "results"
GRID = {"prompt": [400, 800, 1600, 3200], "completion": [100, 200], "group": [4, 8, 16]}
#: Seconds rather than minutes a row on one core.
QUICK = {"prompt": [400, 800], "completion": [100], "group": [8]}
SIZES = {
    # 20 M parameters, 3 M of them the embedding.
    "cpu": {"vocab_size": 8192, "hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 11,
            "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 64},
    # The shape of Qwen2.5-0.5B.
    "cuda": {"vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
             "num_attention_heads": 14, "num_key_value_heads": 2, "head_dim": 64},
}  # fmt: skip


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--device", choices=sorted(SIZES), default="cpu")
    parser.add_argument("--quick", action="store_true", help="a small grid")
    parser.add_argument("--repeats", type=int, default=3)
    for name in GRID:
        parser.add_argument(f"--{name}", type=int, nargs="+", help=f"instead of the grid's {name} values")
    parser.add_argument("--out", default=None, help="name of the file in benchmarks/results")
    return parser


def add_student(parser: argparse.ArgumentParser) -> None:
    """The options of what is trained: which model, how its weights are kept, and whether all of them are trained."""
    parser.add_argument("--model", help="a model directory in place of random weights")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="weights of --model")
    parser.add_argument("--lora", type=int, default=0, metavar="R", help="train adapters of that rank, not all weights")


def points(options: argparse.Namespace) -> list[tuple[int, int, int]]:
    """The chosen (prompt tokens P, completion tokens C, group size G)."""
    chosen = {name: getattr(options, name) or (QUICK if options.quick else GRID)[name] for name in GRID}
    return [(p, c, g) for p in chosen["prompt"] for c in chosen["completion"] for g in chosen["group"]]


def bound(prompt: int, completion: int, group: int) -> float:
    """How many times as many tokens plain GRPO forwards: G (P + C) / (P + G C)."""
    return group * (prompt + completion) / (prompt + group * completion)


def make_trainer(
    device: str, completion: int, group: int, model: PreTrainedModel | None = None, lora: int = 0
) -> FrugalGRPOTrainer:
    """A trainer with one group a step, a model with random weights, and rewards that differ within the group.

    Args:
        lora: the rank of the adapters that are trained; 0 trains all weights.
    """
    torch.manual_seed(0)
    more: dict[str, Any] = {"max_position_embeddings": 8192, "eos_token_id": 1, "pad_token_id": 0}
    if model is None:
        made = Qwen3ForCausalLM(Qwen3Config(**SIZES[device], tie_word_embeddings=True, **more))
        model = made.to(torch.bfloat16 if device == "cuda" else torch.float32)
    words = {f"w{i}": i for i in range(model.config.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    settings = GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        use_cpu=device == "cpu",
        per_device_train_batch_size=group,
        num_generations=group,
        max_completion_length=completion,
        max_steps=1000,
        learning_rate=1e-5,
        top_k=0,
        report_to="none",
        bf16=False,
        gradient_checkpointing=False,
        disable_dropout=True,
    )
    trainer = FrugalGRPOTrainer(
        model=model,
        processing_class=PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="w0", eos_token="w1", padding_side="left"
        ),
        reward_funcs=lambda completions, **_: [float(i % 3) for i in range(len(completions))],
        args=settings,
        train_dataset=Dataset.from_dict({"prompt": ["w2"]}),
        peft_config=lora_config(Config.model_validate({"training": {"lora": {"r": lora}}})),
    )
    trainer.create_optimizer_and_scheduler(1000)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def prompt_text(length: int, seed: int) -> str:
    """A prompt of that many random tokens."""
    ids = torch.randint(2, 8192, (length,), generator=torch.Generator().manual_seed(seed))
    return " ".join(f"w{i}" for i in ids.tolist())


def take(trainer: FrugalGRPOTrainer, share: bool) -> None:
    """Have the trainer take our path or TRL's, each with the head that it has in training."""
    trainer._share = share
    trl_utils._CHUNKED_LOGPROB_CHUNK_SIZE = WIDE_HEAD
    if share:
        narrow_head()


def clocks() -> Seconds:
    """Seconds of the wall clock, and those that the processor spent on all threads of this process."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def since(start: Seconds) -> Seconds:
    """What both clocks counted since then."""
    now = clocks()
    return now[0] - start[0], now[1] - start[1]


def too_large(device: str, prompt: int, completion: int, group: int) -> str | None:
    """Why TRL's path is left out at this point, where the estimate says that the machine has no room for it.

    Call it before the trainer is made: what is on the GPU already would count twice.
    """
    rl = {"micro_batch_size": group, "batch_size": group, "num_generations": group, "shared_prefix": "off"}
    dtype = "bfloat16" if device == "cuda" else "float32"
    # Of a recipe without a cold start, whose micro-batches would count.
    config = Config.model_validate({"model": {"dtype": dtype}, "training": {"recipe": "grpo", "rl": rl}})
    with torch.device("meta"):
        model = Qwen3ForCausalLM(Qwen3Config(**SIZES[device], tie_word_embeddings=True)).to(getattr(torch, dtype))
    needed = estimate(config, sizes(model), Lengths(prompt, prompt, completion)).peak
    limit = memory(config).limit
    if limit is None or needed <= limit:
        return None
    return (
        f"P {prompt}, C {completion}, G {group}: TRL's path is left out, it is estimated to need {size(needed)} of "
        f"{size(limit)}"
    )


def sides(device: str, prompt: int, completion: int, group: int) -> Sides:
    """What is measured at this point: TRL's path and ours, or, said in a line, ours alone."""
    reason = too_large(device, prompt, completion, group)
    if reason is None:
        return BOTH
    print(reason, flush=True)
    return BOTH[1:]


def in_turns(
    trainer: FrugalGRPOTrainer, work: Callable[[], Any], repeats: int, measured: Sides = BOTH, *, warm: bool = False
) -> dict[str, Any]:
    """Times of `work` on TRL's path and ours, in turns, see `compared`.

    A turn of both comes first and is not counted, unless they are `warm` already.
    """
    times: dict[str, list[Seconds]] = {"trl": [], "ours": []}
    for turn in range(warm, repeats + 1):
        for name, share in measured:
            take(trainer, share)
            start = clocks()
            work()
            if turn:
                times[name].append(since(start))
    return compared(times)


def compared(times: dict[str, list[Seconds]]) -> dict[str, Any]:
    """Medians of both paths by the clock, their ratio, that of the processor's seconds, and every time."""
    clock, processor = (
        {side: statistics.median(one[kind] for one in found) if found else None for side, found in times.items()}
        for kind in (0, 1)
    )
    return {
        "trl s": clock["trl"],
        "ours s": clock["ours"],
        "ratio": quotient(clock["trl"], clock["ours"]),
        "processor": quotient(processor["trl"], processor["ours"]),
        "seconds": times,
    }


def quotient(number: float | None, other: float | None) -> float | None:
    """None where one of the two was not measured."""
    return None if number is None or other is None else number / other


def peaks(trainer: FrugalGRPOTrainer, work: Callable[[], Any], measured: Sides = BOTH) -> dict[str, float | None]:
    """Columns of the memory of `work` on both paths, see `kept_bytes`."""
    found: dict[str, float | None] = {"trl": None, "ours": None}
    for name, share in measured:
        take(trainer, share)
        found[name] = kept_bytes(work, trainer.model.parameters())
    return {
        "trl MiB": found["trl"],
        "ours MiB": found["ours"],
        "memory": quotient(found["ours"], found["trl"]),
    }


def timed(prompt: int, completion: int, group: int, times: dict[str, Any]) -> dict[str, Any]:
    """The row of one point: what `in_turns` found, beside the bound."""
    return {
        "P": prompt,
        "C": completion,
        "G": group,
        **times,
        "bound": bound(prompt, completion, group),
    }


def show_profile(trainer: FrugalGRPOTrainer, work: Callable[[], Any]) -> list[dict[str, Any]]:
    """Print where the time of one call goes on our path, and return it: operations, share of the whole and calls."""
    take(trainer, True)
    with torch.profiler.profile() as profile:
        work()
    averages = profile.key_averages()
    kind = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    print(averages.table(sort_by=kind, row_limit=12, max_name_column_width=60))
    whole = sum(getattr(event, kind) for event in averages) or 1.0
    top = sorted(averages, key=lambda event: -getattr(event, kind))[:12]
    return [{"operation": e.key, "share": round(getattr(e, kind) / whole, 4), "calls": e.count} for e in top]


def kept_bytes(work: Callable[[], Any], parameters: Iterable[torch.Tensor]) -> float:
    """MiB of activations at the peak of one forward and backward.

    On a GPU the allocator's peak above what was there before. On a CPU, where no allocator counts: everything that
    autograd keeps from the forward to the backward (distinct storages, without the parameters), which is what is there
    when the backward begins.
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    own = {tensor.untyped_storage().data_ptr() for tensor in parameters}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        work()
    return sum(kept.values()) / 2**20


def table(title: str, rows: list[dict[str, Any]], columns: dict[str, str]) -> None:
    """Print the rows; `columns` maps a key to its format."""
    print(title)
    widths = {name: max(len(name), 8) for name in columns}
    print("  ".join(name.rjust(width) for name, width in widths.items()))
    for row in rows:
        cells = ("-" if row[name] is None else format(row[name], form) for name, form in columns.items())
        print("  ".join(cell.rjust(width) for cell, width in zip(cells, widths.values(), strict=True)), flush=True)


def save(name: str, rows: list[dict[str, Any]], profile: list[dict[str, Any]] | None = None) -> None:
    """Write the rows with machine, versions and command to benchmarks/results; with the profile of the last, if any."""
    RESULTS.mkdir(exist_ok=True)
    result = {
        "command": f"OMP_NUM_THREADS={torch.get_num_threads()} {shlex.join(['python', *sys.argv])}",
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "rows": rows,
        **({"profile": profile} if profile else {}),
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
