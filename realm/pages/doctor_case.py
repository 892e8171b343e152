"""A run as the checks of `realm doctor` see it, and what a check finds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean, pvariance
from typing import Literal

from realm.pages.data import Report, Result, Run, figure
from realm.processes import command
from realm.recipes import known
from realm.rows.run import BankStats
from realm.rows.training import RlStep
from realm.run_rows import read_row

#: How bad it is: the run did not come through, it learned less than it could, or something is worth a look.
Weight = Literal["broken", "harmful", "hint"]
#: Rows of metrics below which the course of a figure is not judged.
MIN_ROWS = 8


@dataclass(frozen=True)
class Finding:
    """One sign that was found: what is so (with the figure), what to do, and the dotted keys of the settings meant."""

    check: str
    weight: Weight
    says: str
    advice: str
    settings: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trend:
    """Means of the first and of the last quarter of a course, and the standard error of their difference."""

    early: float
    late: float
    error: float

    @property
    def change(self) -> float:
        return self.late - self.early

    @property
    def rises(self) -> bool:
        return self.change > 2 * self.error

    @property
    def falls(self) -> bool:
        return self.change < -2 * self.error


def trend(values: list[float]) -> Trend | None:
    """How a figure moved from the first to the last quarter of its rows; None for fewer than `MIN_ROWS`."""
    if len(values) < MIN_ROWS:
        return None
    part = max(3, len(values) // 4)
    early, late = values[:part], values[-part:]
    return Trend(fmean(early), fmean(late), math.sqrt((pvariance(early) + pvariance(late)) / part))


@dataclass
class Case:
    """One run as the checks see it.

    `now`: seconds since the epoch, against which the age of the last row is told.
    """

    run: Run
    report: Report
    now: float

    @cached_property
    def rl(self) -> list[RlStep]:
        """The rows of the last round of RL, in order: an earlier round's student is not the one that is left."""
        last = max((row.round for row in self.run.rl), default=0)
        return [row for row in self.run.rl if row.round == last]

    def values(self, name: str) -> list[float]:
        """A figure of the last round of RL, row by row, without the rows that lack it."""
        return [value for row in self.rl if (value := figure(row, name)) is not None]

    def trend(self, name: str) -> Trend | None:
        return trend(self.values(name))

    def value(self, key: str, default: float) -> float:
        """A setting that is a number; `default` where there is none."""
        found = self.run.setting(key)
        return float(found) if isinstance(found, int | float) else default

    def told(self, key: str) -> str:
        """A setting by its key and, where it is a plain value, what it is now."""
        found = self.run.setting(key)
        return f"{key} (now {found})" if isinstance(found, int | float | str) else key

    @property
    def shows_routes(self) -> bool:
        """Whether the student of this run saw routes in training."""
        recipe = known(self.run.config.training.recipe) if self.run.config is not None else None
        return (recipe is None or recipe.shows_routes) and self.value("routes.k", 1) > 0

    @property
    def shows_examples(self) -> bool:
        """Whether prompts show answered questions: a run that is left to choose writes down which."""
        examples = self.run.setting("prompt.examples")
        return isinstance(examples, list) and bool(examples)

    @cached_property
    def bank(self) -> BankStats:
        """What the run learned from."""
        return read_row(self.run.folder, BankStats, self.report.notes) or BankStats()

    def validation(self, with_routes: bool) -> tuple[Result | None, list[Result]]:
        """The last validation figure before the last round of RL, and those within it."""
        last = self.rl[0].round if self.rl else 0
        rows = [
            row
            for row in self.run.evaluations
            if row.split == "validation" and (row.routes > 0) == with_routes and row.n
        ]
        within = sorted((row for row in rows if row.stage == "rl" and row.round == last), key=lambda row: row.step)
        before = [row for row in rows if row.stage != "final" and row not in within]
        before.sort(key=lambda row: (self.run.position(row.stage, row.round, row.step), row.stage != "base"))
        return (before[-1] if before else None), within

    def again(self) -> str:
        """The command that goes on with the run, launched as it was."""
        return command("train", str(self.run.folder), "--resume", launch=self.run.meta.launch)


def standing(case: Case) -> str:
    """Where the run stands: stage and step of its last row, of how many; empty before the first."""
    if not case.run.metrics:
        return ""
    row = case.run.metrics[-1]
    total = case.run.setting(f"training.{row.stage}.steps")
    return f"{row.stage.upper()} step {row.step}" + (f" of {total}" if total else "")
