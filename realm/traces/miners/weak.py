"""`weak`: the student's answer above the untrained student's, no gold read (self-reinforcement, arXiv 2405.04086).

The paper: a model is fine-tuned on few annotated questions; on questions without golds its answers are preferred to
those of the model before, by DPO, after a filter by itself, and so on. Our choices: the questions are the training
questions, whose golds are not looked at; both answer greedily; a pair is taken where both answers are of the asked form
and differ. The paper's filter (relevance and coherence, by the model) is left out; rounds are `training.rounds`.
"""

from collections.abc import Iterable

from realm.traces.base import Given, Pair
from realm.traces.sampling import answers


def weak(given: Given) -> Iterable[Pair]:
    prompts = [given.renderer.fit(question) for question in given.renderer.questions.values()]
    now, base = (answers(given.student(which), prompts, given) for which in ("now", "base"))
    for new, old in zip(now, base, strict=True):
        if new.read.format_ok and old.read.format_ok and new.read.answer != old.read.answer:
            yield Pair(new.prompt.question, new.cot(0), old.cot(1))
