"""Results of an experiment that look like a runner's, made in milliseconds from a seed."""

from __future__ import annotations

import json
import random
from typing import Any

from pydantic import TypeAdapter

from realm.rows.experiment import Results

#: arm -> (accuracy without routes at the end, the same with routes)
ARMS = {"0 %": (0.52, 0.81), "25 %": (0.6, 0.84), "50 %": (0.66, 0.88), "75 %": (0.61, 0.8), "100 %": (0.47, 0.62)}
KINDS = ("return window", "refund amount", "restock code", "damaged item", "gift receipt")
SEEDS = (0, 1, 2)


def _spread(mean: float, half: float = 0.04) -> dict[str, float]:
    return {"mean": mean, "low": max(0.0, mean - half), "high": min(1.0, mean + half)}


def results(
    arms: dict[str, tuple[float, float]] | None = None, *, axis: bool = True, shout: str = "", seed: int = 0
) -> dict[str, Any]:
    """What a runner hands to the page; `shout` stands at the head of every text that others could have chosen."""
    rng = random.Random(seed)
    levels = {f"{shout}{arm}": pair for arm, pair in (arms or ARMS).items()}
    measures = [
        {"name": f"{split}/{'with' if routes else 'without'}", "split": split, "routes": routes}
        | {"label": f"{shout}{split}, {'with' if routes else 'without'} routes"}
        for split in ("test", "ood")
        for routes in (False, True)
    ]
    cells, curves, cost = [], [], []
    for arm, (alone, helped) in levels.items():
        for measure in measures:
            level = (helped if measure["routes"] else alone) - 0.1 * (measure["split"] == "ood")
            seeds = {str(number): min(1.0, max(0.0, level + rng.gauss(0, 0.02))) for number in SEEDS}
            cells.append({"arm": arm, "measure": measure["name"], "seeds": seeds} | _spread(sum(seeds.values()) / 3))
        for number in SEEDS:
            for name, end in (("without", alone), ("with", helped)):
                start = 0.4 if name == "without" else 0.8
                points = [[step, min(1.0, max(0.0, start + (end - start) * step / 200 + rng.gauss(0, 0.015)))]
                          for step in range(0, 201, 25)]  # fmt: skip
                curves.append({"arm": arm, "seed": number, "measure": name, "points": points})
            cost.append(
                {"arm": arm, "seed": number, "steps": 200, "completions": 19_200, "tokens": 1_160_000 + 1000 * number}
                | {"teacher_tokens": 410_000, "seconds": 190.0 + 10 * number}
            )
    names = list(levels)
    pairs = []
    for name in names[1:]:
        for measure in ("test/without", "ood/without"):
            gain = levels[name][0] - levels[names[0]][0]
            pairs.append(
                {"arm": name, "against": names[0], "measure": measure, "difference": gain, "low": gain - 0.05}
                | {"high": gain + 0.05, "p": 0.004 if abs(gain) > 0.05 else 0.2, "p_corrected": 0.016}
            )
    gaps = [
        {"arm": arm, "split": split} | _spread(helped - alone)
        for arm, (alone, helped) in levels.items()
        for split in ("test", "ood")
    ]
    return {
        "name": "error-ratio",
        "title": f"{shout}How many wrong routes can a student bear?",
        "question": f"{shout}How does the share of wrong routes in the prompt change what the student learns?",
        "command": "realm experiment error-ratio --seeds 3",
        "kind": "train",
        "threads": 1,
        "fast": False,
        "seeds": list(SEEDS),
        "machine": f"{shout}2 CPU cores, 4 GB",
        "versions": {"realm": "0.1.0", "trl": "1.16.0"},
        "seconds": 3721.5,
        "budget": {"steps": 200, "completions_per_step": 96},
        "arms": [
            {"name": name, "set": {"routes.error_ratio": index / 4, "note": shout}} for index, name in enumerate(names)
        ],
        "measures": measures,
        "headline": "test/without",
        "cells": cells,
        "gaps": gaps,
        "gap_pairs": [
            {"arm": names[1], "against": names[0], "split": "test", "difference": -0.05, "low": -0.09, "high": -0.01}
            | {"p": 0.024, "p_corrected": 0.048}
        ],
        "training": [
            {"arm": names[1], "measure": "without", "seeds": 3, "start": {"step": 0, "mean": 0.4}}
            | {"best": {"step": 100, "mean": 0.66}, "end": {"step": 200, "mean": 0.6}}
            | {"falls": {"step": 150, "difference": 0.05, "low": 0.02, "high": 0.08}}
        ],
        "judging": [
            {"arm": names[1], "split": "test", "same_err": 0.4, "same_err_all": 0.1, "scoring_accuracy": 0.85}
            | {"auroc": 0.9},
            {"arm": names[0], "split": "test", "same_err": None, "same_err_all": 0.2, "scoring_accuracy": None},
        ],
        "shown": [{"arm": names[1], "routes": 4.0, "wrong": 0.25, "dropped": 0.5}],
        "banks": [
            {"name": f"{shout}poor", "teacher": 0.4, "student": 0.2, "gap": 0.2, "low": 0.1, "high": 0.3}
            | {"distance": 0.42, "pair": names[1::-1]}
        ],
        "pairs": pairs,
        "sums": [
            {"arm": arm, "measure": "ood/without", "seeds": {str(number): helped for number in SEEDS}} | _spread(helped)
            for arm, (_, helped) in list(levels.items())[1:]
        ],
        "sum_pairs": [
            {"arm": names[1], "against": names[0], "measure": "ood/without", "difference": -0.04, "low": -0.07}
            | {"high": -0.01, "p": 0.01, "p_corrected": 0.02}
        ],
        "operators": [
            {"arm": name, "measure": "ood/without", "operator": "-", "n": 120, "true": 0.375} for name in names[1:]
        ],
        "axis": {"label": f"{shout}wrong routes, %", "values": {name: 25.0 * index for index, name in enumerate(names)}}
        if axis
        else None,
        "spreads": [
            {"group": f"{shout}wording", "measure": "test/without", "arms": 5, "lowest": names[0], "highest": names[1]}
            | {"difference": 0.14, "low": 0.08, "high": 0.2}
        ],
        "kinds": [
            {"arm": arm, "kind": f"{shout}{kind}", "mean": min(1.0, max(0.0, alone + rng.gauss(0, 0.15)))}
            for arm, (alone, _) in levels.items()
            for kind in KINDS
        ],
        "cost": cost,
        "curves": curves,
        "finding": f"{shout}Half of the routes wrong is best: 66.0 % without routes, 52.0 % where all are right.",
    }


def read(results: dict[str, Any]) -> Results:
    """Results as the file's reader gives them."""
    row: Results = TypeAdapter(Results).validate_json(json.dumps(results), strict=True)
    return row
