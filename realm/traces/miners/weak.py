"""`weak`: the student's answer above the untrained student's, no gold read (self-reinforcement, arXiv 2405.04086).

The paper: a model is fine-tuned on few annotated questions; on questions without golds its answers are preferred to
those of the model before, by DPO, after a filter by itself, and so on. Our choices: the questions are the training
questions, whose golds are not looked at; both answer greedily; a pair is taken where both answers are of the asked form
and differ. The paper's filter (relevance and coherence, by the model) is left out; rounds are `training.rounds`.
"""

from __future__ import annotations

from collections.abc import Iterable

from realm.traces.base import Given, Pair
from realm.traces.pairs import answers


def weak(given: Given) -> Iterable[Pair]:
    questions = list(given.renderer.questions.values())
    now = answers(given, given.student("now"), questions, "student")
    base = answers(given, given.student("base"), questions, "base")
    for question, new, old in zip(questions, now, base, strict=True):
        if new and old and new[0].answer.strip() != old[0].answer.strip():
            yield Pair(question, new[0], old[0])
