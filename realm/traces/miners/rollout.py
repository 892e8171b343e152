"""`rollout`: the student's right answers above its wrong ones (Self-Refine Instruction-Tuning, arXiv 2405.00402).

The paper, behind SFT on a teacher's demonstrations: the student is sampled, rewarded by ground truths, and refines
itself by DPO. Our choices: `samples` of each training question without routes, at most `most` pairs of a question,
those nearest in length first, so that length is not what is learned, and answers of the asked form only. How many
samples the paper takes, and how it pairs them, was not established.
"""

from __future__ import annotations

from collections.abc import Iterable

from realm.traces.base import Given, Pair
from realm.traces.pairs import By, answers, best, judged


def rollout(
    given: Given, *, samples: int = 8, temperature: float = 1.0, most: int = 1, by: By = "length"
) -> Iterable[Pair]:
    questions = list(given.renderer.questions.values())
    written = answers(given, given.student(), questions, "student", samples=samples, temperature=temperature)
    for question, cots in zip(questions, judged(given, questions, written), strict=True):
        yield from best(question, cots, given, most=most, by=by)
