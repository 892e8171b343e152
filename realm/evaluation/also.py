"""What training took: another task (`evaluation.also`), asked of the trained model and of the untrained one.

Specialising costs what a small model could do before (arXiv 2301.12726). The other task is asked in its own wording and
without routes; the two models are compared question by question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from realm.config import Config, load_config
from realm.errors import DataError
from realm.evaluation.evaluate import evaluate_model, evaluation_splits, question_accuracies
from realm.method.seeds import derive
from realm.rows.base import Place
from realm.rows.evaluation import Evaluation, Prediction
from realm.run import RunFolder
from realm.statistics.bootstrap import paired_difference
from realm.student.generate import Progress, to_accelerator
from realm.student.load import load
from realm.tasks.base import Question, Task
from realm.tasks.registry import load_task
from realm.tasks.workers import VerifierPool


@dataclass(frozen=True)
class Other:
    """The other task: its name in tables, the configuration that it is asked by, and its questions by split."""

    name: str
    config: Config
    task: Task
    questions: Mapping[str, Sequence[Question]]


def other_task(config: Config) -> Other | None:
    """The task of the configuration that `evaluation.also` names; None where it names none.

    Raises:
        ConfigError: it cannot be read, or has no such split; a plug-in that it names has not been named by the user.
        DataError: there is no question.
    """
    if config.evaluation.also is None:
        return None
    path = Path(config.evaluation.also)
    # The configuration that names it may be of a run of others, so that it says nothing of whom the user trusts.
    other = load_config(path, trusted=False).changed({"model": config.model.model_dump()})
    task = load_task(other)
    questions = {split: task.rows(split) for split in evaluation_splits(other, task)}
    if empty := [split for split, rows in questions.items() if not rows]:
        raise DataError(f"evaluation.also: {path}: split {empty[0]}: there is no question to evaluate.")
    return Other(path.resolve().name.removesuffix(path.suffix), other, task, questions)


def ask_besides(
    config: Config,
    model: str | Path,
    *,
    out: Path,
    place: Place,
    untrained: str | None = None,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """Ask the other task, if there is one, of a model and of the untrained one that it was made from.

    Adds to <out>/evaluations.jsonl a row for each split, named OTHER:SPLIT, with what changed, and to predictions.jsonl
    what the model answered.

    Args:
        untrained: path of that model; None: there is none.

    Raises: as `other_task` and `realm.evaluation.evaluate.evaluate_directory`.
    """
    other = other_task(config)
    if other is None:
        return []
    paths = [str(path) for path in (untrained, model) if path is not None]
    total = len(paths) * sum(map(len, other.questions.values()))
    done = 0

    def report(finished: int, _: int) -> None:
        if progress is not None:
            progress(done + finished, total)

    task, choices, timeout = other.task, other.config.task.choices, other.config.task.verifier_timeout
    found: dict[str, list[tuple[Evaluation, list[Prediction]]]] = {split: [] for split in other.questions}
    with VerifierPool(task.verifier.name, choices, timeout) as pool:
        for path in paths:
            student, tokenizer = load(path, config.model.dtype, config.model)
            to_accelerator(student)
            for split, questions in other.questions.items():
                summary, rows = evaluate_model(
                    student,
                    tokenizer,
                    questions,
                    None,
                    task,
                    pool,
                    other.config,
                    with_routes=False,
                    split=f"{other.name}:{split}",
                    seed=config.run.seed,
                    where=place,
                    progress=report,
                )
                found[split].append((summary, rows))
                done += len(rows)
    summaries = [
        _changed(*asked, resamples=config.evaluation.bootstrap, seed=config.run.seed) for asked in found.values()
    ]
    folder = RunFolder(out)
    folder.keep(Prediction, lambda _: True, [row for asked in found.values() for row in asked[-1][1]])
    folder.keep(Evaluation, lambda _: True, summaries)
    return summaries


def _changed(*asked: tuple[Evaluation, list[Prediction]], resamples: int, seed: int) -> Evaluation:
    """The summary of the model, with what changed since the untrained one, where that was asked."""
    (first, _), (last, _) = asked[0], asked[-1]
    if len(asked) == 1:
        return last
    before, after = (question_accuracies(rows) for _, rows in asked)
    change, low, high = paired_difference(after, before, resamples, derive(seed, "bootstrap"))
    return replace(last, before=first.accuracy, change=change, change_low=low, change_high=high)
