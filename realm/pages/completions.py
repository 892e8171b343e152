"""Completions as data for the page's browser: cut to a size, and safe inside a <script> element.

Two files hold them: completions.jsonl the groups sampled in training, predictions.jsonl the final evaluation.
"""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from realm.pages.data import Run, split_title
from realm.rows.evaluation import AnsweredCompletion, Prediction
from realm.rows.training import Sampled, SampledCompletion
from realm.run_rows import read_rows
from realm.tasks.verify import UNREADABLE

#: Characters of all completions together as they stand in the page, and of the predictions among them; with the charts
#: this keeps it below 5 MB.
BUDGET, PREDICTIONS = 3_000_000, 1_200_000
#: Where the predictions of the final evaluation stand among the steps.
_LAST = 1_000_000_000
#: Characters kept of one text, of a short one (an answer, an id), and entries kept of one list.
LONG, SHORT, MANY = 6_000, 300, 16

#: A question with its completions, as the script in the page reads it.
Group = dict[str, object]

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


def cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]} … [{len(text) - limit} more characters]"


def _completion(item: SampledCompletion | AnsweredCompletion) -> Group:
    """A completion; what only one of the two files tells of it is null in the other."""
    sampled = item if isinstance(item, SampledCompletion) else None
    parts = sampled.parts if sampled is not None else None
    think = cut(sampled.think, LONG) if sampled is not None else ""
    reasons = [cut(reason, SHORT) for reason in item.reasons[:MANY]]
    if item.verdict == UNREADABLE and item.answer and item.answer.strip():
        reasons.append("the verifier cannot read the answer")
    return {
        "think": think,
        # The text as it was written repeats the parts; it is worth its size where these are not the whole story.
        "text": cut(item.text, LONG) if reasons or not think else "",
        "answer": None if item.answer is None else cut(item.answer, SHORT),
        "scores": item.scores[:MANY],
        "correct": item.correct,
        "copied": bool(item.copied),
        "truncated": item.truncated if isinstance(item, AnsweredCompletion) else None,
        "reward": sampled.reward if sampled is not None else None,
        "parts": None if parts is None else [parts.format, parts.answer, parts.scores],
        "scoring": sampled.scoring if sampled is not None else None,
        "reasons": reasons,
    }


def _group(row: Sampled | Prediction, name: str, when: str, place: int) -> Group:
    """One question with its completions; `place` orders the moments that `when` names."""
    shown = row.routes if isinstance(row, Sampled) else row.shown
    return {
        "recipe": cut(name, SHORT),
        "when": cut(when, SHORT),
        "place": place,
        "final": place == _LAST,
        "step": row.step,
        "id": cut(row.question_id, SHORT),
        "kind": cut(row.kind, SHORT),
        "difficulty": row.difficulty,
        "question": cut(row.question, LONG),
        "gold": cut(row.gold, SHORT),
        "p": row.p if isinstance(row, Sampled) else None,
        "routes": [
            {"text": cut(route.text or "", LONG), "answer": cut(route.answer, SHORT), "label": route.label}
            for route in shown[:MANY]
        ],
        # Of all of them; those that follow may be fewer.
        "n": len(row.completions),
        "right": sum(bool(item.correct) for item in row.completions),
        "completions": [_completion(item) for item in row.completions[:MANY]],
    }


def sample_groups(run: Run, budget: int, notes: list[str]) -> tuple[list[Group], int]:
    """Groups of completions.jsonl spread evenly over the run, and how many the file holds.

    The file is read once and may be far larger than memory: when the groups kept outgrow `budget` (characters as
    written in the page), every second one is dropped, and from then on twice as many are passed over.
    """
    kept: list[tuple[int, Group]] = []
    stride, seen, total = 1, 0, 0
    for row in read_rows(run.folder, Sampled, notes):
        if seen % stride == 0:
            when = f"{row.stage.upper()} {f'round {row.round + 1} ' if row.round else ''}step {row.step}"
            group = _group(row, run.name, when, run.position(row.stage, row.round, row.step))
            kept.append((len(script_json(group)), group))
            total += kept[-1][0]
        seen += 1
        while total > budget and kept:
            kept = kept[::2] if len(kept) > 1 else []
            stride *= 2
            total = sum(size for size, _ in kept)
    return [group for _, group in kept], seen


class Lot:
    """Groups within `budget` characters. Where not all fit, questions are chosen by a hash of their ids: wherever the
    same ones are asked, the same ones are shown, and can be compared; `seen` counts all."""

    def __init__(self, budget: int) -> None:
        self._budget, self._total, self._limit = budget, 0, 1 << 32
        self._kept: list[tuple[int, int, Group]] = []
        self.seen = 0

    @property
    def groups(self) -> list[Group]:
        """Those that are shown, in the order they came."""
        return [group for _, _, group in self._kept]

    def add(self, question_id: str, make: Callable[[], Group]) -> None:
        """Count a question, and keep it where the lot falls on it."""
        self.seen += 1
        lot = int.from_bytes(hashlib.sha256(question_id.encode("utf-8", "replace")).digest()[:4])
        if lot >= self._limit:
            return
        group = make()
        self._kept.append((lot, len(script_json(group)), group))
        self._total += self._kept[-1][1]
        while self._total > self._budget and self._limit > 1:
            self._limit //= 2
            self._kept = [one for one in self._kept if one[0] < self._limit]
            self._total = sum(size for _, size, _ in self._kept)


def sample_predictions(run: Run, budget: int, notes: list[str]) -> tuple[list[Group], int]:
    """Answers of a final evaluation, and how many its file holds; with and without routes of the same questions."""
    lot = Lot(budget)
    for row in read_rows(run.folder, Prediction, notes):
        if row.stage == "final":
            when = f"Final, {split_title(row.split)}, {'with' if row.routes else 'without'} routes"
            lot.add(row.question_id, partial(_group, row, run.name, when, _LAST))
    return lot.groups, lot.seen


class Sample(NamedTuple):
    """The groups of the browser, and a sentence that says of how many."""

    groups: list[Group]
    sentence: str


def browser_data(run: Run, notes: list[str]) -> Sample:
    """Groups of a run, then answers of its final evaluation: `BUDGET` characters, of these `PREDICTIONS`."""
    answered, asked = sample_predictions(run, PREDICTIONS, notes)
    sampled, seen = sample_groups(run, BUDGET - sum(len(script_json(group)) for group in answered), notes)
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
