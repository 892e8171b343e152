"""The page of a run, of two runs, of an experiment or of a bank."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from realm.bank.folder import BankFolder
from realm.commands.showing import Showing, silent
from realm.errors import ConfigError
from realm.pages import write_report
from realm.pages.bank import write_bank_report
from realm.pages.experiment import write_experiment_page
from realm.pages.pair import write_comparison
from realm.rows.experiment import Results
from realm.run_rows import read_row


def report(
    run: str | Path,
    other: str | Path | None = None,
    *,
    out: str | Path | None = None,
    figures: str | Path | None = None,
    model: str | None = None,
    reading: Showing[Callable[[int, int], None] | None] = silent,
) -> Path:
    """What `realm report` does: one self-contained HTML page from the files of a run, an experiment or a bank.

    Args:
        run: folder of a training run, of an experiment, or of a bank.
        other: a second run, set beside the first.
        out: the page; None: report.html in the folder (against-OTHER.html for two runs).
        figures: folder for every figure as SVG and PNG.
        model: of a bank: the student whose tokens are counted.
        reading: shows how far the reading of a bank is.

    Returns:
        The page.

    Raises:
        UserError: there is nothing to report, a file is damaged, or the page cannot be written.
    """
    folder, page, drawn = Path(run), _path(out), _path(figures)
    if model is not None and not (folder / "bank.json").is_file():
        raise ConfigError(f"--model: counts a student's tokens in a bank, and {folder} is none.")
    if other is not None:
        return write_comparison(folder, Path(other), page, drawn)
    if (folder / "bank.json").is_file():
        reader = None
        if model is not None:
            from realm.analysis.reading_student import student  # takes torch, which no other page needs

            reader = student(model, None, 4, BankFolder.open(folder).info)
        with reading("reading the bank") as progress:
            return write_bank_report(folder, page, progress or (lambda done, total: None), reader, drawn)
    if (results := read_row(folder, Results)) is not None:
        return write_experiment_page(results, folder, page, drawn)
    return write_report(folder, page, drawn)


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)
