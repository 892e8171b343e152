"""Two models on the same held-out questions, paired: how far apart they are, and the questions that they part on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from realm.commands.configuring import config_of, load_config, model_of, run_above
from realm.commands.evaluating import evaluate
from realm.commands.showing import Showing, silent
from realm.config import Config
from realm.errors import ConfigError
from realm.pages import pair
from realm.pages.data import Difference, Result
from realm.student.load import find


@dataclass(frozen=True)
class Comparison:
    """Two models on one split, without or with routes.

    Attributes:
        results: of each; None where a run holds predictions and no summary.
        difference: first minus second, paired by question.
        part: how many questions both, neither or one alone got right, and some of these with both answers.
    """

    results: tuple[Result | None, Result | None]
    difference: Difference
    part: pair.Part


def compare(
    a: str | Path,
    b: str | Path,
    config: Config | None = None,
    *,
    margin: float | None = None,
    evaluating: Showing[Callable[[int, int], None] | None] = silent,
) -> tuple[list[Comparison], list[str]]:
    """What `realm compare` does, by the stored evaluations where both have one, else by one that is made and not kept.

    Args:
        a, b: folder of a run or of an evaluation, or a model (a directory, a Hub name, the packaged base).
        config: whose questions a model is asked that has no evaluation; None: those of the other one.
        margin: a difference in accuracy, above 0 and below 1, that would not matter; whether each is smaller is tested.
        evaluating: shows how far an evaluation is.

    Returns:
        A comparison for each split without and with routes, and what the reader is to be told of the files.

    Raises:
        UserError: nothing tells the questions; they differ; a model, the task, the bank or the margin is not usable.
    """
    pair.check_margin(margin)
    stored = [_stored(one) for one in (a, b)]
    with TemporaryDirectory(prefix="realm-compare-") as temporary:
        folders = []
        for one, there, place in zip((a, b), stored, "ab", strict=True):
            if there is None:
                model = model_of(one)
                find(model)
                # Named as it is called: the tables tell the two apart by the ends of these paths.
                there = Path(temporary) / place / Path(one).resolve().name
                there.parent.mkdir()
                evaluate(config or _questions(a, b, *stored), model, out=there, evaluating=evaluating)
            folders.append(there)
        report, passes, answers = pair.paired(folders[0], folders[1], margin=margin)
        parts = pair.disagreements(report, passes, *answers)
    found = [
        Comparison(
            (
                report.result(row.name, row.split, bool(row.routes)),
                report.result(row.against, row.split, bool(row.routes)),
            ),
            row,
            part,
        )
        for row, part in zip(report.differences, parts, strict=True)
    ]
    notes = [*report.notes]
    for row in (row for one in found for row in one.results if row is not None):
        if row.routes_dropped and not row.routes_per_prompt:
            notes.append(
                f"{row.name}, {row.split}: no prompt had room for any of {row.routes} routes, so none was shown."
            )
    return found, notes


def _stored(one: str | Path) -> Path | None:
    """The folder with the predictions of a run, of an evaluation, or of the run that left a model."""
    path = Path(one)
    run = run_above(path)
    folder = run if run is not None and path.resolve() == run / "model" else path
    return folder if (folder / "predictions.jsonl").is_file() else None


def _questions(a: str | Path, b: str | Path, *stored: Path | None) -> Config:
    """The configuration by which one of the two was evaluated, or of the run that one of them lies in."""
    for folder in (one for one in (*stored, a, b) if one is not None):
        if (run := run_above(Path(folder))) is not None:
            return config_of(run)
        if folder in stored:
            return load_config(folder)
    raise ConfigError(
        f"{a} and {b}: neither has an evaluation, and nothing tells which questions to ask. Name a configuration with "
        "--config, or evaluate one first: realm evaluate CONFIG --model DIR --out DIR"
    )
