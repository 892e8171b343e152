"""Live progress on stderr: bars on a terminal, now and then a line where output goes to a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

#: Seconds between two lines where stderr is no terminal.
EVERY = 30.0


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """A bar; yields a function of (done, total)."""
    with _bars() as bars:
        task = bars.add_task(description, total=None)
        lines = _Lines(bars)

        def update(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)
            lines.say(f"{description}: {done} of {total}", last=done >= total)

        yield update


@contextmanager
def training_bars() -> Iterator[Callable[[dict[str, Any]], None]]:
    """A bar for each stage of a training run; yields the function that `realm.training` tells of its progress."""
    with _bars() as bars:
        tasks: dict[tuple[str, int], Any] = {}
        lines = _Lines(bars)

        def update(state: dict[str, Any]) -> None:
            key = (state["stage"], state["round"])
            if key not in tasks:
                tasks[key] = bars.add_task("", total=state["steps"])
            told = _tell(state)
            bars.update(tasks[key], completed=state["step"], description=told)
            left = f", {_minutes(state['seconds_left'])} left"
            lines.say(f"step {state['step']} of {state['steps']}: {told}{left}", last=state["step"] >= state["steps"])

        yield update


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn(compact=True), TextColumn("{task.description}"))
    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _tell(state: dict[str, Any]) -> str:
    """Stage and figures, e.g. `rl  reward 1.20  right 61 %  without routes 55 %  with routes 82 %`."""
    stage = state["stage"] if not state["round"] else f"{state['stage']}, round {state['round'] + 1}"
    parts = [stage]
    if state.get("reward") is not None:
        parts.append(f"reward {state['reward']:.2f}")
    for key, name in (("accuracy", "right"), ("without", "without routes"), ("with", "with routes")):
        if state.get(key) is not None:
            parts.append(f"{name} {state[key]:.0%}")
    return "  ".join(parts)


def _minutes(seconds: float) -> str:
    return f"{seconds // 60:.0f}:{seconds % 60:02.0f}"


class _Lines:
    """Plain lines instead of bars, at most one in `EVERY` seconds."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._next = time.monotonic() + EVERY

    def say(self, line: str, *, last: bool) -> None:
        if self._bars.disable and (last or time.monotonic() >= self._next):
            self._next = time.monotonic() + EVERY
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
