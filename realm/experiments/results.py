"""What the finished cells of an experiment say, as one mapping: `results.json`, from which page and plot are made.

Accuracies, intervals and differences are shares in [0, 1]. The keys are described in docs/howto/experiments.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb
from pathlib import Path
from statistics import fmean
from typing import Any

from realm.errors import DataError
from realm.experiments.comparison import Compared, Outcome, accuracies, holm, paired, pooled_mean, subtract, tested
from realm.experiments.courses import courses
from realm.experiments.grid import Cell, Grid
from realm.experiments.runner import tiny
from realm.experiments.spec import UNTRAINED, Spec
from realm.run import RunFolder, position

#: The fewest resamples, and how many more for every test that p-values are corrected over: the p of a bootstrap is at
#: least 2 / (resamples + 1), and times the number of tests that must stay below any level of use.
RESAMPLES, _EACH = 2000, 100
#: A split, and whether routes are shown.
Key = tuple[str, bool]


class Outcomes:
    """The outcome of every question, by arm and measure; one mapping a seed."""

    def __init__(self, spec: Spec, grid: Grid) -> None:
        along = comb(len(spec.arms), 2) if spec.axis else 0
        self.resamples = max(RESAMPLES, grid.common.evaluation.bootstrap, _EACH * max(len(spec.pairs), along))
        self.seed = grid.common.run.seed
        self.arms = list(dict.fromkeys(cell.arm for cell in grid.cells))
        self._found = {arm: [_outcome(cell.evaluated) for cell in grid.of(arm)] for arm in self.arms}
        self.seeds = list(dict.fromkeys(cell.seed for cell in grid.cells))
        first, *others = (seed for seeds in self._found.values() for seed in seeds)
        self.measures = [key for key in first if all(key in other for other in others)]
        if spec.measures:
            wanted = [(split, ways == "with") for split, ways in spec.measures]
            self.measures = [self._known(key) for key in wanted]
        split, ways = spec.headline
        self.headline = self._known((split, ways == "with"))
        self.also = [self._known((split, ways == "with")) for split, ways in spec.also]
        for split, ways in spec.asked:
            self._known((split, ways == "with"))

    def _known(self, key: Key) -> Key:
        if key not in self.measures:
            names = ", ".join(map(measure_name, self.measures))
            raise DataError(f"measure {measure_name(key)}: not every cell has it; all have {names}.")
        return key

    def of(self, arm: str, key: Key) -> list[Outcome]:
        """The outcomes of an arm, one mapping a seed."""
        return [seed[key] for seed in self._found[arm]]

    def compare(self, arm: str, against: str, key: Key) -> Compared:
        """The difference of two arms, paired by seed and question."""
        return paired(self.of(arm, key), self.of(against, key), self.resamples, self.seed)

    def with_gap(self) -> list[str]:
        """The splits that were measured both without and with routes."""
        splits = dict.fromkeys(split for split, _ in self.measures)
        return [split for split in splits if {(split, False), (split, True)} <= set(self.measures)]

    def gap(self, arm: str, split: str) -> list[Outcome]:
        """What routes change at every question, with − without; one mapping a seed."""
        return [
            subtract(*sides) for sides in zip(self.of(arm, (split, True)), self.of(arm, (split, False)), strict=True)
        ]

    def test(self, differences: Sequence[Outcome]) -> Compared:
        """Their mean, with interval and p-value."""
        return tested(differences, self.resamples, self.seed)


def measure_name(key: Key) -> str:
    """`test/without`, for example."""
    return f"{key[0]}/{'with' if key[1] else 'without'}"


def _outcome(folder: Path) -> dict[Key, Outcome]:
    return {(split, bool(routes)): found for (split, routes), found in accuracies(folder).items()}


def make_results(spec: Spec, grid: Grid, found: Outcomes) -> dict[str, Any]:
    """Everything of results.json that rests on the cells: all but the name, the command, the time and the finding.

    Raises:
        DataError: a measure that the file asks for was not taken, or a file of a cell cannot be read.
    """
    metas = [RunFolder(cell.evaluated).meta for cell in grid.cells]
    curves = [curve for cell in grid.cells if cell.trained for curve in curves_of(cell, cell.trained)]
    return {
        "seeds": found.seeds,
        "threads": 1 if tiny(grid.common) else None,
        "machine": "; ".join(dict.fromkeys(meta["machine"] for meta in metas)),
        "versions": _versions([meta["versions"] for meta in metas]),
        "budget": _budget(grid),
        "arms": [{"name": arm, "set": _settings(spec, arm)} for arm in found.arms],
        "measures": [_measure(key) for key in found.measures],
        "headline": measure_name(found.headline),
        "also": [measure_name(key) for key in found.also],
        "cells": [_cell(found, arm, key) for arm in found.arms for key in found.measures],
        "gaps": _gaps(found),
        "gap_pairs": _gap_pairs(spec, found),
        "pairs": _pairs(spec, found),
        "axis": spec.axis.model_dump() if spec.axis else None,
        "kinds": _kinds(grid, found),
        "judging": _judging(grid, found),
        "cost": _costs(grid),
        "curves": curves,
        "training": courses(curves),
    }


def _versions(each: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Package -> version; all of them where cells were made with different ones."""
    packages = dict.fromkeys(package for one in each for package in one)
    found = {name: dict.fromkeys(one[name] for one in each if name in one) for name in packages}
    return {name: " and ".join(versions) for name, versions in found.items()}


