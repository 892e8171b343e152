"""`corrected`: the student's corrected answer above its first, wrong one (SPHERE, arXiv 2503.04813).

The paper: the model writes a solution, reflects on what is wrong, and tries again; right and flawed reasonings of a
pruned tree search, scored by a process reward model, are learned by DPO. Our choices: no tree and no reward model. The
student answers once; a wrong answer is shown to it with a request to find the error, up to `tries` times, and its first
right answer is preferred, as an answer to the question alone. The paper's prompts were not established; ours are below.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from realm.traces.base import Given, Pair
from realm.traces.pairs import answers, judged

#: What stands behind the question.
REQUEST = "An earlier attempt:\n{text}\nIts answer was {answer}, which is wrong. Find the error, and solve it anew."


def corrected(given: Given, *, tries: int = 2, temperature: float = 1.0) -> Iterable[Pair]:
    voice, questions = given.student(), list(given.renderer.questions.values())
    first = judged(given, questions, answers(given, voice, questions, "student", temperature=temperature))
    wrong = {question: cots[0] for question, cots in zip(questions, first, strict=True) if cots and not cots[0].label}
    for attempt in range(tries):
        asked = [
            replace(one, question=f"{one.question}\n{REQUEST.format(text=cot.text, answer=cot.answer)}")
            for one, cot in wrong.items()
        ]
        found = answers(given, voice, asked, f"student again {attempt}", temperature=temperature)
        for question, cots in zip(list(wrong), judged(given, list(wrong), found), strict=True):
            if cots and cots[0].label:
                yield Pair(question, cots[0], wrong.pop(question))
