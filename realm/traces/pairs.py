"""What miners of pairs share: which of many pairs are taken, and a voice's answers as CoTs with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from realm.bank.cot import CoT
from realm.errors import ModelError
from realm.method.completion import parse
from realm.tasks.base import Question
from realm.tasks.workers import verify_once
from realm.traces.base import Given, Pair, Voice

#: Which pairs of a question come first: any, those nearest in length, or those with the longest common beginning.
By = Literal["lot", "length", "beginning"]


def best(question: Question, cots: Sequence[CoT], given: Given, *, most: int, by: By) -> list[Pair]:
    """At most so many pairs of a right CoT and a wrong one; none where all are right, or all wrong.

    Lots decide between pairs that are as good.
    """
    pairs = [Pair(question, a, b) for a in cots if a.label == 1 for b in cots if b.label == 0]
    given.rng("pairs", question.id).shuffle(pairs)
    if by != "lot":
        pairs.sort(key=lambda pair: _distance(pair, by))
    return pairs[:most]


def _distance(pair: Pair, by: By) -> int:
    assert pair.chosen is not None and pair.rejected is not None
    one, other = pair.chosen.text, pair.rejected.text
    return abs(len(one) - len(other)) if by == "length" else -common(one, other)


def common(one: Sequence[object], other: Sequence[object]) -> int:
    """How many items (characters, tokens) at the beginning are the same."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def answers(
    given: Given,
    voice: Voice,
    questions: Sequence[Question],
    name: str,
    *,
    samples: int = 1,
    temperature: float | None = None,
) -> list[list[CoT]]:
    """The voice's CoTs for each question, without routes and without labels: those of the asked form, none that is cut.

    A question that does not fit the context has none.

    Args:
        name: of whom the CoTs are said to be; their ids and the seed come of it.
        temperature: None is greedy.
    """
    prompts = [_prompt(question, given) for question in questions]
    written = voice.write(
        [ids for ids in prompts if ids],
        length=given.room,
        samples=samples,
        temperature=temperature,
        seed=given.rng("pairs", name).getrandbits(60),
    )
    rows = iter(written)
    found: list[list[CoT]] = []
    for question, ids in zip(questions, prompts, strict=True):
        cots = []
        for number, one in enumerate(next(rows) if ids else ()):
            read = parse(one.text, 0, given.renderer.tags)
            if read.format_ok and read.answer and not one.truncated:
                cots.append(CoT(question.id, read.think, read.answer, None, name, sample=number))
        found.append(cots)
    return found


def judged(given: Given, questions: Sequence[Question], rows: Sequence[Sequence[CoT]]) -> list[list[CoT]]:
    """The CoTs of each question with their labels; without those of which nobody knows whether they are right."""
    claims = [
        (cot.answer, question.answer, question.question)
        for question, cots in zip(questions, rows, strict=True)
        for cot in cots
    ]
    verdicts = iter(verify_once(given.verifier, claims))
    labelled = [[(cot, next(verdicts)) for cot in cots] for cots in rows]
    return [[replace(cot, label=int(v.correct)) for cot, v in found if not v.reason] for found in labelled]


def _prompt(question: Question, given: Given) -> list[int]:
    try:
        return given.renderer.fit(question).ids
    except ModelError:
        return []
