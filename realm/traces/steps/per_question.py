"""`per_question`: at most `most` traces of a question, by lot: how many rationales it is taught (arXiv 2212.10071).

Fine-tune-CoT finds that several reasonings a question teach more than one.
"""

from collections.abc import Iterable, Sequence

from pydantic import PositiveInt

from realm.traces.base import Given, Trace
from realm.traces.examples import by_question


def per_question(traces: Sequence[Trace], given: Given, *, most: PositiveInt = 1) -> Iterable[Trace]:
    for name, found in by_question(traces).items():
        kept = given.rng("per_question", name).sample(range(len(found)), min(most, len(found)))
        yield from (found[place] for place in sorted(kept))
