"""Folders that look like those of real runs, made in milliseconds from a seed: what the report is developed against."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from realm.files import to_line

KINDS = ("return window", "refund amount", "restock code", "damaged item", "gift receipt", "two rules at once")
REASONS = ("answer_missing", "scores_too_few", "think_unclosed", "scores_unreadable", "text_outside")
#: name -> (accuracy without routes at the start and at the end, the same with routes)
COURSES = {
    "grpo": ((0.41, 0.55), (0.86, 0.83)),
    "realm-zero": ((0.41, 0.63), (0.86, 0.9)),
    "realm-r1": ((0.41, 0.76), (0.86, 0.92)),
}
COLD_START = 60
QUESTION = "A customer brings back shoes bought 12 days ago for 40. The box is open. What does the clerk do?"
THINKING = (
    "The item came back after 12 days. The window for shoes is 14 days, so it is inside. "
    "The fee is 10 percent of 40, that is 4."
)


def jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(map(to_line, rows)), encoding="utf-8")


def evaluation(rng: random.Random, accuracy: float, n: int = 300, **where: Any) -> dict[str, Any]:
    """A row of evaluations.jsonl: what `n` questions of this accuracy might have given."""
    right = [rng.random() < accuracy for _ in range(n)]
    kinds: dict[str, list[bool]] = {kind: right[index :: len(KINDS)] for index, kind in enumerate(KINDS)}
    share = sum(right) / n
    half = 1.96 * math.sqrt(share * (1 - share) / n)
    return {
        "n": n,
        "accuracy": share,
        "accuracy_low": share - half,
        "accuracy_high": share + half,
        "same_err": 0.3 * (1 - share),
        "scoring_accuracy": 0.6 + 0.3 * share,
        "auroc": 0.6 + 0.35 * share,
        "brier": 0.25 - 0.1 * share,
        "f1": None,
        "parse_failures": 0.02,
        "reasons": {"answer_missing": 4},
        "truncated": 0.01,
        "completion_tokens": 61.2,
        "routes_per_prompt": where.get("routes", 0),
        "routes_dropped": 0,
        "by_kind": {kind: {"n": len(part), "accuracy": sum(part) / len(part)} for kind, part in kinds.items()},
        **where,
    }


def with_gaps(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give every final row with routes the gap to the row before it, which is the same without routes."""
    for without, shown in itertools.pairwise(rows):
        if shown["routes"] and shown["stage"] == "final":
            gap = shown["accuracy"] - without["accuracy"]
            shown |= {"autonomy_gap": gap, "autonomy_gap_low": gap - 0.05, "autonomy_gap_high": gap + 0.05}
    return rows


