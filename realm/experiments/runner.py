"""Runs what an experiment still owes: banks first, then every cell in a process of its own, resumable anywhere.

Below the folder of all experiments lie `banks/`, `cells/` (training runs, and the untrained model's evaluation),
`evaluations/` (of cells trained with other routes than the common ones), `configs/` and `logs/`. What is whole is never
done again, and has no checkpoints any more; a training that was stopped goes on from its last one.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from realm.config import Config, dump_config
from realm.errors import UserError
from realm.experiments.grid import Cell, Grid
from realm.experiments.jobs import LONG_GRACE, Job, JobError, run_shown
from realm.experiments.watch import Watch
from realm.files import append_jsonl, read_jsonl, write_atomic, writing
from realm.locks import LOCK
from realm.run import RunFolder, versions
from realm.sections import DESKS

#: Seconds that every process took, one row for each start of it.
SECONDS = "seconds.jsonl"


def clear(out: Path) -> None:
    """Delete everything below the folder but the banks, which may have cost money."""
    with writing(out):
        for path in out.iterdir():
            if path.name not in ("banks", LOCK):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def finished(folder: Path) -> bool:
    """Whether the run or the evaluation in a folder is whole."""
    try:
        return bool(json.loads((folder / "meta.json").read_text(encoding="utf-8"))["status"] == "done")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def run_cells(grid: Grid, out: Path, console: Console, *, workers: int) -> None:
    """Do what is still owed of the grid, at most `workers` processes at once.

    Raises:
        UserError, JobError: cells failed; all others are finished, and the message names the logs.
        Stopped: by Ctrl-C or SIGTERM; what was under way is saved as far as it can be.
    """
    collect_banks(grid.banks, out, console, workers=workers)
    if other := _of_other_sources(grid.cells):
        console.print(f"finished cells that other sources of realm trained: {other}; they stay (a new --out has none)")
    jobs = _cell_jobs(grid.cells, out)
    if not jobs:
        console.print("every cell is finished already")
        return
    console.print(f"{len(grid.cells)} cells, {len(_owed(grid.cells))} of them owed, below {out}")
    watch = Watch(grid.cells, jobs)
    _run(list(jobs.values()), out, console, workers, watch.render)


def collect_banks(banks: Mapping[Path, Config], out: Path, console: Console, *, workers: int) -> None:
    """Collect every bank that is not there whole; errors as of `run_cells`."""
    jobs = {}
    for folder, config in banks.items():
        if folder.exists():
            continue
        name = f"bank-{folder.name}"
        arguments = ["collect", str(_write_config(out, name, config)), "--out", str(_partial(folder)), "--resume"]
        jobs[folder] = Job(name, arguments, out / "logs" / f"{name}.log", tiny=tiny(config))
    if not jobs:
        return
    with writing(out):
        (out / "banks").mkdir(exist_ok=True)
    console.print(f"collecting {len(jobs)} bank{'s' if len(jobs) > 1 else ''} of CoTs")

    def words() -> str:
        return f"banks: {sum(job.state == 'done' for job in jobs.values())} of {len(jobs)} collected"

    try:
        _run(list(jobs.values()), out, console, workers, words)
    finally:
        for folder, job in jobs.items():
            if job.state == "done":
                _partial(folder).rename(folder)  # only a whole bank has its name


def _partial(bank: Path) -> Path:
    return bank.with_name(f"{bank.name}.partial")


def _run(jobs: Sequence[Job], out: Path, console: Console, workers: int, render: Callable[[], Any]) -> None:
    try:
        run_shown(jobs, workers, render, console)
    finally:
        rows = [{"job": job.name, "seconds": round(job.seconds, 1)} for job in jobs if job.process is not None]
        append_jsonl(out / SECONDS, *rows)
    errors = [job.error for job in jobs if job.error is not None]
    if not errors:
        return
    logs = ", ".join(str(job.log) for job in jobs if job.error is not None)
    skipped = ", ".join(job.name for job in jobs if job.process is None)
    left = f"; not started, as what they need failed: {skipped}" if skipped else ""
    text = (
        f"{len(errors)} of {len(jobs)} jobs failed, the others are finished{left}; logs: {logs}. "
        f"The first: {errors[0]}\n"
        "Run the same command again to retry what failed; an arm that cannot succeed can be taken out of the file, and "
        "what is finished stays."
    )
    raise UserError(text) if all(isinstance(error, UserError) for error in errors) else JobError(text)


def _owed(cells: Sequence[Cell]) -> list[Cell]:
    """Those that lack their evaluation, or the run that it rests on."""
    return [cell for cell in cells if not (finished(cell.evaluated) and finished(cell.trained or cell.evaluated))]


def _of_other_sources(cells: Sequence[Cell]) -> int:
    """How many finished cells another state of this package trained; it might train them otherwise."""
    ours = versions().get("realm-slm")
    owed = {cell.evaluated for cell in _owed(cells)}
    metas = [RunFolder(cell.trained or cell.evaluated).meta for cell in cells if cell.evaluated not in owed]
    return sum(meta.versions.get("realm-slm") != ours for meta in metas)


def _cell_jobs(cells: Sequence[Cell], out: Path) -> dict[Path, Job]:
    """The jobs of all cells that are not finished, by the folder they fill."""
    jobs: dict[Path, Job] = {}
    for cell in _owed(cells):
        evaluates = cell.evaluation is not None and not finished(cell.evaluated)
        if cell.trained is not None and cell.trained not in jobs:
            # Weights that were deleted to save space are wanted again for one more evaluation.
            gone = evaluates and not (cell.trained / "model").exists()
            if gone or not finished(cell.trained):
                jobs[cell.trained] = _training(cell, cell.trained, out)
        if evaluates and cell.evaluated not in jobs:
            jobs[cell.evaluated] = _evaluation(cell, out, jobs.get(cell.trained) if cell.trained else None)
    return jobs


def _training(cell: Cell, folder: Path, out: Path) -> Job:
    path = _write_config(out, folder.name, cell.config)
    there = ["--overwrite" if finished(folder) else "--resume"] if (folder / "meta.json").exists() else []
    log = out / "logs" / f"{folder.name}.log"
    arguments = ["train", str(path), *there]
    # Of a student of 135 M parameters the checkpoints of one cell are 5 GB, its model is half of one.
    scratch = folder / "checkpoints"
    return Job(folder.name, arguments, log, tiny=tiny(cell.config), grace=LONG_GRACE, scratch=scratch)


def _evaluation(cell: Cell, out: Path, after: Job | None) -> Job:
    name = f"{cell.evaluated.parent.name}-{cell.evaluated.name}"
    assert cell.evaluation is not None
    path = _write_config(out, name, cell.evaluation)
    arguments = ["evaluate", str(path), "--out", str(cell.evaluated), "--overwrite"]
    return Job(name, arguments, out / "logs" / f"{name}.log", after=after, tiny=tiny(cell.config))


def tiny(config: Config) -> bool:
    """Whether a cell has one thread and no GPU: the desk's figures are then the same on every machine."""
    return config.task.name in DESKS


def _write_config(out: Path, name: str, config: Config) -> Path:
    path = out / "configs" / f"{name}.yaml"
    with writing(path):
        path.parent.mkdir(exist_ok=True)
    write_atomic(path, dump_config(config))
    return path


def seconds_of(grid: Grid, out: Path) -> float:
    """Seconds that the processes of this grid's cells and banks took in all, over every start of them."""
    names = {f"bank-{folder.name}" for folder in grid.banks}
    for cell in grid.cells:
        names |= {f"{cell.evaluated.parent.name}-{cell.evaluated.name}", *([cell.trained.name] if cell.trained else [])}
    rows = read_jsonl(out / SECONDS) if (out / SECONDS).exists() else []
    return round(sum(row["seconds"] for row in rows if row["job"] in names), 1)
