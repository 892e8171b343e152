"""The configuration of a command: a file, the folder of a run, or the packaged desk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from realm import config
from realm.config import Config
from realm.errors import ConfigError
from realm.run import RunFolder

#: The configuration of the embedded desk.
DESK_CONFIG = Path(__file__).parent.parent / "desk" / "desk.yaml"


def load_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """The configuration that a command of these arguments has.

    A run is where its folder lies by now, and is named as that is: a copy goes on by itself.

    Args:
        path: a YAML file, or the folder of a run; None: the embedded desk.
        overrides: KEY=VALUE, as after `--set`; later ones win.

    Raises:
        ConfigError: the file is missing or is not YAML, a key is unknown, or a value is out of range.
    """
    if isinstance(overrides, str):
        raise ConfigError(f"overrides: expected a list of KEY=VALUE, found the text {overrides!r:.60}.")
    found = config.load_config(DESK_CONFIG if path is None else path, overrides)
    if path is not None and Path(path).is_dir() and run_above(Path(path)) == (here := Path(path).resolve()):
        given = {text.partition("=")[0].strip() for text in overrides}
        if given.isdisjoint(("run", "run.dir", "run.name")) and found.run_path.resolve() != here:
            found.run.dir, found.run.name = str(here.parent), here.name
    return found


def run_above(path: Path) -> Path | None:
    """The folder of the training run that `path` is, or lies in (its model, a checkpoint); None where there is none."""
    for folder in (path.resolve(), *path.resolve().parents):
        if (folder / "config.yaml").is_file() and (folder / "meta.json").is_file():
            return folder if RunFolder(folder).meta.evaluated is None else None
    return None


def as_taught(config: Config, model: str | Path) -> Config:
    """The configuration with the examples that a model was shown in training, where it leaves them to us.

    Told by the run that the model lies in, else by its card; as it is where neither tells, or where it is no directory.

    Raises `DataError` for a card that cannot be read.
    """
    if config.prompt.examples != "auto" or not Path(model).is_dir():
        return config
    if run := run_above(Path(model)):
        return RunFolder(run).as_begun(config)
    from realm.pages.card import read_surface  # takes a second

    told = read_surface(Path(model))
    shown = config.prompt.examples if told is None else told.prompt.examples
    return config.model_copy(update={"prompt": config.prompt.model_copy(update={"examples": shown})})


def model_of(one: str | Path) -> str | Path:
    """The model of a run, or the model that is named."""
    return Path(one) / "model" if (Path(one) / "meta.json").is_file() else str(one)


def config_of(run: Path) -> Config:
    """The configuration of a run, wherever its folder lies by now; raises `ConfigError` as `load_config`."""
    found = load_config(run)
    found.run.dir, found.run.name = str(run.parent), run.name
    return found