def _metrics(rng: random.Random, name: str, steps: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if name == "realm-r1":
        rows += [
            {
                "stage": "sft",
                "round": 0,
                "step": step,
                "seconds": 0.4 * step,
                "tokens": 900 * step,
                "loss": 2 * math.exp(-step / 20) + rng.random() / 9,
                "grad_norm": 0.4,
                "learning_rate": 1e-4,
            }
            for step in range(1, COLD_START + 1)
        ]
    (start, end), _ = COURSES[name]
    for step in range(1, steps + 1):
        tau = step / steps
        p = 0.0 if name == "grpo" else 0.5 * (1 + math.cos(math.pi * min(1.0, tau / 0.9)))
        right = min(1.0, max(0.0, start + (end - start) * tau + 0.35 * p + rng.gauss(0, 0.05)))
        failing = 0.25 * math.exp(-6 * tau) + 0.01 * rng.random()
        scoring = min(1.0, 0.55 + 0.35 * tau + rng.gauss(0, 0.03))
        parts = {"reward_format": 0.1 * (1 - failing), "reward_answer": right, "reward_scores": 0.5 * right * scoring}
        rows.append(
            {
                "stage": "rl",
                "round": 0,
                "step": step,
                "seconds": 24.0 * (name == "realm-r1") + 0.9 * step,
                "tokens": 5_800 * step,
                "loss": rng.gauss(0, 0.02),
                "p": p,
                "tau": tau,
                "reward": sum(parts.values()),
                **parts,
                "scoring": scoring,
                "accuracy": right,
                "routes_per_prompt": 0.0 if name == "grpo" else 4 * p + rng.gauss(0, 0.15) * (0 < p < 1),
                "routes_dropped": 0,
                "zero_spread_groups": min(1.0, max(0.0, 0.15 + 0.35 * tau + rng.gauss(0, 0.08))),
                "parse_failures": failing,
                "parse": {reason: failing / (index + 2) for index, reason in enumerate(REASONS)},
                "same_err": 0.3 * (1 - tau) + 0.02 * rng.random(),
                "completion_tokens": 70 - 15 * tau + rng.gauss(0, 2),
                "truncated": 0.0,
                "kl": 0.0,
                "grad_norm": 0.4,
                "learning_rate": 1e-4,
            }
        )
    return rows


def _completion(
    rng: random.Random, labels: Sequence[int], right: bool, gold: str, shout: str, wrong: set[str]
) -> dict[str, Any]:
    answer = gold if right else rng.choice(["refund 0", "code 114", "exchange only"])
    scores: list[float | None] = [round(min(1.0, max(0.0, label + rng.gauss(0, 0.3))), 2) for label in labels]
    reasons = [] if rng.random() < 0.8 else [rng.choice(REASONS)]
    if reasons and scores:
        scores[-1] = None
    think = f"{shout}{THINKING}"
    return {
        "text": f"<think> {think} </think> <answer> {answer} </answer>"
        + (f" <scores> {scores} </scores>" if scores else ""),
        "think": think,
        "answer": answer,
        "scores": scores,
        "correct": right,
        "reward": 0.1 * (not reasons) + right * (1 + 0.5 * 0.8),
        "format": 0.1 * (not reasons),
        "scoring": 0.8,
        "reasons": reasons,
        "parts": {"format": 0.1 * (not reasons), "answer": float(right), "scores": right * 0.5 * 0.8},
        "copied": not right and answer in wrong,
    }


def _completions(rng: random.Random, name: str, steps: int, every: int, shout: str) -> list[dict[str, Any]]:
    rows = []
    for step in range(every, steps + 1, every):
        tau = step / steps
        p = 0.0 if name == "grpo" else 0.5 * (1 + math.cos(math.pi * min(1.0, tau / 0.9)))
        for index in range(2):
            gold = f"refund {rng.randrange(20, 60)}"
            labels = [int(rng.random() < 0.6) for _ in range(4) if rng.random() < p]
            routes = [
                {
                    "id": f"r{place}",
                    "text": f"{shout}Shoes may come back within {14 if label else 7} days. The fee is 10 percent.",
                    "answer": gold if label else "refund 0",
                    "label": label,
                }
                for place, label in enumerate(labels)
            ]
            wrong = {str(route["answer"]) for route in routes if route["label"] == 0}
            rows.append(
                {
                    "stage": "rl",
                    "step": step,
                    "question_id": f"train-{step:05d}-{index}",
                    "kind": rng.choice(KINDS),
                    "difficulty": rng.randrange(1, 4),
                    "question": f"{shout}{QUESTION}",
                    "gold": gold,
                    "p": p,
                    "prompt": "…",
                    "routes": routes,
                    "completions": [
                        _completion(rng, labels, rng.random() < 0.4 + 0.4 * tau, gold, shout, wrong) for _ in range(8)
                    ],
                }
            )
    return rows


def predictions(rng: random.Random, name: str, n: int = 40) -> list[dict[str, Any]]:
    """Rows of predictions.jsonl: the same questions of the test split, without and with routes."""
    rows = []
    for routes in (0, 4):
        level = COURSES[name][bool(routes)][1]
        for index in range(n):
            gold, labels = f"refund {20 + index}", [int((index + place) % 3 > 0) for place in range(routes)]
            right = rng.random() < level
            answer = gold if right else rng.choice(["refund 0", "code 114"])
            scores = [round(min(1.0, max(0.0, label * 0.6 + rng.gauss(0.2, 0.2))), 2) for label in labels]
            rows.append(
                {
                    "stage": "final",
                    "round": 0,
                    "step": 140,
                    "split": "test",
                    "routes": routes,
                    "question_id": f"test-{index}",
                    "kind": KINDS[index % len(KINDS)],
                    "difficulty": 1,
                    "question": f"{QUESTION} Case {index}.",
                    "gold": gold,
                    "shown": [
                        {"id": f"r{place}", "answer": gold if label else "refund 0", "label": label}
                        for place, label in enumerate(labels)
                    ],
                    "completions": [
                        {
                            "text": f"<think> {THINKING} </think><answer> {answer}</answer>",
                            "answer": answer,
                            "scores": scores,
                            "correct": right,
                            "copied": bool(routes) and answer == "refund 0",
                            "reasons": [],
                            "tokens": 40,
                            "truncated": index % 20 == 7,
                        }
                    ],
                }
            )
    return rows


def training_run(
    folder: Path,
    name: str = "realm-r1",
    *,
    steps: int = 200,
    seed: int = 0,
    finished: bool = True,
    every: int = 20,
    shout: str = "",
) -> Path:
    """The folder of one training run. `shout` is put at the head of every text that a model or a file could hold."""
    rng = random.Random(f"{seed}/{name}")
    if name == "realm-r1":
        steps -= COLD_START
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "run": {"name": folder.name, "seed": seed},
        "task": {"name": "desk"},
        "model": {"path": "desk-base"},
        "reward": {"format": 0.1, "answer": 1.0, "scores": 0.5, "rule": "l1"},
        "training": {
            "recipe": name,
            "sft": {"steps": COLD_START},
            "rl": {"steps": steps if finished else 200, "batch_size": 96},
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    meta = {
        "status": "done" if finished else "running",
        "started": "2025-11-20T10:00:00",
        "command": "realm train --set run.seed=0",
        "versions": {"realm": "0.1.0", "trl": "1.16.0", "torch": "2.13.0"},
        "seed": seed,
        "template_hash": "5f3c9a",
    }
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    jsonl(folder / "metrics.jsonl", _metrics(rng, name, steps))
    (start, end), (start_with, end_with) = COURSES[name]
    rows = [
        evaluation(rng, level, split="validation", routes=routes, stage="base", round=0, step=0)
        for routes, level in ((0, start), (4, start_with))
    ]
    if name == "realm-r1":
        rows += [
            evaluation(rng, level, split="validation", routes=routes, stage="sft", round=0, step=COLD_START)
            for routes, level in ((0, 0.58), (4, 0.88))
        ]
    for step in [*range(25, steps, 25), steps]:
        for routes, low, high in ((0, start, end), (4, start_with, end_with)):
            low = 0.58 if name == "realm-r1" and not routes else low
            level = low + (high - low) * (step / max(steps, 140)) ** 0.7
            rows.append(evaluation(rng, level, split="validation", routes=routes, stage="rl", round=0, step=step))
    if finished:
        for split, drop in (("test", 0.0), ("ood", 0.12), ("uncommented", 0.2)):
            for routes, level in ((0, end), (4, end_with)):
                rows.append(
                    evaluation(rng, level - drop, n=400, split=split, routes=routes, stage="final", round=0, step=steps)
                )
    jsonl(folder / "evaluations.jsonl", with_gaps(rows))
    jsonl(folder / "completions.jsonl", _completions(rng, name, steps, every, shout))
    if finished:
        jsonl(folder / "predictions.jsonl", predictions(rng, name))
    return folder