def _budget(grid: Grid) -> dict[str, Any]:
    """What a step is, and the optimizer steps of an arm: a number where they are all equal, else words."""
    steps = {row["arm"]: row["steps"] for row in _costs(grid)}
    equal = len(set(steps.values())) == 1
    training = grid.common.training
    return {
        "steps": next(iter(steps.values())) if equal else ", ".join(f"{arm} {n}" for arm, n in steps.items()),
        "completions_per_step": training.rl.batch_size,
        "examples_per_step": training.sft.batch_size,
    }


def _settings(spec: Spec, arm: str) -> dict[str, Any]:
    if arm == UNTRAINED:
        return {}
    settings = spec.arms[arm]
    return {**(spec.banks[settings.bank] if settings.bank else {}), **settings.set}


def _measure(key: Key) -> dict[str, Any]:
    split, routes = key
    label = f"{split}, {'with' if routes else 'without'} routes"
    return {"name": measure_name(key), "split": split, "routes": routes, "label": label}


def _cell(found: Outcomes, arm: str, key: Key) -> dict[str, Any]:
    runs = found.of(arm, key)
    mean, low, high = pooled_mean(runs, found.resamples, found.seed)
    each = {str(seed): fmean(run.values()) for seed, run in zip(found.seeds, runs, strict=True)}
    return {"arm": arm, "measure": measure_name(key), "mean": mean, "low": low, "high": high, "seeds": each}


def _gaps(found: Outcomes) -> list[dict[str, Any]]:
    """`autonomy_gap`: accuracy with − without routes, paired by seed and question."""
    rows = []
    for split in found.with_gap():
        for arm in found.arms:
            gap = found.test(found.gap(arm, split))
            rows.append({"arm": arm, "split": split, "mean": gap.difference, "low": gap.low, "high": gap.high})
    return rows


def _gap_pairs(spec: Spec, found: Outcomes) -> list[dict[str, Any]]:
    """How much smaller or larger one arm's gap is than another's, of the pairs that are asked in every measure."""
    pairs = [(pair.arm, pair.against) for pair in spec.pairs if pair.measure is None]
    rows = []
    for split in found.with_gap():
        tests = [
            found.test([subtract(*gaps) for gaps in zip(found.gap(arm, split), found.gap(other, split), strict=True)])
            for arm, other in pairs
        ]
        corrected = holm([test.p for test in tests])
        for (arm, against), test, p in zip(pairs, tests, corrected, strict=True):
            rows.append({"arm": arm, "against": against, "split": split, **test._asdict(), "p_corrected": p})
    return rows


