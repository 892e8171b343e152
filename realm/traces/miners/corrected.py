"""`corrected`: the student's corrected answer above its first, wrong one (SPHERE, arXiv 2503.04813).

The paper: the model writes a solution, reflects on what is wrong, and tries again; right and flawed reasonings of a
pruned tree search, scored by a process reward model, are learned by DPO. Our choices: no tree and no reward model. The
student answers once; a wrong answer is shown to it with a request to find the error, it tries `tries` times, and its
first right answer is preferred, as an answer to the question alone. The paper's prompts were not established; ours is
below.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from pydantic import PositiveFloat, PositiveInt

from realm.errors import ModelError
from realm.traces.base import Given, Pair
from realm.traces.sampling import answers
from realm.traces.steps.student import student

#: What stands behind the question.
REQUEST = "An earlier attempt:\n{text}\nIts answer was {answer}, which is wrong. Find the error, and solve it anew."


def corrected(given: Given, *, tries: PositiveInt = 2, temperature: PositiveFloat = 1.0) -> Iterable[Pair]:
    wrong = [trace for trace in student((), given, samples=1, temperature=temperature) if not trace.cot.label]
    asked = []
    for trace in wrong:
        told = f"{trace.question.question}\n{REQUEST.format(text=trace.cot.text, answer=trace.cot.answer)}"
        with suppress(ModelError):  # which says that it does not fit the context
            asked.append((trace, given.renderer.fit(replace(trace.question, question=told))))
    prompts, seed = [prompt for _, prompt in asked], given.rng("corrected").getrandbits(62)
    found = answers(given.student(), prompts, given, samples=tries, temperature=temperature, seed=seed)
    for place, (trace, _) in enumerate(asked):
        again = [one for one in found[place * tries : (place + 1) * tries] if one.read.format_ok]
        right = next((cot for n, one in enumerate(again, 1) if (cot := one.cot(n)).label), None)
        if right:
            yield Pair(trace.question, right, trace.cot)
