"""`repetition`: traces that repeat themselves little (filter of SERT, see `pattern`).

At most the share `most` of the runs of `words` words in the thinking may have stood there before.
"""

from collections.abc import Iterable, Sequence

from pydantic import PositiveInt

from realm.sections import Probability
from realm.traces.base import Given, Trace


def repetition(
    traces: Sequence[Trace], given: Given, *, words: PositiveInt = 4, most: Probability = 0.2
) -> Iterable[Trace]:
    return [trace for trace in traces if repeated(trace.cot.text, words) <= most]


def repeated(text: str, words: int) -> float:
    """The share of the runs of so many words that stood in the text before."""
    said = text.split()
    runs = [tuple(said[start : start + words]) for start in range(len(said) - words + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0
