"""The whole optimizer step (rollout, reward, forward, backward, AdamW), and a run of the desk from p = 1 to p = 0.

    OMP_NUM_THREADS=1 python benchmarks/step.py [--quick] [--device cuda] [--prompt 800] [--completion 100] [--group 8]
    OMP_NUM_THREADS=1 python benchmarks/step.py --desk 40 [--speculation] [--keep DIR]

Without `--desk`: one group a step; P = 800 is a question with k = 4 routes at the start of the fade. With it: `realm
train` with the desk's settings (realm-zero, k = 4, G = 8, 12 questions a step) for so many steps, once with
training.rl.shared_prefix off and once with auto, each as a process of its own. Its seconds are those of metrics.jsonl,
without evaluation; the completions of the two runs are not the same, for TRL draws them otherwise. `--speculation` has
a third run, with training.rl.speculation auto besides; `--keep` leaves the runs and their bank in a folder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import arguments, in_turns, make_trainer, peaks, points, prompt_text, save, sides, table, timed

STEP_COLUMNS = {
    "P": "d", "C": "d", "G": "d", "trl s": ".2f", "ours s": ".2f", "ratio": ".2f", "bound": ".2f",
    "trl MiB": ".0f", "ours MiB": ".0f", "memory": ".2f",
}  # fmt: skip
DESK_COLUMNS = {"steps": "s", "trl s": ".1f", "ours s": ".1f", "ratio": ".2f", "bound": ".2f", "saved": ".0%"}


def steps(options: argparse.Namespace) -> None:
    """Single optimizer steps on a random model."""
    if not (options.quick or options.prompt):
        options.prompt = [800]
    rows = []
    for prompt, completion, group in points(options):
        measured = sides(options.device, prompt, completion, group)
        trainer = make_trainer(options.device, completion, group)
        text = prompt_text(prompt, prompt)

        def work(trainer: Any = trainer, text: str = text, group: int = group) -> None:
            trainer._buffered_inputs = None
            inputs = trainer._prepare_inputs([{"prompt": text}] * group)
            trainer._compute_loss(trainer.model, inputs).backward()
            trainer.optimizer.step()
            trainer.optimizer.zero_grad()

        times = in_turns(trainer, work, options.repeats, measured)
        # Afterwards: the first step makes the optimizer's states.
        rows.append(timed(prompt, completion, group, times) | peaks(trainer, work, measured))
        save(options.out or f"step_{options.device}", rows)
    table("one optimizer step", rows, STEP_COLUMNS)


def desk_run(folder: Path, bank: Path, steps: int, name: str, rl: dict[str, str]) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl of one run; `rl` are settings of training.rl."""
    settings = {
        "run.dir": folder, "run.name": name, "bank.path": bank, "training.recipe": "realm-zero",
        "training.rl.steps": steps, "training.eval_questions": 0, "training.save_every": steps,
        "task.max_test": 40,  # of what is not timed
        **{f"training.rl.{key}": value for key, value in rl.items()},
    }  # fmt: skip
    overrides = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    subprocess.run([sys.executable, "-m", "realm", "train", *overrides], check=True, stdout=subprocess.DEVNULL)
    metrics = folder / name / "metrics.jsonl"
    return [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]


def desk(options: argparse.Namespace) -> None:
    """A whole run of the desk on both paths."""
    ways = {"trl": {"shared_prefix": "off"}, "ours": {"shared_prefix": "auto"}}
    if options.speculation:
        ways["ours, ahead"] = {**ways["ours"], "speculation": "auto"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(options.keep or name)
        bank = folder / "bank"
        command = [sys.executable, "-m", "realm", "collect", "--out", str(bank)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found = {way: desk_run(folder, bank, options.desk, way.replace(", ", "-"), rl) for way, rl in ways.items()}
    rows = []
    quarter = options.desk // 4
    parts = {
        "all": (0, options.desk),
        "first quarter": (0, quarter),
        "last quarter": (options.desk - quarter, options.desk),
    }
    for way in [*ways][1:]:
        for part, (start, end) in parts.items():
            trl, ours = (
                lines[end - 1]["seconds"] - (lines[start - 1]["seconds"] if start else 0)
                for lines in (found["trl"], found[way])
            )
            shares = [line["tokens_saved"] for line in found[way][start:end]]
            saved = sum(shares) / len(shares)
            rows.append(
                {
                    "steps": part if way == "ours" else f"{part}, ahead",
                    "trl s": trl,
                    "ours s": ours,
                    "ratio": trl / ours,
                    # Of the update alone: how many times as many tokens TRL forwards.
                    "bound": 1 / (1 - saved),
                    "saved": saved,
                }
            )
    save(options.out or "desk", rows)
    table(f"a run of the desk, {options.desk} steps from p = 1 to p = 0", rows, DESK_COLUMNS)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--desk", type=int, metavar="STEPS", help="a whole run of the desk instead, at least 4 steps")
    parser.add_argument("--speculation", action="store_true", help="of --desk: one run more, that looks ahead")
    parser.add_argument("--keep", metavar="DIR", help="of --desk: where bank and runs are left")
    options = parser.parse_args()
    if options.desk:
        desk(options)
    else:
        steps(options)


if __name__ == "__main__":
    main()
