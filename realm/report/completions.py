"""Completions as data for the page's browser: cut to a size, and safe inside a <script> element.

Two files hold them: completions.jsonl the groups sampled in training, predictions.jsonl the final evaluation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from realm.report.data import Report, Run, items, mapping, number, read_lines, split_title, text, whole
from realm.tasks.verify import UNREADABLE

#: Characters of all completions together as they stand in the page, and of the predictions among them; with the charts
#: this keeps it below 5 MB.
BUDGET, PREDICTIONS = 3_000_000, 1_200_000
#: Where the predictions of the final evaluation and those of an untrained base stand among the steps.
_LAST, _FIRST = 1_000_000_000, -1
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


def _copied(row: dict[str, Any], routes: Sequence[dict[str, Any]], correct: bool) -> bool:
    """Whether a wrong answer is that of a wrong route shown, by the row's own word or else by its text."""
    if isinstance(row.get("copied"), bool):
        return bool(row["copied"])
    answer = "".join(text(row.get("answer")).split()).casefold()
    wrong = {"".join(route["answer"].split()).casefold() for route in routes if route["label"] == 0}
    return not correct and answer != "" and answer in wrong


def _completion(row: dict[str, Any], routes: Sequence[dict[str, Any]], weights: dict[str, Any]) -> dict[str, Any]:
    scores = row.get("scores")
    reasons = row.get("reasons")
    think = _cut(row.get("think"), LONG)
    right = row.get("correct") is True or row.get("correct") == 1
    # null: the verifier failed on the answer, and nobody knows.
    correct = None if row.get("correct", False) is None else right
    reasons = [_cut(reason, SHORT) for reason in reasons[:MANY]] if isinstance(reasons, list) else []
    if row.get("verdict") == UNREADABLE and text(row.get("answer")).strip():
        reasons.append("the verifier cannot read the answer")
    return {
        "think": think,
        # The text as it was written repeats the parts; it is worth its size where these are not the whole story.
        "text": _cut(row.get("text"), LONG) if reasons or not think else "",
        "answer": _cut(row.get("answer"), SHORT) if isinstance(row.get("answer"), str) else None,
        "scores": [number(score) for score in scores[: len(routes)]] if isinstance(scores, list) else [],
        "correct": correct,
        "copied": correct is not None and _copied(row, routes, right),
        "truncated": row["truncated"] if isinstance(row.get("truncated"), bool) else None,
        "reward": number(row.get("reward")),
        "parts": _parts(row, weights, right),
        "scoring": number(row.get("scoring")),
        "reasons": reasons,
    }


def _group(
    row: dict[str, Any], recipe: str, weights: dict[str, Any], shown: object, when: str, place: int
) -> dict[str, Any]:
    """One question with its completions; `place` orders the moments that `when` names."""
    routes = [
        {
            "text": _cut(route.get("text"), LONG),
            "answer": _cut(route.get("answer"), SHORT),
            "label": None if route.get("label") is None else whole(route.get("label")),
        }
        for route in items(shown)[:MANY]
    ]
    return {
        "recipe": _cut(recipe, SHORT),
        "when": _cut(when, SHORT),
        "place": place,
        "final": place in (_FIRST, _LAST),
        "step": whole(row.get("step")),
        "id": _cut(str(row.get("question_id", "")), SHORT),
        "kind": _cut(row.get("kind"), SHORT),
        "difficulty": number(row.get("difficulty")),
        "question": _cut(row.get("question"), LONG),
        "gold": _cut(row.get("gold"), SHORT),
        "p": number(row.get("p")),
        "routes": routes,
        "completions": [_completion(item, routes, weights) for item in items(row.get("completions"))[:MANY]],
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
            stage, round_, step = text(row.get("stage")), whole(row.get("round")), whole(row.get("step"))
            when = f"{stage.upper()} {f'round {round_ + 1} ' if round_ else ''}step {step}"
            group = _group(row, run.name, weights, row.get("routes"), when, run.position(stage, round_, step))
            kept.append((len(script_json(group)), group))
            total += kept[-1][0]
        seen += 1
        while total > budget and kept:
            kept = kept[::2] if len(kept) > 1 else []
            stride *= 2
            total = sum(size for size, _ in kept)
    return [group for _, group in kept], seen


def sample_predictions(
    path: Path, name: str, weights: dict[str, Any], budget: int, notes: list[str]
) -> tuple[list[dict[str, Any]], int]:
    """Answers of a final evaluation, and how many its file holds.

    Where not all fit, questions are chosen by a hash of their ids: every model of the page shows the same ones, so that
    they can be compared.
    """
    kept: list[tuple[int, int, dict[str, Any]]] = []
    seen, total, limit = 0, 0, 1 << 32
    for row in read_lines(path, notes):
        if row.get("stage", "final") != "final":
            continue
        seen += 1
        lot = int.from_bytes(hashlib.sha256(str(row.get("question_id", "")).encode("utf-8", "replace")).digest()[:4])
        if lot >= limit:
            continue
        how = "with routes" if whole(row.get("routes")) else "without routes"
        when = f"Final, {split_title(text(row.get('split'), 'test'))}, {how}"
        group = _group(row, name, weights, row.get("shown"), when, _FIRST if name == "base" else _LAST)
        kept.append((lot, len(script_json(group)), group))
        total += kept[-1][1]
        while total > budget and limit > 1:
            limit //= 2
            kept = [one for one in kept if one[0] < limit]
            total = sum(size for _, size, _ in kept)
    return [group for _, _, group in kept], seen


class Sample(NamedTuple):
    """The groups of the browser, and a sentence that says of how many."""

    groups: list[dict[str, Any]]
    sentence: str


def browser_data(report: Report, budget: int = BUDGET, predictions: int = PREDICTIONS) -> Sample:
    """Groups of every run, then answers of the final evaluations: `budget` characters, of these `predictions`."""
    answered, sampled = [], []
    asked = seen = 0
    folders: list[tuple[str, Path, dict[str, Any]]] = []
    if report.quickstart:
        folders.append(("base", report.folder / "base", {}))
    folders += [(run.name, run.folder, mapping(run.config.get("reward"))) for run in report.runs]
    for name, folder, weights in folders:
        path = folder / "predictions.jsonl"
        found, count = sample_predictions(path, name, weights, predictions // len(folders), report.notes)
        answered += found
        asked += count
    left = budget - sum(len(script_json(group)) for group in answered)
    for run in report.runs:
        found, count = sample_groups(run, left // len(report.runs), report.notes)
        sampled += found
        seen += count
    return Sample(sampled + answered, _sentence(len(sampled), seen, len(answered), asked))


def _sentence(sampled: int, seen: int, answers: int, questions: int) -> str:
    parts = []
    if seen:
        some = f"{sampled} groups" if sampled == seen else f"{sampled} of {seen} saved groups, spread evenly,"
        parts.append(f"{some} sampled in training")
    if questions:
        parts.append(
            f"{answers if answers == questions else f'{answers} of {questions}'} answered questions of the "
            "final evaluations"
        )
    return f"{' and '.join(parts)}."
