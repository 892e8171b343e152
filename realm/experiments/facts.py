"""What the arms' prompts showed, and what their banks hold: facts that a finding needs beside the accuracies."""

import functools
import json
from collections.abc import Sequence, Set
from pathlib import Path
from statistics import fmean

from realm.bank.store import Bank
from realm.config import Config
from realm.errors import DataError
from realm.experiments.comparison import Outcome, paired
from realm.experiments.grid import Cell, Grid
from realm.experiments.results import Outcomes
from realm.experiments.spec import UNTRAINED, Spec
from realm.method.routes import draw
from realm.method.schedule import ALWAYS
from realm.rows.experiment import BankFacts, Shown
from realm.rows.training import RlStep, Step
from realm.run import RunFolder
from realm.student.prompts import make_selection
from realm.tasks.base import Question, Task


@functools.lru_cache(maxsize=1)
def _bank(path: str) -> Bank:
    return Bank.open(path)


def shown_routes(grid: Grid, arms: Sequence[str], task: Task) -> list[Shown]:
    """What each arm that showed routes in RL could show at its first step; the mean over seeds and training questions.

    Errors as of `Bank.open`.
    """
    each: dict[str, list[tuple[float, float, float]]] = {arm: [] for arm in arms}
    cells = [cell for cell in grid.cells if cell.arm in each]
    for cell in sorted(cells, key=lambda cell: cell.config.bank.path or ""):  # a bank is read once for all its cells
        found = _shown(cell, task.rows("train")[: cell.config.task.max_train])
        if found is not None:
            each[cell.arm].append(found)
    means = {arm: [fmean(values) for values in zip(*found, strict=True)] for arm, found in each.items() if found}
    return [Shown(arm=arm, routes=routes, wrong=wrong, dropped=lost) for arm, (routes, wrong, lost) in means.items()]


def _shown(cell: Cell, questions: Sequence[Question]) -> tuple[float, float, float] | None:
    """(routes, share of wrong ones, routes dropped) of one cell; None where it showed no route in RL."""
    if cell.trained is None or not Path(cell.config.bank.path or "").is_dir():
        return None
    rows = [row for row in RunFolder(cell.trained).read(Step) if isinstance(row, RlStep)]
    if not any(row.routes_per_prompt for row in rows):
        return None
    labels = [label for question in questions for label in _labels(cell.config, question.id)]
    if not labels:
        return None
    dropped = fmean(row.routes_dropped or 0.0 for row in rows)
    return len(labels) / len(questions), labels.count(0) / len(labels), dropped


def _labels(config: Config, question_id: str) -> list[int]:
    """Labels of the routes that the first step would show of a question before any fading."""
    assert config.bank.path is not None
    selection = make_selection(config, ALWAYS)
    routes = _bank(config.bank.path).routes(question_id)
    chosen = draw(routes, selection, seed=config.run.seed, question_id=question_id, step=0).routes
    return [route.label for route in chosen]


def bank_facts(spec: Spec, grid: Grid, found: Outcomes, task: Task) -> list[BankFacts]:
    """The banks of an experiment of the kind `bound`, each with the first pair whose first arm learned from it.

    Needs the untrained model among the arms, and a pair that is compared in the headline.

    Raises:
        DataError: a bank has no CoT, or no two CoTs, of any question of the headline's split.
    """
    split = found.headline[0]
    students = found.of(UNTRAINED, (split, False))
    facts: dict[str, BankFacts] = {}
    for arm, against, _ in (pair for pair in spec.pairs if pair.of(found.headline)):
        name = spec.arms[arm].bank or "base's"
        if name in facts:
            continue
        cells = [cell for cell in grid.of(arm) if cell.trained is not None]
        teachers = [_teacher(str(cell.config.bank.path), task.rows(split)) for cell in cells]
        asked = set.intersection(*(set(run) for run in teachers))
        if not asked:
            raise DataError(
                f"bank {name}: the kind `bound` holds students against the teacher's CoTs on split {split!r}, and "
                "found none that every seed has; collect them (collect.splits), or choose another headline."
            )
        right, answered = _on(asked, teachers), _on(asked, students)
        teacher, student = (fmean(fmean(run.values()) for run in runs) for runs in (right, answered))
        gap = paired(right, answered, found.resamples, found.seed)
        facts[name] = BankFacts(
            name=name,
            teacher=teacher,
            student=student,
            gap=gap.difference,
            low=gap.low,
            high=gap.high,
            distance=fmean(_distance(cell) for cell in cells),
            pair=(arm, against),
        )
    return list(facts.values())


def _on(questions: Set[str], runs: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes of these questions alone."""
    return [{key: run[key] for key in questions} for run in runs]


def _teacher(bank: str, questions: Sequence[Question]) -> Outcome:
    """The share of right CoTs of every question that has some that were judged.

    As of a student, an answer that was cut, refused or cannot be read is not right, though no prompt shows it.
    """
    cots = {question.id: _bank(bank).cots(question.id) for question in questions}
    judged = {key: [cot for cot in found if cot.label is not None or cot.reason] for key, found in cots.items()}
    return {key: fmean(cot.label == 1 for cot in found) for key, found in judged.items() if found}


def _distance(cell: Cell) -> float:
    """Mean distance of two CoTs of a question, as the training noted it."""
    assert cell.trained is not None
    stats = json.loads((cell.trained / "bank_stats.json").read_text(encoding="utf-8"))
    distance = stats["redundancy"]["mean_distance"]
    if distance is None:
        raise DataError(
            f"{cell.trained}: the kind `bound` tells how far two CoTs of a question are apart, and no question has "
            "two; collect more (bank.samples)."
        )
    return float(distance)
