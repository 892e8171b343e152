"""`rollout`: the student's right answers above its wrong ones (Self-Refine Instruction-Tuning, arXiv 2405.00402).

The paper, behind SFT on a teacher's demonstrations: the student is sampled, rewarded by ground truths, and refines
itself by DPO. Our choices: `samples` of each training question without routes, at most `most` pairs of a question,
those nearest in length first, so that length is not what is learned, and answers of the asked form only. How many
samples the paper takes, and how it pairs them, was not established.
"""

from collections.abc import Iterable

from pydantic import PositiveFloat, PositiveInt

from realm.traces.base import Given, Pair
from realm.traces.examples import by_question
from realm.traces.pairs import By, best
from realm.traces.steps.student import student


def rollout(
    given: Given,
    *,
    samples: PositiveInt = 8,
    temperature: PositiveFloat = 1.0,
    most: PositiveInt = 1,
    by: By = "length",
) -> Iterable[Pair]:
    for found in by_question(list(student((), given, samples=samples, temperature=temperature))).values():
        yield from best(found[0].question, [trace.cot for trace in found], given, most=most, by=by)
