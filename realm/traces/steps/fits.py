"""`fits`: the traces that a completion may be long enough for (`training.rl.max_completion_length`).

Those that do not fit are never taught; before a step that chooses among traces it chooses among those that can be.
"""

from collections.abc import Iterable, Sequence

from realm.traces.base import Given, Trace
from realm.traces.examples import fitting


def fits(traces: Sequence[Trace], given: Given) -> Iterable[Trace]:
    return fitting(traces, given)
