"""Small edits of questions: what should change an answer, and what should not (arXiv 2507.15868).

The paper edits prompts of code problems, and finds models that stay where they should move. Here a question of any task
gets an irrelevant `clause` or another `wording`, by rule, and keeps its gold; other numbers (`number`) and a condition
that is turned round (`flip`) are for tasks that can tell the new gold (`Edits`), as the desk does. The rules, and what
is counted, are our choice.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Protocol, runtime_checkable

from realm.config import Config
from realm.errors import ConfigError
from realm.method.seeds import derive, rng
from realm.rows.evaluation import Edited, Estimate, Prediction
from realm.statistics.bootstrap import bootstrap_interval
from realm.tasks.base import Question, Task
from realm.tasks.workers import VerifierPool, verify_once

#: Sentences that no question is about, and openings that ask the same.
BEFORE = {
    "clause": ("It is raining today.", "The telephone rang twice.", "Somebody has left a blue umbrella here."),
    "wording": ("Please answer this.", "Here is a question.", "What do you say to this?"),
}


@runtime_checkable
class Edits(Protocol):
    """A task with edits of its own, whose gold it can tell."""

    def edited(self, question: Question, edit: str, source: random.Random) -> Question | None:
        """The question with the edit, and its gold then; None where the task has none for it."""
        ...


def edited_splits(splits: Mapping[str, Sequence[Question]], task: Task, config: Config) -> dict[str, list[Question]]:
    """By SPLIT+EDIT the edited questions of each split, by lot of (seed, question id), but those without an edit.

    Raises:
        ConfigError: the task has no such edit.
    """
    found: dict[str, list[Question]] = {}
    for edit in config.evaluation.edits:
        for split, questions in splits.items():
            rows = [row for one in questions if (row := _edited(one, edit, task, config.run.seed)) is not None]
            if questions and not rows:
                raise ConfigError(
                    f"evaluation.edits: {edit}: the task {task.name} does not tell what the answers of split {split} "
                    f"would be then; choose among {', '.join(BEFORE)}."
                )
            found[f"{split}+{edit}"] = rows
    return found


def _edited(question: Question, edit: str, task: Task, seed: int) -> Question | None:
    source = rng(seed, "edit", edit, question.id)
    own = task.edited(question, edit, source) if isinstance(task, Edits) else None
    if own is None and edit in BEFORE:
        own = dataclasses.replace(question, question=f"{source.choice(BEFORE[edit])} {question.question}")
    return own


def moved(
    rows: Sequence[Prediction], before: Sequence[Prediction], pool: VerifierPool, resamples: int, seed: int
) -> Edited:
    """Of edited questions: how many golds the edit changes, and whether the answers went with them.

    Two answers are equal where their texts are, or where the verifier takes one for the other.

    Args:
        before: the same questions unedited, and others.
    """
    old = {row.question_id: row for row in before}
    claims: list[tuple[str | None, str, str, str]] = []
    for row in rows:
        was = old[row.question_id]
        claims += [(row.gold, was.gold, row.question, row.kind)]
        pairs = zip(row.completions, was.completions, strict=True)
        claims += [(new.answer, one.answer or "", row.question, row.kind) for new, one in pairs]
    verdicts = verify_once(pool, claims)
    equal = [(new or "") == was or verdict.correct for (new, was, *_), verdict in zip(claims, verdicts, strict=True)]
    should: list[float] = []
    stay: list[float] = []
    place = 0
    for row in rows:
        same, *answers = equal[place : place + 1 + len(row.completions)]
        place += 1 + len(row.completions)
        (stay if same else should).append(fmean(one == same for one in answers))

    def estimate(values: Sequence[float]) -> Estimate | None:
        if not values:
            return None
        low, high = bootstrap_interval(values, resamples, derive(seed, "bootstrap"))
        return Estimate(value=fmean(values), low=low, high=high)

    return Edited(n=len(should), changed=estimate(should), stayed=estimate(stay))
