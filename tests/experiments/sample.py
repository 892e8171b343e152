"""Results as results.json holds them, of three arms on an axis, with the outcomes that they would rest on."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from pydantic import TypeAdapter

from realm.experiments.comparison import Compared, Outcome, paired
from realm.experiments.results import Key
from realm.rows.experiment import Results

SEEDS = (0, 1, 2)
SKILL = {"base": 0.3, "low": 0.6, "mid": 0.62, "high": 0.2}


class Invented:
    """Takes the place of `realm.experiments.results.Outcomes`: every question is right with the arm's skill."""

    def __init__(self, skill: dict[str, float] = SKILL, questions: int = 200) -> None:
        self.arms, self.skill, self.questions = list(skill), skill, questions
        self.headline: Key = ("test", False)
        self.seeds = list(SEEDS)
        self.resamples, self.seed = 200, 0

    def of(self, arm: str, key: Key) -> list[Outcome]:
        runs = []
        for seed in self.seeds:
            source = Random(f"{seed} {key}")  # the same chance for every arm: they are paired
            skill = self.skill[arm] + 0.2 * key[1]
            runs.append({f"q{n}": float(source.random() < skill) for n in range(self.questions)})
        return runs

    def compare(self, arm: str, against: str, key: Key) -> Compared:
        return paired(self.of(arm, key), self.of(against, key), self.resamples, 0)


def pair(arm: str, against: str, measure: str, difference: float, p: float) -> dict[str, Any]:
    ends = {"low": difference - 0.05, "high": difference + 0.05}
    return {"arm": arm, "against": against, "measure": measure, "difference": difference, **ends, "p": p / 2,
            "p_corrected": p}  # fmt: skip


def results(**changes: Any) -> Results:
    measures = [
        {"name": "test/without", "split": "test", "routes": False, "label": "test, without routes"},
        {"name": "test/with", "split": "test", "routes": True, "label": "test, with routes"},
    ]
    cells = [
        {
            "arm": arm, "measure": measure["name"], "mean": mean, "low": mean - 0.04, "high": mean + 0.04,
            "seeds": {str(seed): mean + 0.01 * (seed - 1) for seed in SEEDS},
        }
        for arm, skill in SKILL.items() for measure in measures for mean in [skill + 0.2 * measure["routes"]]
    ]  # fmt: skip
    found: dict[str, Any] = {
        "name": "sample",
        "title": "A sample",
        "question": "Which?",
        "command": "realm experiment sample",
        "kind": "train",
        "fast": False,
        "seconds": 125.0,
        "seeds": list(SEEDS),
        "threads": 1,
        "machine": "a machine",
        "versions": {"python": "3.11", "torch": "2"},
        "budget": {"steps": 5, "completions_per_step": 96, "examples_per_step": 32},
        "arms": [{"name": arm, "set": {}} for arm in SKILL],
        "measures": measures,
        "headline": "test/without",
        "cells": cells,
        "gaps": [{"arm": arm, "split": "test", "mean": 0.2, "low": 0.1, "high": 0.3} for arm in SKILL],
        "gap_pairs": [
            {"arm": "mid", "against": "low", "split": "test", "difference": -0.12, "low": -0.2, "high": -0.05,
             "p": 0.01, "p_corrected": 0.02},
        ],
        "pairs": [
            pair("mid", "base", "test/without", 0.32, 0.003),
            pair("mid", "low", "test/without", 0.02, 0.4),
            pair("mid", "base", "test/with", 0.32, 0.003),
            pair("mid", "low", "test/with", 0.02, 0.4),
        ],
        "axis": {"label": "dose", "values": {"low": 0.0, "mid": 0.5, "high": 1.0}},
        "kinds": [{"arm": "mid", "kind": "bin", "mean": 0.5}, {"arm": "low", "kind": "left", "mean": 0.25}],
        "judging": [
            {"arm": "mid", "split": "test", "same_err": 0.25, "same_err_all": 0.05, "scoring_accuracy": 0.875,
             "auroc": 0.91},
            {"arm": "low", "split": "test", "same_err": 0.5, "same_err_all": 0.1, "scoring_accuracy": None,
             "auroc": None},
        ],
        "cost": [
            {"arm": "mid", "seed": 0, "steps": 5, "completions": 480, "tokens": 12345, "teacher_tokens": None,
             "seconds": 61.4},
        ],
        "curves": [],
        "training": [
            {"arm": "mid", "measure": "without", "seeds": 3, "start": {"step": 0, "mean": 0.25},
             "best": {"step": 40, "mean": 0.75}, "end": {"step": 80, "mean": 0.65},
             "falls": {"step": 60, "difference": 0.125, "low": 0.03, "high": 0.22}},
            {"arm": "mid", "measure": "with", "seeds": 3, "start": {"step": 0, "mean": 0.5},
             "best": {"step": 80, "mean": 0.875}, "end": {"step": 80, "mean": 0.875}, "falls": None},
            {"arm": "low", "measure": "without", "seeds": 3, "start": {"step": 0, "mean": 0.25},
             "best": {"step": 80, "mean": 0.5}, "end": {"step": 80, "mean": 0.5}, "falls": None},
        ],
        "shown": [],
        "banks": [],
        "finding": "It was found.",
    }  # fmt: skip
    row: Results = TypeAdapter(Results).validate_json(json.dumps({**found, **changes}), strict=True)
    return row