def _pairs(spec: Spec, found: Outcomes) -> list[dict[str, Any]]:
    """The differences asked for, p-values corrected over the pairs of one measure."""
    rows = []
    for key in found.measures:
        pairs = [(pair.arm, pair.against) for pair in spec.pairs if pair.of(key)]
        tests = [found.compare(*pair, key) for pair in pairs]
        corrected = holm([test.p for test in tests])
        for (arm, against), test, p in zip(pairs, tests, corrected, strict=True):
            row = {"arm": arm, "against": against, "measure": measure_name(key)}
            rows.append({**row, **test._asdict(), "p_corrected": p})
    return rows


#: What evaluations hold of how routes were read, besides the accuracy.
JUDGING = ("same_err", "same_err_all", "scoring_accuracy", "auroc")


def _judging(grid: Grid, found: Outcomes) -> list[dict[str, Any]]:
    """How every arm reads the routes it is shown, by split: means over the seeds; None where a seed has no figure."""
    rows = []
    for arm in found.arms:
        for split in (split for split, routes in found.measures if routes):
            taken = [
                row
                for cell in grid.of(arm)
                for row in RunFolder(cell.evaluated).read("evaluations.jsonl")
                if row["stage"] == "final" and row["split"] == split and row["routes"]
            ]
            values = {name: [row[name] for row in taken if row.get(name) is not None] for name in JUDGING}
            means = {name: fmean(each) if len(each) == len(taken) > 0 else None for name, each in values.items()}
            rows.append({"arm": arm, "split": split, **means})
    return rows


def _kinds(grid: Grid, found: Outcomes) -> list[dict[str, Any]]:
    """The headline measure by kind of question, the mean over the seeds."""
    rows = []
    for arm in found.arms:
        values: dict[str, list[float]] = {}
        for cell in grid.of(arm):
            for row in RunFolder(cell.evaluated).read("evaluations.jsonl"):
                if row["stage"] == "final" and (row["split"], bool(row["routes"])) == found.headline:
                    for kind, value in row["by_kind"].items():
                        values.setdefault(kind, []).append(value["accuracy"])
        rows += [{"arm": arm, "kind": kind, "mean": fmean(each)} for kind, each in values.items()]
    return rows


def _costs(grid: Grid) -> list[dict[str, Any]]:
    """What every training took; seconds without evaluation, over all resumes."""
    rows = []
    for cell in grid.cells:
        if cell.trained is not None:
            cost = RunFolder(cell.trained).meta["cost"]
            figures = {name: cost.get(name) for name in ("steps", "completions", "tokens", "teacher_tokens", "seconds")}
            rows.append({"arm": cell.arm, "seed": cell.seed, **figures})
    return rows


def curves_of(cell: Cell, trained: Path) -> list[dict[str, Any]]:
    """Validation accuracy while training, steps counted on over the stages; with routes means those of the arm."""
    run = RunFolder(trained)
    starts = _stage_starts(run.read("metrics.jsonl"))
    points: dict[str, list[list[float]]] = {}
    rows = [row for row in run.read("evaluations.jsonl") if row["split"] == "validation" and row["stage"] != "final"]
    for row in sorted(rows, key=position):
        step = starts.get((row.get("round") or 0, row["stage"]), 0) + row["step"]
        points.setdefault("with" if row["routes"] else "without", []).append([step, row["accuracy"]])
    where = {"arm": cell.arm, "seed": cell.seed}
    return [{**where, "measure": measure, "points": found} for measure, found in points.items()]


def _stage_starts(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], int]:
    """Steps before each stage of a run, by (round, stage)."""
    lengths: dict[tuple[int, str], int] = {}
    for row in rows:
        key = row.get("round") or 0, row["stage"]
        lengths[key] = max(lengths.get(key, 0), row["step"])
    starts, before = {}, 0
    for key, length in lengths.items():
        starts[key] = before
        before += length
    return starts


def cell_of(results: Mapping[str, Any], arm: str, measure: str) -> dict[str, Any]:
    """The accuracy of an arm in a measure, as results.json holds it."""
    found: dict[str, Any] = next(row for row in results["cells"] if row["arm"] == arm and row["measure"] == measure)
    return found
