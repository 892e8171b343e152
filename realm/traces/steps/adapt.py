"""`adapt`: no thinking where the student needs none (adaptive thinking of DistilQwen, arXiv 2511.01354).

Of a question that the student, its thinking closed at once, answers right in at least `right` of `samples` answers,
the answer alone is taught; of any other its CoTs. The paper's adaptive series fit the thinking to the question; how
they choose is not established, so the rule is ours, and their reward models are left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pydantic import PositiveFloat, PositiveInt

from realm.errors import ConfigError
from realm.traces.base import Given, Trace
from realm.traces.examples import by_question
from realm.traces.sampling import brings_home


def adapt(
    traces: Sequence[Trace],
    given: Given,
    *,
    samples: PositiveInt = 4,
    right: PositiveInt = 3,
    temperature: PositiveFloat = 1.0,
) -> Iterable[Trace]:
    if right > samples:
        raise ConfigError(f"training.sft.traces: adapt: right ({right}) is above samples ({samples}): no trace can be.")
    voice, source = given.student("now"), given.rng("adapt")
    brief = {
        trace.question.id: replace(trace, cot=replace(trace.cot, text="")) for trace in traces if trace.cot.label == 1
    }
    found = brings_home(
        voice, list(brief.values()), given, samples=samples, temperature=temperature, seed=source.getrandbits(62)
    )
    easy = {name for name, count in zip(brief, found, strict=True) if count >= right}
    for name, group in by_question(traces).items():
        yield from [brief[name]] if name in easy else group
