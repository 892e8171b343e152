"""A trained model as a folder to give away, and onto the Hub where that is asked for."""

import json
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from realm.commands.configuring import config_of, run_above
from realm.errors import ConfigError, ResourceError
from realm.files import fresh, write_atomic, writing
from realm.pages.card import CARD, write_card
from realm.student.load import find
from realm.tasks.registry import load_task

#: Files of a model and its tokenizer; whatever else lies there stays.
SHARED = re.compile(
    r"README\.md|LICENSE.*|NOTICE.*|.+\.safetensors|.+\.safetensors\.index\.json|(generation_)?config\.json|tokenizer.*\.json"
    r"|(special_tokens_map|added_tokens|vocab)\.json|.+\.jinja|(vocab|merges)\.txt|(tokenizer|spiece|sentencepiece.*)\.model"
)
#: Those that are read together with a model wherever they lie beside it.
_OF_A_MODEL = (
    *("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json", "generation_config.json"),
    *("chat_template.jinja", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "merges.txt"),
)
#: Settings that libraries have written into a model's files and that say where it lay.
_PLACES = ("_name_or_path", "name_or_path", "vocab_file", "tokenizer_file")


def export_hub(run: Path, folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write what is to be published of a run: the model, its tokenizer and its card.

    Settings that name a place on this machine are taken out. Nothing else of the run is in it: no optimizer state, no
    configuration, no question.

    Args:
        overwrite: a model that lies in the folder makes room.

    Returns:
        The files.

    Raises:
        UserError: it is no run with a model, there is a model in the folder, or the disk refuses.
    """
    model = model_of(run, folder)
    for file in model.glob("*.safetensors"):
        if file.is_symlink():
            raise ConfigError(f"{file}: is a link, which is not followed; put the file itself there.")
    found = []
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        there = sorted(file for file in folder.iterdir() if SHARED.fullmatch(file.name) and not file.is_dir())
        for old in there:  # a README.md may be of anything
            fresh(old, overwrite)
        with tempfile.TemporaryDirectory(prefix=".", suffix=".tmp", dir=folder) as aside:
            for file in sorted(filter(_shared, model.iterdir())):
                copy = Path(shutil.copyfile(file, Path(aside) / file.name))
                if copy.suffix == ".json" and copy.name.endswith("config.json"):
                    _without_places(copy)
            for old in there:  # of another model, which would be read together with this one
                old.unlink()
            # Without its config.json a folder is no model: it comes when all others are there.
            for copy in sorted(Path(aside).iterdir(), key=lambda one: (one.name == "config.json", one.name)):
                found.append(copy.replace(folder / copy.name))
    found.sort()
    if folder / CARD not in found:  # of an earlier version
        config = config_of(run.resolve())
        found.append(write_card(run, config, load_task(config), folder))
    return found


def model_of(run: Path, folder: Path) -> Path:
    """The directory of a run's model; raises `UserError` for what is none, and a `folder` that is of the run itself."""
    if run_above(run) != run.resolve():
        raise ConfigError(f"{run}: expected the folder of a training run (config.yaml, meta.json and model/ in it).")
    model = run / "model"
    if not model.is_dir():
        raise ConfigError(f"{run}: the run has no model yet; go on with it: realm train {run} --resume")
    find(model)
    place, own = folder.resolve(), (run.resolve(), model.resolve())
    if place in own or own[1] in place.parents:
        raise ConfigError(f"{folder}: is the run itself, or of its model; choose another folder.")
    return model


def _shared(file: Path) -> bool:
    return SHARED.fullmatch(file.name) is not None and file.is_file() and not file.is_symlink()


def _without_places(file: Path) -> None:
    """Take settings that name a place out of a JSON file; any other is left as it is."""
    with suppress(ValueError, RecursionError):
        settings: Any = json.loads(file.read_text(encoding="utf-8"))
        kept = _kept(settings)
        if kept != settings:
            write_atomic(file, json.dumps(kept, indent=2, ensure_ascii=False) + "\n")


def _kept(settings: Any) -> Any:
    """Settings, and those within them, without the places."""
    if not isinstance(settings, dict):
        return settings
    return {name: _kept(value) for name, value in settings.items() if name not in _PLACES}


def check_name(name: str) -> None:
    """Raise `ConfigError` for what is no `owner/name` of the Hub."""
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name):
        raise ConfigError(f"--push: expected owner/name, found {name!r:.80}.")


def push(folder: Path, files: list[Path], name: str, *, public: bool = False) -> str:
    """Upload files of a folder as the model `owner/name` of the Hub, by the token of the environment or the login.

    Files of another model that lie there, and would be read together with these, go.

    Args:
        public: a repository that is not there yet is made for everybody to read; one that is there stays as it is.

    Returns:
        Where it is.

    Raises:
        ConfigError: that is no such name.
        ResourceError: the Hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi

    check_name(name)
    try:
        api = HfApi()
        place = api.create_repo(name, private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=place.repo_id,
            folder_path=folder,
            allow_patterns=[file.name for file in files],
            delete_patterns=[*_OF_A_MODEL],  # those that are uploaded stay
            commit_message="A model trained by realm",
        )
    except Exception as error:  # of whatever library speaks HTTP below
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise ResourceError(
            f"{name}: the Hub did not take it ({said}). The folder {folder} is whole. A token that may write there is "
            "that of HF_TOKEN or `hf auth login`; the same command with --overwrite tries again."
        ) from error
    return str(place)
