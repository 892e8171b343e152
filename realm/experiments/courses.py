"""How the arms fared while they trained: accuracy on validation at the start, at its best and at the end, and the point
from which on it is below its best by more than chance.

The best step is picked by the very figures that later steps are held against, which favours it: a fall is shown a
little too readily. Every later step is tested alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from realm.statistics.student import t_test

#: Digits that are kept of a difference, so that seeds that fell alike count as equal.
_DIGITS = 9

Row = dict[str, Any]


def courses(curves: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A row for every arm and measure of `curves` (as in results.json), means over the seeds.

    `start`, `best` and `end` are {step, mean}, of the first of equal bests. `falls` is None or the first later step
    that is below the best by more than a 95 % margin: {step, difference, low, high}, the difference best − later, its
    interval by t over the seeds. One seed has no margin.
    """
    runs: dict[tuple[str, str], list[dict[float, float]]] = {}
    for curve in curves:
        runs.setdefault((curve["arm"], curve["measure"]), []).append(dict(curve["points"]))
    return list(_rows(runs))


def _rows(runs: Mapping[tuple[str, str], Sequence[Mapping[float, float]]]) -> Iterator[Row]:
    for (arm, measure), seeds in runs.items():
        steps = sorted(set.intersection(*(set(points) for points in seeds)))  # a mean needs every seed
        if not steps:
            continue
        means = {step: fmean(points[step] for points in seeds) for step in steps}
        best = max(steps, key=lambda step: means[step])
        places = {name: {"step": step, "mean": means[step]} for name, step in
                  (("start", steps[0]), ("best", best), ("end", steps[-1]))}  # fmt: skip
        later = (fall for step in steps if step > best and (fall := _fall(seeds, best, step)))
        yield {"arm": arm, "measure": measure, "seeds": len(seeds), **places, "falls": next(later, None)}


def _fall(seeds: Sequence[Mapping[float, float]], best: float, step: float) -> Row | None:
    """How far accuracy is below that of the best step, paired by seed; None where that is not shown."""
    differences = [round(points[best] - points[step], _DIGITS) for points in seeds]
    if len(set(differences)) < 2:  # one seed, or equal ones, which have no spread that a margin could be made of
        return None
    low, high, _ = t_test(differences)
    return {"step": step, "difference": fmean(differences), "low": low, "high": high} if low > 0 else None
