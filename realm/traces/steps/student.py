"""`student`: what the student writes itself, sampled and judged (RFT, arXiv 2308.01825; re-distillation, 2505.17988).

As the stage finds it (`now`) or untrained (`base`), or in its place another `model` that reads the same tokens (the
mentor of Mentor-KD, arXiv 2410.09037): `samples` completions a question at `temperature`, without routes unless
`routes` has it read the bank's: then they are used once, to write the student's own lessons, and what speaks of them is
left out. Whatever the parser complains of is left out too; right and wrong stay, for `right` or a miner.
`questions`: so many, by lot; 0 is all. `agreed`: of a question's right ones those that most of them read like, each
once; wrong reasonings that come to the right answer mostly read differently.

Re-distillation takes right answers of a policy after RL (temperature .7, one a question) and teaches them to the
pretrained model. Our choices: temperature 1, so that nothing is sharpened unseen, and four samples; one draw of routes
a question, at p = 1, whatever fades in training.
"""

from collections.abc import Iterable, Sequence
from statistics import multimode
from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from realm.bank.labelling import label_of
from realm.errors import ConfigError, DataError
from realm.method.completion import speaks_of_routes
from realm.method.routes import NOTHING
from realm.student.prompts import unfaded
from realm.traces.base import Given, Trace
from realm.traces.examples import by_question
from realm.traces.sampling import TEACHER, Answered, another, answers


def student(
    traces: Sequence[Trace],
    given: Given,
    *,
    samples: PositiveInt = 4,
    routes: bool = False,
    which: Literal["now", "base"] = "now",
    temperature: PositiveFloat = 1.0,
    questions: NonNegativeInt = 0,
    agreed: bool = False,
    model: str = "",
) -> Iterable[Trace]:
    yield from traces
    if routes and not given.config.routes.k:
        raise ConfigError("training.sft.traces: student: routes: it is to read routes, but routes.k is 0; raise that.")
    if routes and not any(map(given.routes, given.renderer.questions.values())):
        raise DataError("student: routes: it is to read routes, but the bank has none for any question; collect CoTs.")
    voice = another(model, given, "training.sft.traces: student: model") if model else given.student(which)
    author = model or TEACHER
    first = sum(trace.cot.teacher == author for trace in traces)  # a second entry draws, and counts, anew
    source = given.rng("student", first)
    asked = list(given.renderer.questions.values())
    asked = source.sample(asked, min(questions, len(asked))) if questions else asked
    seed = source.getrandbits(62)
    prompts = []
    for question in asked:
        shown = given.routes(question) if routes else []
        drawn = unfaded(shown, given.config, seed, question.id) if shown else NOTHING
        prompts.append(given.renderer.fit(question, drawn))
    found = answers(voice, prompts, given, samples=samples, temperature=temperature, seed=seed)
    numbered = [(one, first + place % samples) for place, one in enumerate(found) if _makes_sense(one)]
    written = [Trace(one.prompt.question, one.cot(number, author)) for one, number in numbered]
    yield from _agreed(written) if agreed else written


def _makes_sense(one: Answered) -> bool:
    read, prompt = one.read, one.prompt
    told = bool(prompt.routes) and speaks_of_routes(read.think, prompt.question.question)
    return read.format_ok and not told and label_of(one.verdict) is not None


def _agreed(own: Sequence[Trace]) -> Iterable[Trace]:
    for found in by_question(own).values():
        right = {(one.cot.text, one.cot.answer): one for one in reversed(found) if one.cot.label == 1}
        yield from (one for one in found if one.cot.label != 1)
        yield from map(right.__getitem__, multimode((one.cot.text, one.cot.answer) for one in found if one.cot.label))
