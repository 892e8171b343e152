"""Models of one shape averaged into a new directory, which says of what it was made."""

import difflib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import ModelCardData

import realm
from realm.commands.configuring import model_of
from realm.commands.sharing import SHARED
from realm.errors import ConfigError, ModelError
from realm.experiments.contents import content
from realm.files import new_folder, write_atomic, writing
from realm.pages.card import CARD, KEY, LICENSE_ID, code, license_of, read_surface
from realm.sections import PACKAGED_BASE
from realm.student.average import average as write_mean
from realm.student.average import find_files, refuse_unlike
from realm.student.load import is_hub_name, load_model, load_settings
from realm.text import percent


def average(models: Sequence[str | Path], folder: Path, shares: Sequence[float] = ()) -> list[float]:
    """What `realm average` does: the weighted mean of models' weights as a model directory, with a card.

    All but the weights and the card is that of the first model.

    Args:
        models: runs, model directories, names of the Hub or the packaged base.
        shares: of each in the mean, together 1; a single one is that of the second of two; none: all the same.

    Returns:
        The share of each.

    Raises:
        ConfigError: shares or models do not go together.
        ModelError: a model cannot be loaded, or has other weights than the first.
        ResourceError: the folder is there already, or the disk refuses.
    """
    if len(models) < 2:
        raise ConfigError(
            f"expected two or more models, found {len(models)}: {', '.join(map(str, models))}; name another."
        )
    for model in models:
        _refuse_missing(str(model))
    paths = [model_of(model) for model in models]
    given = shares = list(shares) or [1 / len(paths)] * len(paths)
    shares = [1 - shares[0], *shares] if len(shares) == 1 and len(paths) == 2 else shares
    if len(shares) != len(paths) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        hint = f"; did you mean {', '.join(f'{share / 100:g}' for share in given)}?" if max(given) > 1 else ""
        found = ", ".join(f"{share:g}" for share in given)
        raise ConfigError(
            f"--share: expected one share for each of two or more models, from 0 and together 1 (of two models, that "
            f"of the second alone will do), found {found} for {len(paths)} models{hint or '.'}"
        )
    refuse_unlike(paths)
    first = find_files(paths[0])
    with new_folder(folder) as made:
        with writing(folder):
            for file in first.iterdir():
                if SHARED.fullmatch(file.name) and file.suffix != ".safetensors" and file.name != CARD:
                    shutil.copyfile(file, made / file.name)
        _write_mean(paths, shares, made)
        write_atomic(made / CARD, _card(paths, shares))
        load_model(made)
    return shares


def _write_mean(models: Sequence[str | Path], shares: Sequence[float], folder: Path) -> None:
    """As `write_mean`, also of files that name the same weights as different versions of transformers do."""
    try:
        write_mean(models, shares, folder)
    except ModelError as error:
        with tempfile.TemporaryDirectory(prefix=".", suffix=".tmp", dir=folder.parent) as aside:
            anew = [Path(aside) / str(number) for number in range(len(models))]
            try:
                for model, place in zip(models, anew, strict=True):
                    kind = str(load_settings(model).dtype or "float32").removeprefix("torch.")
                    with writing(place):
                        load_model(model, kind).save_pretrained(place)
                write_mean(anew, shares, folder)
            except ModelError:
                raise error from None


def _refuse_missing(model: str) -> None:
    """Refuse what is neither here nor a name of the Hub, and what is nearly the name of something here."""
    path = Path(model).expanduser()
    if model == PACKAGED_BASE or path.exists():
        return
    beside = [str(Path(model).with_name(one.name)) for one in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(model, [PACKAGED_BASE, *beside], 3, 0.8)
    if near or not is_hub_name(model):
        hint = f" Did you mean {' or '.join(near)}?" if near else " Name a run, a directory or OWNER/NAME of the Hub."
        raise ModelError(f"{model}: there is no such model directory.{hint}")


def _card(models: Sequence[str | Path], shares: Sequence[float]) -> str:
    """The text of README.md: of what it was made, and, where the first model's card says so, how it is asked."""
    licences = {license_of(str(find_files(model))) for model in models}
    licence = licences.pop() if len(licences) == 1 else ""
    data = ModelCardData(
        base_model=[str(model) for model in models if is_hub_name(str(model))] or None,
        license=licence if LICENSE_ID.fullmatch(licence) else None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["merge"],
    )
    if asked := read_surface(find_files(models[0])):
        data[KEY] = asked.model_dump()
    lines = []
    for model, share in zip(models, shares, strict=True):
        named = str(model) == PACKAGED_BASE or is_hub_name(str(model))
        place = find_files(model)
        name = str(model) if named else "/".join(place.resolve().parts[-2:])
        lines.append(
            f"- {percent(share)}: {code(name)}, licence: {license_of(str(place))}, digest {content(str(place))[:16]}"
        )
    parts = "\n".join(lines)
    return (
        f"---\n{data.to_yaml()}\n---\n\n# The mean of {len(models)} models\n\nTheir weights, averaged by `realm "
        f"average` (realm {realm.__version__}):\n\n{parts}\n\nTokenizer and settings are those of the first. What it "
        "answers was not measured.\n"
    )
