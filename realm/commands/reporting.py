"""The page of a run, of two runs, of an experiment or of a bank."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from realm.bank.folder import BankFolder
from realm.commands.showing import Showing, silent
from realm.errors import ConfigError
from realm.pages.bank import bank_page
from realm.pages.experiment import experiment_page
from realm.pages.page import run_page
from realm.pages.pair import write_comparison
from realm.pages.templates import Page
from realm.rows.experiment import Results
from realm.run_rows import read_row


def report(
    run: str | Path,
    other: str | Path | None = None,
    *,
    out: str | Path | None = None,
    figures: str | Path | None = None,
    model: str | None = None,
    margin: float | None = None,
    reading: Showing[Callable[[int, int], None] | None] = silent,
) -> Path:
    """What `realm report` does: one self-contained HTML page from the files of a run, an experiment or a bank.

    Args:
        run: folder of a training run, of an experiment, or of a bank.
        other: a second run, set beside the first.
        out: the page; None: report.html in the folder (against-OTHER.html for two runs).
        figures: folder for every figure as SVG and PNG.
        model: of a bank: the student whose tokens are counted.
        margin: of two runs: a difference in accuracy, above 0 and below 1, that would not matter; whether each is
            smaller is tested.
        reading: shows how far the reading of a bank is.

    Returns:
        The page.

    Raises:
        UserError: there is nothing to report, a file is damaged, or the page cannot be written.
    """
    folder, page, drawn = Path(run), _path(out), _path(figures)
    if model is not None and not (folder / "bank.json").is_file():
        raise ConfigError(f"--model: counts a student's tokens in a bank, and {folder} is none.")
    if margin is not None and other is None:
        raise ConfigError("--margin: is held against the differences of two runs; name the other one.")
    if other is not None:
        return write_comparison(folder, Path(other), page, drawn, margin=margin)
    return page_of(folder, model, reading).write(folder / "report.html" if page is None else page, drawn)


def page_of(
    folder: Path, model: str | None = None, reading: Showing[Callable[[int, int], None] | None] = silent
) -> Page:
    """The page of a run, of an experiment or of a bank; arguments and errors as of `report`."""
    if (folder / "bank.json").is_file():
        reader = None
        if model is not None:
            from realm.analysis.reading_student import student  # takes torch, which no other page needs

            reader = student(model, None, 4, BankFolder.open(folder).info)
        with reading("reading the bank") as progress:
            return bank_page(folder, progress or (lambda done, total: None), reader)
    if (results := read_row(folder, Results)) is not None:
        return experiment_page(results)
    return run_page(folder)


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)
