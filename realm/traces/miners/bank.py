"""`bank`: a right CoT of the bank above a wrong one of the same question (RLAIF-DPO, arXiv 2510.20059).

The paper pairs right with wrong CoTs of a teacher and of the student, for DPO; its pairs hold 2 and 2.5 million tokens.
Our choices: the CoTs are the bank's, the same that ReaLM shows as routes, at most `most` pairs of a question, and by
lot (`by: lot`), or those nearest in length first (`length`), or those with the longest common beginning
(`beginning`, for the sake of `training.pairs.learned: difference`: pairs that share a prefix, as the search trees of
arXiv 2503.01461 give them, whose fine-grained DPO is not established here). With `unpaired` the CoTs of a question
that has right ones alone, or wrong ones alone, are given too, for `training.pairs.loss: kto`.
"""

from collections.abc import Iterable

from pydantic import PositiveInt

from realm.traces.base import Given, Pair
from realm.traces.pairs import By, best


def bank(given: Given, *, most: PositiveInt = 4, by: By = "lot", unpaired: bool = False) -> Iterable[Pair]:
    for question in given.renderer.questions.values():
        cots = given.cots(question.id)
        pairs = best(question, cots, given, most=most, by=by)
        yield from pairs
        if unpaired and not pairs:
            yield from (Pair(question, cot, None) if cot.label else Pair(question, None, cot) for cot in cots)
