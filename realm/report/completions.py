"""The sampled completions as data for the page's browser: cut to a size, and safe inside a <script> element."""

from __future__ import annotations

import json
from typing import Any

from realm.report.data import Run, items, mapping, number, read_lines, text, whole

#: Characters of all completions together as they stand in the page; with the charts this keeps it below 5 MB.
BUDGET = 3_000_000
#: Characters kept of one text, of a short one (an answer, an id), and entries kept of one list.
LONG, SHORT, MANY = 6_000, 300, 16

_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def script_json(value: object) -> str:
    """JSON that may stand inside <script>: no `<`, `>`, `&`, and nothing outside ASCII (so no U+2028 either).

    Raises:
        ValueError: a number in `value` is not finite (JSON has no word for it).
    """
    dumped = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character, escaped in _UNSAFE.items():
        dumped = dumped.replace(character, escaped)
    return dumped


def _cut(value: object, limit: int) -> str:
    found = text(value)
    return found if len(found) <= limit else f"{found[:limit]} … [{len(found) - limit} more characters]"


def _parts(row: dict[str, Any], weights: dict[str, Any], correct: bool) -> list[float] | None:
    """The reward split into format, answer and scores by the run's weights; None where that is not its total."""
    total, form, scoring = number(row.get("reward")), number(row.get("format")), number(row.get("scoring"))
    answer, scores = number(weights.get("answer")), number(weights.get("scores"))
    if total is None or form is None or scoring is None or answer is None or scores is None:
        return None
    parts = [form, correct * answer, correct * scores * scoring]
    return parts if abs(sum(parts) - total) < 1e-4 else None


def _completion(row: dict[str, Any], n_routes: int, weights: dict[str, Any]) -> dict[str, Any]:
    scores = row.get("scores")
    reasons = row.get("reasons")
    think = _cut(row.get("think"), LONG)
    right = row.get("correct") is True or row.get("correct") == 1
    # null: the verifier failed on the answer, and nobody knows.
    correct = None if row.get("correct", False) is None else right
    reasons = [_cut(reason, SHORT) for reason in reasons[:MANY]] if isinstance(reasons, list) else []
    return {
        "think": think,
        # The text as it was written repeats the parts; it is worth its size where these are not the whole story.
        "text": _cut(row.get("text"), LONG) if reasons or not think else "",
        "answer": _cut(row.get("answer"), SHORT) if isinstance(row.get("answer"), str) else None,
        "scores": [number(score) for score in scores[:n_routes]] if isinstance(scores, list) else [],
        "correct": correct,
        "reward": number(row.get("reward")),
        "parts": _parts(row, weights, right),
        "scoring": number(row.get("scoring")),
        "reasons": reasons,
    }


def _group(row: dict[str, Any], recipe: str, weights: dict[str, Any]) -> dict[str, Any]:
    routes = [
        {
            "text": _cut(route.get("text"), LONG),
            "answer": _cut(route.get("answer"), SHORT),
            "label": None if route.get("label") is None else whole(route.get("label")),
        }
        for route in items(row.get("routes"))[:MANY]
    ]
    return {
        "recipe": _cut(recipe, SHORT),
        "stage": _cut(row.get("stage"), SHORT),
        "round": whole(row.get("round")),
        "step": whole(row.get("step")),
        "id": _cut(str(row.get("question_id", "")), SHORT),
        "kind": _cut(row.get("kind"), SHORT),
        "difficulty": number(row.get("difficulty")),
        "question": _cut(row.get("question"), LONG),
        "gold": _cut(row.get("gold"), SHORT),
        "p": number(row.get("p")),
        "routes": routes,
        "completions": [_completion(item, len(routes), weights) for item in items(row.get("completions"))[:MANY]],
    }


def sample_groups(run: Run, budget: int, notes: list[str]) -> tuple[list[dict[str, Any]], int]:
    """Groups of completions.jsonl spread evenly over the run, and how many the file holds.

    The file is read once and may be far larger than memory: when the groups kept outgrow `budget` (characters as
    written in the page), every second one is dropped, and from then on twice as many are passed over.
    """
    weights = mapping(run.config.get("reward"))
    kept: list[tuple[int, dict[str, Any]]] = []
    stride, seen, total = 1, 0, 0
    for row in read_lines(run.folder / "completions.jsonl", notes):
        group = None
        if seen % stride == 0:
            group = _group(row, run.name, weights)
            kept.append((len(script_json(group)), group))
            total += kept[-1][0]
        seen += 1
        while total > budget and kept:
            kept = kept[::2] if len(kept) > 1 else []
            stride *= 2
            total = sum(size for size, _ in kept)
    return [group for _, group in kept], seen


def browser_data(runs: list[Run], notes: list[str], budget: int = BUDGET) -> tuple[list[dict[str, Any]], int]:
    """Groups of every run for the browser, at most `budget` characters in all, and how many groups there are."""
    groups: list[dict[str, Any]] = []
    seen = 0
    for run in runs:
        found, count = sample_groups(run, budget // len(runs), notes)
        groups += found
        seen += count
    return groups, seen
