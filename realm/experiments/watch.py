"""What the cells of an experiment have come to, while they run: done, running with stage and step, left, time left."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Group
from rich.table import Table

from realm.config import Config
from realm.experiments.grid import Cell
from realm.experiments.jobs import Job
from realm.recipes import plan
from realm.rows.base import Place
from realm.rows.evaluation import Evaluation
from realm.rows.training import RlStep, Step
from realm.run import RunFolder
from realm.text import clock, percent

#: What an evaluation costs in training runs, and a step of SFT in steps of RL, roughly; only the shown time left rests
#: on them.
_EVALUATION, _SFT_STEP = 0.15, 0.1


def training_progress(config: Config, folder: Path) -> tuple[str, float, float | None]:
    """How far a training run has come: stage and step in words, share done in [0, 1], its last reward."""
    stages = plan(config)
    costs = [stage.steps * (1.0 if stage.kind == "rl" else _SFT_STEP) for stage in stages]
    metrics: list[Place] = [*RunFolder(folder).read(Step)]
    last = metrics[-1] if metrics else Place(stage=stages[0].rows, step=0)
    where = last.stage, last.round
    place = next((n for n, stage in enumerate(stages) if (stage.rows, stage.round) == where), 0)
    steps = stages[place].steps
    ended = place == len(stages) - 1 and last.step >= steps
    words = f"{'evaluation' if ended else last.stage} {last.step}/{steps}"
    share = (sum(costs[:place]) + costs[place] * last.step / steps) / sum(costs)
    return words, min(share, 1.0) * (1 - _EVALUATION), last.reward if isinstance(last, RlStep) else None


def accuracies_so_far(folder: Path) -> dict[str, float]:
    """The last accuracies `without` and `with` routes that a run has measured on validation or test questions."""
    return {
        "with" if row.routes else "without": row.accuracy
        for row in RunFolder(folder).read(Evaluation)
        if row.split in ("validation", "test")
    }


class Watch:
    """The running cells as a table, and a line on all of them.

    Args:
        cells: of the experiment.
        jobs: those of the cells that are owed, by the folder they fill.
    """

    def __init__(self, cells: Sequence[Cell], jobs: Mapping[Path, Job]) -> None:
        self._cells = list({cell.evaluated: cell for cell in cells}.values())
        self._jobs = jobs
        self._owed = [cell for cell in self._cells if self._folders(cell)]
        self._kept = len(self._cells) - len(self._owed)
        self._started = time.monotonic()

    def _folders(self, cell: Cell) -> list[Path]:
        """What is owed of a cell: the folders of its training and of its own evaluation."""
        folders = ([cell.trained] if cell.trained else []) + [cell.evaluated]
        return [folder for folder in dict.fromkeys(folders) if folder in self._jobs]

    def _share(self, folder: Path, cell: Cell) -> float:
        """Share of a job that is done, in [0, 1]."""
        job = self._jobs[folder]
        if job.state in ("done", "failed"):
            return 1.0
        if job.state == "waiting" or folder != cell.trained:
            return 0.0
        return training_progress(cell.config, folder)[1]

    def render(self) -> Group:
        """The table of what runs, and the line below it."""
        table = Table(box=None, padding=(0, 2))
        for column in ("cell", "stage", "reward", "without routes", "with routes"):
            table.add_column(column, justify="left" if column in ("cell", "stage") else "right")
        done = total = 0.0
        for cell in self._owed:
            for folder in self._folders(cell):
                weight = 1.0 if folder == cell.trained else _EVALUATION
                share = self._share(folder, cell)
                total += weight
                done += weight * share
                if self._jobs[folder].state == "running":
                    table.add_row(f"{cell.arm} seed {cell.seed}", *self._figures(cell, folder))
        return Group(table, self._line(done / total if total else 1.0))

    def _figures(self, cell: Cell, folder: Path) -> list[str]:
        if folder != cell.trained:
            return ["evaluation", "", "", ""]
        words, _, reward = training_progress(cell.config, folder)
        found = accuracies_so_far(folder)
        return [
            words,
            "" if reward is None else f"{reward:.2f}",
            *(percent(found[way]) if way in found else "" for way in ("without", "with")),
        ]

    def _line(self, share: float) -> str:
        states = [self._state(cell) for cell in self._owed]
        parts = [f"{self._kept + states.count('done')} of {len(self._cells)} cells done"]
        parts += [f"{states.count(state)} {state}" for state in ("running", "failed") if state in states]
        parts.append(f"{states.count('waiting')} left")
        elapsed = time.monotonic() - self._started
        parts.append(f"{clock(elapsed)} elapsed")
        if 0.02 < share < 1:
            parts.append(f"about {clock(elapsed * (1 - share) / share)} left")
        return ", ".join(parts)

    def _state(self, cell: Cell) -> str:
        """The worst news of a cell's jobs: failed, running, waiting, done."""
        states = {self._jobs[folder].state for folder in self._folders(cell)}
        if states == {"done", "waiting"}:
            return "running"  # trained, and soon evaluated
        return next(state for state in ("failed", "running", "waiting", "done") if state in states)
