"""A progress bar on stderr, and now and then a line where stderr is no terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Seconds between two lines where stderr is no terminal.
EVERY = 30.0


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while the block lasts; yields a function of (done, total)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(description, total=None)
        due = time.monotonic() + EVERY

        def update(done: int, total: int) -> None:
            nonlocal due
            bars.update(task, completed=done, total=total)
            if not console.is_terminal and (done >= total or time.monotonic() >= due):
                due = time.monotonic() + EVERY
                console.print(f"{description}: {done} of {total}", markup=False, highlight=False)

        yield update
