"""The whole optimizer step (rollout, reward, forward, backward, AdamW), and a run of the desk from p = 1 to p = 0.

    OMP_NUM_THREADS=1 python benchmarks/step.py [--quick] [--device cuda] [--prompt 800] [--completion 100] [--group 8]
    OMP_NUM_THREADS=1 python benchmarks/step.py --model DIR --micro 1 [--dtype bfloat16] [--lora 16]
    OMP_NUM_THREADS=1 python benchmarks/step.py --desk 40

Without `--desk`: one group a step; P = 800 is a question with k = 4 routes at the start of the fade. Beside the step
its rollout (with the reward) and its update (forward, backward) have a row each. `ratio` is that of the clock,
`processor` that of the seconds which the processor spent on all threads: what else a machine does moves it less. With a
model of a directory, TRL's path forwards `--micro` rows at a time, because the group at once takes too much
memory; the sum of the gradients is the same. What either path takes is memory.py's.

With `--desk`: `realm train` with the desk's settings (realm-zero, k = 4, G = 8, 12 questions a step) for so many steps,
once with training.rl.shared_prefix off and once with auto, each as a process of its own. Its seconds are those of
metrics.jsonl, without evaluation; the completions of the two runs are not the same, for TRL draws them otherwise.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import (
    BOTH,
    Seconds,
    add_student,
    arguments,
    clocks,
    compared,
    make_trainer,
    peaks,
    points,
    prompt_text,
    save,
    sides,
    since,
    table,
    take,
    timed,
)
from trl.trainer.utils import split_tensor_dict

from realm.student.load import load_model

STEP_COLUMNS = {
    "what": "s", "P": "d", "C": "d", "G": "d", "trl s": ".2f", "ours s": ".2f", "ratio": ".2f", "processor": ".2f",
    "bound": ".2f", "trl MiB": ".0f", "ours MiB": ".0f", "memory": ".2f",
}  # fmt: skip
DESK_COLUMNS = {"steps": "s", "trl s": ".1f", "ours s": ".1f", "ratio": ".2f", "bound": ".2f", "saved": ".0%"}


def one_step(trainer: Any, text: str, group: int, micro: int) -> dict[str, Seconds]:
    """What a step took, and what its parts did."""
    start = clocks()
    trainer._buffered_inputs = None
    inputs = trainer._prepare_inputs([{"prompt": text}] * group)
    rollout, middle = since(start), clocks()
    for part in split_tensor_dict(inputs, group // micro):
        trainer._compute_loss(trainer.model, part).backward()
    update = since(middle)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    return {"step": since(start), "rollout": rollout, "update": update}


def warm_up(trainer: Any, step: Any) -> None:
    """A few tokens on both paths: optimizer states, and our first look at whether both agree."""
    config, tokens = trainer.generation_config, trainer.generation_config.max_new_tokens
    config.max_new_tokens = 4
    for _, share in BOTH:
        step(share, 16)
    config.max_new_tokens = tokens


def step_rows(found: dict[str, list[dict[str, Seconds]]], shape: tuple[int, int, int]) -> list[dict[str, Any]]:
    """A row for the step and each of its parts, from the steps of both paths."""
    nothing = dict.fromkeys(("trl MiB", "ours MiB", "memory"))
    rows = []
    for what in ("step", "rollout", "update"):
        times = {side: [one[what] for one in made] for side, made in found.items()}
        rows.append({"what": what, **timed(*shape, compared(times)), **nothing})
    return rows


def steps(options: argparse.Namespace) -> None:
    """Single optimizer steps, of a random model or of one in a directory."""
    if not (options.quick or options.prompt):
        options.prompt = [800]
    rows = []
    for prompt, completion, group in points(options):
        measured = BOTH if options.model else sides(options.device, prompt, completion, group)
        model = load_model(options.model, options.dtype) if options.model else None
        trainer = make_trainer(options.device, completion, group, model, options.lora)
        found: dict[str, list[dict[str, Seconds]]] = {"trl": [], "ours": []}

        def step(
            share: bool, length: int = prompt, trainer: Any = trainer, group: int = group, seed: int = prompt
        ) -> dict[str, Seconds]:
            take(trainer, share)
            return one_step(trainer, prompt_text(length, seed), group, group if share else options.micro or group)

        if options.model:
            warm_up(trainer, step)
        new: list[dict[str, Any]] = []
        for turn in range(bool(options.model), options.repeats + 1):
            for side, share in measured:
                spent = step(share)
                if turn:
                    found[side].append(spent)
            if turn:
                new = step_rows(found, (prompt, completion, group))
                save(options.out or f"step_{options.device}", rows + new)
        if not options.model:
            # Afterwards: the first step makes the optimizer's states.
            new[0] |= peaks(trainer, lambda trainer=trainer, step=step: step(trainer._share), measured)
        rows += new
        save(options.out or f"step_{options.device}", rows)
    table(f"one optimizer step of {options.model or 'a random model'}", rows, STEP_COLUMNS)


def desk_run(folder: Path, bank: Path, steps: int, share: str) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl of one run."""
    settings = {
        "run.dir": folder, "run.name": f"shared-{share}", "bank.path": bank, "training.recipe": "realm-zero",
        "training.rl.steps": steps, "training.rl.shared_prefix": share, "training.eval_questions": 0,
        "training.save_every": steps,
        "task.max_test": 40,  # of what is not timed
    }  # fmt: skip
    overrides = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    subprocess.run([sys.executable, "-m", "realm", "train", *overrides], check=True, stdout=subprocess.DEVNULL)
    metrics = folder / f"shared-{share}" / "metrics.jsonl"
    return [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]


def desk(options: argparse.Namespace) -> None:
    """A whole run of the desk on both paths."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bank = folder / "bank"
        command = [sys.executable, "-m", "realm", "collect", "--out", str(bank)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found = {share: desk_run(folder, bank, options.desk, share) for share in ("off", "auto")}
    rows = []
    quarter = options.desk // 4
    parts = {
        "all": (0, options.desk),
        "first quarter": (0, quarter),
        "last quarter": (options.desk - quarter, options.desk),
    }
    for part, (start, end) in parts.items():
        spent = {
            share: lines[end - 1]["seconds"] - (lines[start - 1]["seconds"] if start else 0)
            for share, lines in found.items()
        }
        lines = [line["tokens_saved"] for line in found["auto"][start:end]]
        saved = sum(lines) / len(lines)
        rows.append(
            {
                "steps": part,
                "trl s": spent["off"],
                "ours s": spent["auto"],
                "ratio": spent["off"] / spent["auto"],
                # Of the update alone: how many times as many tokens TRL forwards.
                "bound": 1 / (1 - saved),
                "saved": saved,
            }
        )
    save(options.out or "desk", rows)
    table(f"a run of the desk, {options.desk} steps from p = 1 to p = 0", rows, DESK_COLUMNS)


def main() -> None:
    parser = arguments(__doc__)
    add_student(parser)
    parser.add_argument("--micro", type=int, default=0, help="rows a forward of TRL's path; default: the group")
    parser.add_argument("--desk", type=int, metavar="STEPS", help="a whole run of the desk instead, at least 4 steps")
    options = parser.parse_args()
    if options.desk:
        desk(options)
    else:
        steps(options)


if __name__ == "__main__":
    main()
