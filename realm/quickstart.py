"""`realm quickstart`: the recipes side by side on the embedded desk, from one base model, bank and budget.

Every recipe is an ordinary `realm train` in a process of its own; this module collects the bank, starts them, watches
their files, and compares what they wrote. The budget is counted in optimizer steps: those of the cold start of realm-r1
are taken from its RL, so that no recipe gets more of them than another.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table

from realm.analysis.stats import statistics
from realm.bank.folder import BankFolder
from realm.bank.store import Bank
from realm.batch import (
    FAST,
    FAST_NOTE,
    accuracies_so_far,
    as_minutes,
    as_number,
    as_percent,
    read_rows,
    run_shown,
    training_progress,
    with_values,
)
from realm.comparison import accuracies
from realm.config import Config, dump_config
from realm.errors import ConfigError, ResourceError
from realm.evaluation.measures import paired_difference
from realm.files import write_atomic
from realm.jobs import Job
from realm.method.seeds import derive
from realm.report import write_report
from realm.rows.base import record
from realm.run import RunFolder, machine, versions
from realm.student.load import load
from realm.tasks.base import Task
from realm.tasks.registry import load_task
from realm.tasks.workers import VerifierPool
from realm.teacher.collect import bank_info, collect, costly, make_plan

#: The recipes, the slow ones first so that the cores stay busy to the end.
RECIPES = ("realm-zero", "realm-r1", "grpo")
BASE = "base"
#: The models in the order of the table, and the differences reported.
NAMES = (BASE, "grpo", "realm-zero", "realm-r1")
PAIRS = (
    *((name, BASE) for name in NAMES[1:]),
    ("realm-zero", "grpo"),
    ("realm-r1", "grpo"),
    ("realm-r1", "realm-zero"),
)
#: Expected share of the whole time: a step with routes in the prompt costs about twice one without.
_WEIGHTS = {"realm-zero": 2.0, "realm-r1": 1.8, "grpo": 1.0, BASE: 0.3}


def recipe_configs(config: Config, folder: Path) -> dict[str, Config]:
    """The configuration of every run of the quickstart, by its name; all see the bank in `folder`."""
    training = config.training
    if training.sft.steps >= training.rl.steps:
        raise ConfigError(
            f"training.sft.steps ({training.sft.steps}) must be below training.rl.steps ({training.rl.steps}): "
            "realm-r1 takes its cold start out of the common budget of steps."
        )
    shared = {"run.dir": str(folder), "bank.path": str(folder / "bank")}
    configs = {}
    for recipe in RECIPES:
        changes: dict[str, Any] = {**shared, "run.name": recipe, "training.recipe": recipe}
        if recipe == "realm-r1":
            changes["training.rl.steps"] = training.rl.steps - training.sft.steps
        configs[recipe] = with_values(config, changes)
    configs[BASE] = with_values(config, {**shared, "run.name": BASE})
    return configs


class Watch:
    """What the runs have written so far, as a table."""

    def __init__(self, jobs: dict[str, Job], configs: dict[str, Config], folder: Path) -> None:
        self.jobs, self.configs, self.folder = jobs, configs, folder
        self.started = time.monotonic()

    def _progress(self, name: str) -> tuple[str, float, dict[str, Any]]:
        """Stage and step in words, share done in [0, 1], and the figures to show."""
        job, folder = self.jobs[name], self.folder / name
        if job.state != "running":
            return job.state, float(job.state == "done"), dict(accuracies_so_far(folder))
        if name == BASE:
            return "evaluation", 0.5, {}
        words, share, last = training_progress(self.configs[name], folder)
        return words, share, {"reward": last.get("reward"), "p": last.get("p"), **accuracies_so_far(folder)}

    def render(self) -> Group:
        table = Table(box=None, padding=(0, 2))
        for column in ("recipe", "stage", "p", "reward", "without routes", "with routes"):
            table.add_column(column, justify="left" if column in ("recipe", "stage") else "right")
        done = 0.0
        for name in self.jobs:
            stage, share, figures = self._progress(name)
            done += share * _WEIGHTS[name]
            cells = [as_number(figures.get("p")), as_number(figures.get("reward"))]
            table.add_row(name, stage, *cells, as_percent(figures.get("without")), as_percent(figures.get("with")))
        share = done / sum(_WEIGHTS.values())
        elapsed = time.monotonic() - self.started
        left = f"about {as_minutes(elapsed * (1 - share) / share)} left" if share > 0.02 else "estimating the time left"
        return Group(table, f"{share:.0%} done, {as_minutes(elapsed)} elapsed, {left}")


def _train_all(config: Config, folder: Path, console: Console) -> dict[str, Job]:
    configs = recipe_configs(config, folder)
    jobs: dict[str, Job] = {}
    (folder / "configs").mkdir(exist_ok=True)
    for name, settings in configs.items():
        path = folder / "configs" / f"{name}.yaml"
        write_atomic(path, dump_config(settings))
        if name == BASE:
            arguments = ["evaluate", str(path), "--model", config.model.path, "--out", str(folder / BASE)]
        else:
            arguments = ["train", str(path)]
        jobs[name] = Job(name, arguments, folder / "logs" / f"{name}.log")
    watch = Watch(jobs, configs, folder)
    # No more than two, however many cores there are: each takes up to 2 GB.
    run_shown(list(jobs.values()), min(2, os.cpu_count() or 1), watch.render, console)
    return jobs


def _cost(folder: Path, jobs: dict[str, Job]) -> list[dict[str, Any]]:
    """What each run consumed: optimizer steps, sampled completions, tokens seen by the student, seconds."""
    rows = []
    for name in RECIPES:
        cost = RunFolder(folder / name).meta.cost
        assert cost is not None
        spent = {key: value for key, value in record(cost).items() if key != "stages"}
        rows.append({"name": name, **spent, "seconds": round(jobs[name].seconds)})
    return rows


def _final_rows(folder: Path, name: str) -> list[dict[str, Any]]:
    rows = [row for row in read_rows(folder / name / "evaluations.jsonl") if row["stage"] == "final"]
    keys = {"split", "routes", "n", "accuracy", "by_kind", "same_err", "scoring_accuracy"}
    return [
        {
            "name": name,
            **{key: row[key] for key in sorted(keys)},
            "low": row["accuracy_low"],
            "high": row["accuracy_high"],
        }
        for row in rows
    ]


def _differences(folder: Path, config: Config) -> list[dict[str, Any]]:
    """Every recipe against the base, and the two of ReaLM against plain GRPO, paired by question."""
    outcomes = {name: accuracies(folder / name) for name in (BASE, *RECIPES)}
    rows = []
    for name, against in PAIRS:
        for split, routes in outcomes[name]:
            found = paired_difference(
                outcomes[name][split, routes],
                outcomes[against][split, routes],
                config.evaluation.bootstrap,
                derive(config.run.seed, "bootstrap"),
            )
            rows.append({"name": name, "against": against, "split": split, "routes": routes, **found._asdict()})
    return rows


def table(rows: list[dict[str, Any]]) -> Table:
    """Accuracy of every model with its 95 % interval, a section a split; narrow enough for 80 columns."""
    result = Table(title="Accuracy on held-out questions, 95 % intervals in brackets", title_justify="left")
    for column in ("split", "model", "without routes", "with routes"):
        result.add_column(column, justify="left" if column in ("split", "model") else "right", no_wrap=True)
    cells = {(row["split"], row["name"], bool(row["routes"])): row for row in rows}
    names = list(dict.fromkeys(row["name"] for row in rows))
    for split in dict.fromkeys(row["split"] for row in rows):
        for name in names:
            pair = (cells.get((split, name, False)), cells.get((split, name, True)))
            result.add_row(split if name == names[0] else "", name, *map(_interval, pair))
        result.add_section()
    return result


def _interval(row: dict[str, Any] | None) -> str:
    return f"{row['accuracy']:.1%} ({row['low']:.1%} – {row['high']:.1%})" if row else ""


def run_quickstart(config: Config, *, fast: bool, overwrite: bool, console: Console) -> Path:
    """Run the whole comparison and return its folder.

    Args:
        config: the common settings; `training.recipe` is set for each run.
        fast: take a few steps only, to see that everything works.
        overwrite: replace an earlier run of this name.
        console: where progress and the final table go.

    Raises:
        UserError: a setting that cannot work, or a name already used; nothing is written then.
        JobError: a run failed; its log is named.
    """
    started = time.monotonic()
    if fast:
        config = with_values(config, FAST)
    folder = config.run_path
    recipe_configs(config, folder)
    bank = folder / "bank"
    if (bank / "bank.json").exists() and costly(bank):
        raise ResourceError(
            f"{bank}: holds CoTs that did not come from the scripted teacher, and the quickstart would replace them. "
            "Move that bank away, or choose another --out."
        )
    task = load_task(config)
    make_plan(config, task)
    load(config.model.path, config.model.dtype)
    run = RunFolder.create(config, overwrite=overwrite)
    try:
        _compare(config, task, run, console, started, fast=fast)
    except BaseException as error:
        with contextlib.suppress(Exception):  # what stopped the run matters more than that it cannot be noted
            run.finish("interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) else "failed")
        raise
    return folder


def _compare(config: Config, task: Task, run: RunFolder, console: Console, started: float, *, fast: bool) -> None:
    folder = run.path
    console.print(f"realm quickstart: {', '.join(RECIPES)} on the returns desk, into {folder}")
    if fast:
        console.print(f"[yellow]{FAST_NOTE}[/]")
    if (folder / "bank" / "bank.json").exists():
        shutil.rmtree(folder / "bank")  # an earlier quickstart's, which cost nothing
    collected = BankFolder.create(folder / "bank", bank_info(config, task))
    with VerifierPool(task.verifier.name, config.task.choices, config.task.verifier_timeout) as pool:
        collect(config, task, collected, pool)
    bank = Bank.open(collected.path)
    stats = statistics(bank.groups(), verifier=task.verifier)
    console.print(
        f"bank: {len(bank)} CoTs of the scripted teacher on {stats['questions']} questions, "
        f"{stats['error_ratio']:.0%} wrong"
    )
    jobs = _train_all(config, folder, console)
    rows = [row for name in NAMES for row in _final_rows(folder, name)]
    seconds = round(time.monotonic() - started)
    summary = {
        "title": "Quickstart: three recipes on the returns desk",
        "note": FAST_NOTE if fast else "",
        "machine": machine(),
        "versions": versions(),
        "seed": config.run.seed,
        "seconds": seconds,
        "budget": {"steps": config.training.rl.steps, "completions_per_step": config.training.rl.batch_size},
        "rows": rows,
        "differences": _differences(folder, config),
        "cost": _cost(folder, jobs),
    }
    write_atomic(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    run.finish()
    page = write_report(folder)
    console.print(table(rows))
    if fast:
        console.print(f"[yellow]{FAST_NOTE}[/]")
    console.print(f"{as_minutes(seconds)} in all. Look at {page}; the trained models are in {folder}/*/model.")
