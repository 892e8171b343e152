"""Runs trained side by side: the fast settings, how far each has come, and how that is shown while they run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live

from realm.config import Config
from realm.files import read_jsonl
from realm.jobs import Job, run_jobs
from realm.recipes import plan

FAST_NOTE = "A fast run: so few steps and questions show that everything works; the figures mean little."
FAST = {
    "training.rl.steps": 16,
    "training.sft.steps": 6,
    "training.eval_every": 8,
    "training.eval_questions": 32,
    "training.save_every": 8,
    "training.sample_every": 4,
    "task.max_test": 64,
}
#: Share of a training run's time that its final evaluation takes, roughly; only the shown time left rests on it.
EVALUATION = 0.15
#: What a step of SFT costs in steps of RL, roughly.
_SFT_STEP = 0.1
#: Printed at most this often (seconds) where the output is no terminal.
PLAIN_EVERY = 20.0


def with_values(config: Config, changes: dict[str, Any]) -> Config:
    """A copy of the configuration with dotted keys replaced."""
    tree = config.model_dump()
    for key, value in changes.items():
        *parents, last = key.split(".")
        node = tree
        for parent in parents:
            node = node[parent]
        node[last] = value
    return Config.model_validate(tree)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file, none where it was not written yet."""
    return read_jsonl(path) if path.exists() else []


def training_progress(config: Config, folder: Path) -> tuple[str, float, dict[str, Any]]:
    """How far a training run has come: stage and step in words, share done in [0, 1], its last row of metrics."""
    stages = plan(config)
    sft, rl = (next((stage.steps for stage in stages if stage.kind == kind), 0) for kind in ("sft", "rl"))
    metrics = read_rows(folder / "metrics.jsonl")
    last: dict[str, Any] = metrics[-1] if metrics else {"stage": "sft" if sft else "rl", "step": 0, "round": 0}
    steps = sft if last["stage"] == "sft" else rl
    done = last["step"] * _SFT_STEP if last["stage"] == "sft" else sft * _SFT_STEP + last["step"]
    ended = last["step"] >= steps and (last["stage"] == "rl" or not rl)
    words = f"{'evaluation' if ended else last['stage']} {last['step']}/{steps}"
    share = ((last.get("round") or 0) + done / (sft * _SFT_STEP + rl)) / (stages[-1].round + 1)
    return words, min(share, 1.0) * (1 - EVALUATION), last


def accuracies_so_far(folder: Path) -> dict[str, float]:
    """The last accuracies `without` and `with` routes that a run has measured on validation or test questions."""
    return {
        "with" if row["routes"] else "without": row["accuracy"]
        for row in read_rows(folder / "evaluations.jsonl")
        if row["split"] in ("validation", "test")
    }


def run_shown(
    jobs: Sequence[Job],
    workers: int,
    render: Callable[[], RenderableType],
    console: Console,
    *,
    keep_going: bool = False,
) -> None:
    """`run_jobs` with what `render` gives shown live or, without a terminal, printed now and then."""
    if console.is_terminal:
        with Live(render(), console=console, refresh_per_second=2) as live:
            run_jobs(jobs, workers, lambda: live.update(render()), keep_going=keep_going)
        return
    printed = time.monotonic()

    def lines() -> None:
        nonlocal printed
        if time.monotonic() - printed >= PLAIN_EVERY:
            printed = time.monotonic()
            console.print(render())

    run_jobs(jobs, workers, lines, keep_going=keep_going)


def as_number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def as_percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def as_minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
