"""The bank of a run: named in its configuration or collected for it, and the copy of a file that stays with it."""

import shutil
from pathlib import Path

from realm.bank.store import Bank
from realm.config import Config, needs_bank
from realm.exchange.importing import bank_path, open_bank
from realm.files import writing
from realm.recipes import plan
from realm.tasks.base import Task
from realm.tasks.workers import VerifierPool


def has_bank(config: Config) -> bool:
    """Whether a bank was named, or collected for this run."""
    return bool(config.bank.path) or (config.run_path / "bank").exists()


def bank_settings(config: Config, *, resume: bool = False) -> Config | None:
    """The configuration with the bank that the run takes; None where there is none and the recipe asks for no CoTs.

    A resumed run goes on with its own copy of an imported file, whatever became of the file. Raises `DataError` where
    nothing is there.
    """
    if not has_bank(config) and not any(needs_bank(config, stage) for stage in plan(config)):
        return None
    if resume and config.bank.path and Path(config.bank.path).suffix == ".jsonl" and _imported(config.run_path):
        config = config.model_copy(update={"bank": config.bank.model_copy(update={"path": None})})
    bank_path(config)
    return config


def open_run_bank(config: Config, task: Task, pool: VerifierPool, *, resume: bool = False) -> Bank | None:
    """The configured bank (see `open_bank`); None, and what is resumed, as of `bank_settings`."""
    found = bank_settings(config, resume=resume)
    return None if found is None else open_bank(found, task, pool)


def _imported(run: Path) -> bool:
    """Whether the bank in the folder of a run is a copy that `keep_bank` made, not one that was collected there."""
    return (run / "bank" / "bank.json").is_file() and "source" in Bank.open(run / "bank").info


def keep_bank(bank: Bank, run: Path) -> None:
    """Put a bank that was imported into the run's folder: the labels that this run rests on stay with it.

    The copy of an earlier run is replaced; a bank that was collected there stays: it may have cost a teacher's fees.
    """
    if (run / "bank").exists() and not _imported(run):
        return
    temporary = run / "bank.tmp"  # renamed when whole, so that a resumed run never takes half a bank
    with writing(temporary):
        shutil.rmtree(temporary, ignore_errors=True)
        bank.save(temporary)
        if (run / "bank").exists():
            shutil.rmtree(run / "bank")
        temporary.rename(run / "bank")
