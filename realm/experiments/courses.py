"""How the arms fared while they trained: accuracy on validation at the start, at its best and at the end, and the point
from which on it is below its best by more than chance.

The best step is picked by the very figures that later steps are held against, which favours it: a fall is shown a
little too readily. Every later step is tested alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from realm.rows.experiment import At, Course, Curve, Fall
from realm.statistics.student import t_test

#: Digits that are kept of a difference, so that seeds that fell alike count as equal.
_DIGITS = 9


def courses(curves: Sequence[Curve]) -> list[Course]:
    """A row for every arm and measure of `curves`, means over the seeds.

    `start`, `best` and `end` are {step, mean}, of the first of equal bests. `falls` is None or the first later step
    that is below the best by more than a 95 % margin: {step, difference, low, high}, the difference best − later, its
    interval by t over the seeds. One seed has no margin.
    """
    runs: dict[tuple[str, str], list[dict[int, float]]] = {}
    for curve in curves:
        runs.setdefault((curve.arm, curve.measure), []).append(dict(curve.points))
    return list(_rows(runs))


def _rows(runs: Mapping[tuple[str, str], Sequence[Mapping[int, float]]]) -> Iterator[Course]:
    for (arm, measure), seeds in runs.items():
        steps = sorted(set.intersection(*(set(points) for points in seeds)))  # a mean needs every seed
        if not steps:
            continue
        means = {step: fmean(points[step] for points in seeds) for step in steps}
        best = max(steps, key=lambda step: means[step])
        start, top, end = (At(step=step, mean=means[step]) for step in (steps[0], best, steps[-1]))
        later = (fall for step in steps if step > best and (fall := _fall(seeds, best, step)))
        fall = next(later, None)
        yield Course(arm=arm, measure=measure, seeds=len(seeds), start=start, best=top, end=end, falls=fall)


def _fall(seeds: Sequence[Mapping[int, float]], best: int, step: int) -> Fall | None:
    """How far accuracy is below that of the best step, paired by seed; None where that is not shown."""
    differences = [round(points[best] - points[step], _DIGITS) for points in seeds]
    if len(set(differences)) < 2:  # one seed, or equal ones, which have no spread that a margin could be made of
        return None
    low, high, _ = t_test(differences)
    return Fall(step=step, difference=fmean(differences), low=low, high=high) if low > 0 else None
