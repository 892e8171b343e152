"""Live progress of training on a terminal; a line now and then where there is none."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from realm.training import recorder

#: Seconds between two lines where the output is no terminal.
PAUSE = 15.0


def describe(event: recorder.Event) -> str:
    """The figures of an event of `train` as one line: reward, accuracies on the validation questions, time left."""
    parts = [f"reward {event.reward:.2f}"] if event.reward is not None else []
    ways = (("without", event.without), ("with", event.shown))
    found = [f"{accuracy:.0%} {way}" for way, accuracy in ways if accuracy is not None]
    if found:
        parts.append(f"accuracy {', '.join(found)} routes")
    left = max(0, round(event.seconds_left))
    parts.append(f"{left // 60}:{left % 60:02d} left")
    return " · ".join(parts)


@contextmanager
def live(console: Console, name: str) -> Iterator[recorder.Progress]:
    """Show the run `name` while the block lasts; yields what `train` takes as `progress`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[tuple[str, int], TaskID] = {}
        spoken = 0.0

        def show(event: recorder.Event) -> None:
            nonlocal spoken
            stage = event.stage, event.round
            title = f"{name} {event.stage}" + (f" {event.round + 1}" if event.round else "")
            if stage not in tasks:
                tasks[stage] = bars.add_task(title, total=event.steps, figures="")
            bars.update(tasks[stage], completed=event.step, figures=describe(event))
            now = time.monotonic()
            if not console.is_terminal and (now - spoken >= PAUSE or event.step == event.steps):
                spoken = now
                console.print(
                    f"{title} {event.step}/{event.steps} · {describe(event)}",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )

        yield show
