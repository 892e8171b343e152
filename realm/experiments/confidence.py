"""When the answers of an arm may be trusted: what `evaluation.confidence` tells of its cells, over all seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from realm.evaluation.confidence import Rated, pooled, rated
from realm.experiments.comparison import Key
from realm.rows.evaluation import Confidence, Evaluation, Prediction
from realm.run_rows import read_rows

#: By split and routes: what an evaluation told of confidence, and its answers by question id, in its own order.
Told = dict[Key, tuple[Confidence, dict[str, Rated]]]


def told_by(folder: Path) -> Told:
    """What a finished evaluation told of confidence; empty where that was not asked for."""
    rows = read_rows(folder, Evaluation)
    found: Told = {(row.split, row.routes > 0): (row.confidence, {}) for row in rows if row.confidence is not None}
    for row in read_rows(folder, Prediction) if found else ():
        if row.stage == "final" and (here := found.get((row.split, row.routes > 0))):
            here[1][row.question_id] = rated(row, here[0].by)
    return found


def over_seeds(cells: Sequence[Told], keys: Iterable[Key], resamples: int, seed: int) -> dict[Key, Confidence]:
    """The figures of an arm where all of its cells have them; each seed trusts by its own threshold, or nothing.

    One seed has the intervals of its own evaluation.
    """
    made = {}
    for key in keys:
        each = [cell[key] for cell in cells if key in cell]
        if each and len(each) == len(cells):
            told, ids = [one for one, _ in each], list(each[0][1])
            levels = [None if one.trusted is None else one.threshold for one in told]
            answers = [[found[question] for question in ids] for _, found in each]
            chosen = [one.threshold for one in told if one.threshold is not None]
            made[key] = replace(
                pooled(answers, told[0].by, resamples, seed, levels),
                curve=(),
                wanted=told[0].wanted,
                chosen_on=told[0].chosen_on,
                threshold=fmean(chosen) if chosen else None,
            )
    return made
