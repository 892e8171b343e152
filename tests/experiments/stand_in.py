"""Stands in for the command `realm` in the tests of experiments: writes what training, collecting and evaluating leave.

Run as `python stand_in.py COMMAND CONFIG …`. Every question's outcome is a function of recipe, seed and question.
STAND_IN_LOG names a file that every start is noted in; STAND_IN_FAILS a part of a run's name that fails;
STAND_IN_SLOW one that saves half of its steps and then waits to be stopped.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import yaml

QUESTIONS = 40
STEPS = 4
SKILL = {"grpo": 0.4, "realm-zero": 0.5, "realm-r1": 0.8}
ORIGIN = {"machine": "a machine", "versions": {"python": "3.11"}}


def write(folder: Path, file: str, rows: list[dict[str, Any]]) -> None:
    (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows))


def meta(folder: Path, status: str, **more: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meta.json").write_text(json.dumps({**ORIGIN, "status": status, **more}))


def measured(accuracy: float) -> dict[str, float]:
    return {"n": QUESTIONS, "accuracy": accuracy, "accuracy_low": accuracy, "accuracy_high": accuracy}


def text(right: bool, skill: float) -> str:
    """What it wrote; an arm of the least skill states no sum."""
    return "So 6." if skill == SKILL["grpo"] else f"1 + 1 = 2. 24 - 18 = {6 if right else 7}. So 6."


def evaluation(folder: Path, config: dict[str, Any], skill: float) -> None:
    predictions, summaries = [], []
    also = Path(config["evaluation"]["also"] or "")
    for split in ("test", "ood", *([f"{also.stem}:test"] if also.stem else [])):
        for routes in (0, config["routes"]["k"]) if ":" not in split else (0,):
            source = Random(f"{config['run']['seed']} {split} {routes} {skill}")
            right = [source.random() < skill + (0.15 if routes else 0.0) for _ in range(QUESTIONS)]
            where = {"stage": "final", "step": STEPS, "split": split, "routes": routes}
            predictions += [
                {**where, "question_id": f"{split}-{n}", "completions": [{"correct": one, "text": text(one, skill)}]}
                for n, one in enumerate(right)
            ]
            part = measured(sum(right) / QUESTIONS)
            summaries.append({**where, **part, "by_kind": {"bin": part}})
    write(folder, "predictions.jsonl", predictions)
    validation = [
        {"stage": stage, "round": 0, "split": "validation", "routes": 0, "step": step, **measured(0.5)}
        for stage, step in (("base", 0), ("sft", STEPS), ("rl", STEPS))
    ]
    write(folder, "evaluations.jsonl", [*validation, *summaries])


def train(config: dict[str, Any], resume: bool, overwrite: bool) -> None:
    name = config["run"]["name"]
    folder = Path(config["run"]["dir"]) / name
    if overwrite:
        shutil.rmtree(folder)
    if (folder / "meta.json").exists() != resume:
        print("error: resumed what is not there, or started what is")
        sys.exit(2)
    if os.environ.get("STAND_IN_FAILS", "no run") in name:
        print("error: no luck")
        sys.exit(2)
    meta(folder, "running")
    for made in ("checkpoints", "model"):
        (folder / made).mkdir(exist_ok=True)
    done = len((folder / "metrics.jsonl").read_text().splitlines()) if resume else 0
    logged = {"seconds": 1.0, "tokens": 1, "loss": 0.1, "grad_norm": 0.1, "learning_rate": 0.1}
    rows = [{"stage": stage, "round": 0, "step": n + 1, **logged} for stage in ("sft", "rl") for n in range(STEPS)]
    if os.environ.get("STAND_IN_SLOW", "no run") in name and not done:
        write(folder, "metrics.jsonl", rows[:STEPS])
        time.sleep(600)
    write(folder, "metrics.jsonl", rows)
    evaluation(folder, config, SKILL[config["training"]["recipe"]])
    cost: dict[str, Any] = {"steps": 2 * STEPS, "completions": 96, "tokens": 1000, "seconds": 1.0}
    if config["task"]["max_train"]:
        cost |= {"teacher_tokens": 10 * config["task"]["max_train"]}
    if config["training"]["recipe"] == "realm-r1":  # of what it took, 16 completions were sampled for what was taught
        each = {"round": 0, "steps": STEPS, "seconds": 0.5}
        stages = [{"stage": "sft", "completions": 0, "tokens": 300}, {"stage": "rl", "completions": 80, "tokens": 600}]
        cost["stages"] = [each | stage for stage in stages]
    meta(folder, "done", cost=cost, resumed_at=done)


def main() -> None:
    command, path, *rest = sys.argv[1:]
    with Path(os.environ["STAND_IN_LOG"]).open("a") as log:
        log.write(f"{command} {Path(path).stem}{' --resume' if '--resume' in rest else ''}\n")
    config = yaml.safe_load(Path(path).read_text())
    if command == "train":
        train(config, "--resume" in rest, "--overwrite" in rest)
        return
    folder = Path(rest[rest.index("--out") + 1])
    folder.mkdir(parents=True, exist_ok=True)
    if command == "evaluate":
        if not Path(config["model"]["path"]).exists() and config["model"]["path"] != "desk-base":
            print("error: no model")
            sys.exit(2)
        evaluation(folder, config, 0.3 if config["model"]["path"] == "desk-base" else 0.55)
        meta(folder, "done", evaluated=config["model"]["path"])


if __name__ == "__main__":
    main()
