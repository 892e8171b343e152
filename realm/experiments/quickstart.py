"""`realm quickstart`: the experiment of that name with one seed, in a folder of its own."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from realm.errors import ResourceError
from realm.experiments.conduct import Order, conduct
from realm.experiments.spec import find
from realm.locks import LOCK
from realm.pages.table import Table, Value
from realm.rows.experiment import Results
from realm.text import clock

#: What an experiment leaves in its folder; where anything else is, nothing is ever deleted.
_LEFT = {"banks", "cells", "evaluations", "configs", "logs", "seconds.jsonl", "results.json", "report.html", LOCK} | {
    f"quickstart.{suffix}" for suffix in ("md", "svg", "png")
}


def run_quickstart(
    config: Path, overrides: Sequence[str], folder: Path, *, fast: bool, overwrite: bool, command: str, console: Console
) -> None:
    """Run the comparison in `folder`, as far as it is owed, and print its table.

    Args:
        config: the common settings, changed by `overrides` (KEY=VALUE).
        fast: take a few steps only, to see that everything works.
        overwrite: replace an earlier one, but for its banks.
        command: as it was typed.

    Raises:
        UserError: a setting that cannot work, or a folder already used; nothing is written then.
        JobError: a run failed; its log is named.
    """
    started = time.monotonic()
    _refuse(folder, overwrite=overwrite)
    # All three arms at once, each of which takes up to 1.3 GB: of two cores one would be idle while the last arm runs.
    jobs = 3 if (os.cpu_count() or 1) > 1 else 1
    order = Order(find("quickstart"), folder, folder, folder, 1, jobs, overrides, fast, command, config, overwrite)
    found = table(conduct(order, console))
    console.print(found.to_rich("Accuracy on held-out questions, 95 % intervals in brackets", "split"))
    took = clock(time.monotonic() - started)
    console.print(f"{took} in all. Look at {folder / 'report.html'}; the trained models are in {folder}/cells/*/model.")


def _refuse(folder: Path, *, overwrite: bool) -> None:
    """See that the folder is free, or holds a quickstart that goes on where it was stopped or may be replaced.

    Raises:
        ResourceError: it is used otherwise.
    """
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if others := sorted(there - _LEFT):
        raise ResourceError(
            f"{folder}: this folder is already used, by what is no quickstart ({others[0]}), and is never overwritten. "
            "Choose another run.name or --out, or move it away."
        )
    if "results.json" in there and not overwrite:
        raise ResourceError(
            f"{folder}: this name is already used. Choose another run.name or --out, or give --overwrite."
        )


def table(results: Results) -> Table:
    """Accuracy of every model with its 95 % interval, a section a split."""
    cells = {(row.arm, row.measure): Value(row.mean, row.low, row.high) for row in results.cells}
    arms = [row.name for row in results.arms]
    ways = ("without", "with")
    bodies = [
        (split, [(None, arm, [cells.get((arm, f"{split}/{way}"), "") for way in ways]) for arm in arms])
        for split in dict.fromkeys(row.split for row in results.measures)
    ]
    return Table(["model", *(f"{way} routes" for way in ways)], bodies)
