"""The model that a stage leaves where that is not its last step's: the best or the mean of its last checkpoints, and
some of its base.

A mean of weights costs nothing at inference. What share of the base is best is for validation questions to say.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from realm.config import Config
from realm.files import writing
from realm.student.average import average
from realm.student.load import load_model
from realm.training.adapters import merge


def settle(
    written: Path,
    checkpoints: Sequence[Path],
    share: float,
    config: Config,
    start: str,
    choose: Callable[[Sequence[Path]], int] | None = None,
) -> None:
    """Put the mean of checkpoints, with a share of the untrained student, in the place of a model's weights.

    Args:
        written: directory of the model of the last step.
        checkpoints: count the same.
        share: of the untrained student.
        start: the model with which the stage began, to which adapters belong.
        choose: gives the place of the one that counts alone, of their models' directories.

    Raises:
        ModelError: they are not of one shape.
        ResourceError: the disk refuses.
    """
    parts = written.with_name(f"{written.name}.parts")
    with writing(parts):
        shutil.rmtree(parts, ignore_errors=True)  # of an earlier start
        (parts / "mean").mkdir(parents=True)
        places = [_model(path, parts / path.name, config, start) for path in checkpoints]
        places = [places[choose(places)]] if choose is not None else places
        shares = [0.0, *[(1 - share) / len(places)] * len(places)]
        if share:
            # Saved anew, for the names of weights may be those of another version of transformers.
            load_model(config.model.path, config.model.dtype).save_pretrained(parts / "base")
            places, shares = [*places, parts / "base"], [*shares, share]
    average([written, *places], shares, parts / "mean")
    with writing(written):
        for file in (parts / "mean").iterdir():
            file.replace(written / file.name)
        shutil.rmtree(parts)


def _model(checkpoint: Path, folder: Path, config: Config, start: str) -> Path:
    """The directory of a checkpoint's model: its own, or one that is made, with the adapters merged."""
    if not (checkpoint / "adapter_config.json").is_file():
        return checkpoint
    merge(start, config.model.dtype, checkpoint, folder)
    return folder
