"""`prune`: a right CoT up to the step from which the student gets home (Efficient long CoT, arXiv 2505.18440).

The paper cuts redundant steps by binary search, and the student itself says whether what is left will do. Here: the
shortest beginning of at least `least` steps behind which the student, its thinking closed there, greedily writes the
gold. Found by halving, which takes for granted that more steps never hurt: at most ceil(log2 n) answers a CoT of n
steps, those of all CoTs side by side. Where no beginning does, the CoT stays whole, as wrong ones do.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pydantic import NonNegativeInt

from realm.analysis.steps import LINES, split_steps
from realm.traces.base import Given, Trace
from realm.traces.sampling import brings_home


def prune(traces: Sequence[Trace], given: Given, *, least: NonNegativeInt = 1) -> Iterable[Trace]:
    voice = given.student("now")
    steps = [split_steps(trace.cot.text) if trace.cot.label == 1 else [] for trace in traces]
    low, high = [min(least, len(found)) for found in steps], [len(found) for found in steps]
    while live := [number for number in range(len(traces)) if low[number] < high[number]]:
        middle = {number: (low[number] + high[number]) // 2 for number in live}
        tried = [_cut(traces[number], steps[number], middle[number]) for number in live]
        for number, right in zip(live, brings_home(voice, tried, given), strict=True):
            if right:
                high[number] = middle[number]
            else:
                low[number] = middle[number] + 1
    for trace, found, kept in zip(traces, steps, high, strict=True):
        yield _cut(trace, found, kept) if kept < len(found) else trace


def _cut(trace: Trace, steps: Sequence[str], kept: int) -> Trace:
    lines = sum(map(bool, map(str.strip, trace.cot.text.splitlines()))) >= LINES
    return replace(trace, cot=replace(trace.cot, text=("\n" if lines else " ").join(steps[:kept])))
