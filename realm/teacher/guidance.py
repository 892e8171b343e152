"""Guided CoT distillation: which expert comments a sample of the teacher is shown."""

from __future__ import annotations

import random
from collections.abc import Sequence

from realm.tasks.base import Comment, Question


def comments_for(question: Question, comments: Sequence[Comment]) -> tuple[Comment, ...]:
    """The comments that share a tag with the question."""
    return tuple(comment for comment in comments if not set(comment.tags).isdisjoint(question.tags))


def guide(
    question: Question, comments: Sequence[Comment], probability: float, source: random.Random
) -> tuple[Comment, ...]:
    """The comments shown for one sample: those that match with probability ρ, otherwise none."""
    drawn = source.random() < probability  # drawn first, so that ρ alone never shifts the rest of the sample's stream
    return comments_for(question, comments) if drawn else ()
