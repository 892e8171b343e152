"""Digests of the files, banks and models that a configuration only names: another content is another cell."""

import functools
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from realm.config import Config, load_config, of_stage
from realm.plugins import entry, files, named
from realm.recipes import plan
from realm.sections import PACKAGED_BASE

_PACKAGED = Path(__file__).parent.parent / "desk" / "base"
#: Files of banks and models that no outcome rests on.
_ASIDE = ("README.md", "ledger.jsonl")
#: Name, size in bytes and time of change in ns.
Stamp = tuple[tuple[str, int, int], ...]


def content(path: str | None) -> str:
    """Digest of a file, or of the files in a folder, by name and size; empty where there is neither (a name of a hub).

    Hidden files and folders within are left out.
    """
    if not path:
        return ""
    place = Path(path).expanduser()
    stamp = _stamp([place] if place.is_file() else _files(place))
    return _digest(stamp) if stamp else ""


def contents(config: Config) -> dict[str, str]:
    """Digests of what the task, the comments, the student and local teachers are read from, and of the sources of
    plug-ins, by the keys that name them."""
    model, stages, other = config.model.path, plan(config), config.evaluation.also
    configs = [config, *(of_stage(config, stage) for stage in stages)]
    found = [one for each in configs for one in named(each.model_dump())]
    for stage in stages:
        found += [("training.recipe", "stages", stage.kind)]
        found += [("training.recipe", "steps", one) for one in stage.traces]
    besides = {"evaluation.also": content(other)} if other else {}
    if other:
        also = load_config(other, trusted=False).task
        besides |= {f"evaluation.also.{key}": content(getattr(also, key)) for key in ("path", "test_path")}
        found += [(f"evaluation.also.{key}", point, one) for key, point, one in named({"task": also.model_dump()})]
    for name, teacher in config.teachers.items():  # one that is a model of this machine
        if teacher.kind == "transformers" and teacher.share and (digest := content(teacher.model)):
            besides[f"teachers.{name}.model"] = digest
    plugins: dict[str, list[Path]] = {}
    for key, point, (name, options) in ((key, point, entry(one)) for key, point, one in found):
        plugins.setdefault(key, []).extend(files(point, name))
        for option, value in options.items():  # a mentor's model, a book
            with suppress(OSError, ValueError, RuntimeError):  # not every text can be a path
                if isinstance(value, str) and (digest := content(value)):
                    besides[f"{key}.{name}.{option}"] = digest
    return {
        **besides,
        **{key: _digest(_stamp(found)) for key, found in plugins.items() if found},
        "task.path": content(config.task.path),
        "task.test_path": content(config.task.test_path),
        "guidance.comments": content(config.guidance.comments),
        "model.path": content(str(_PACKAGED) if model == PACKAGED_BASE else model),
    }


def _stamp(files: Iterable[Path]) -> Stamp:
    return tuple((str(file), (found := file.stat()).st_size, found.st_mtime_ns) for file in files)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [file for file in folder.iterdir() if file.is_file() and file.name not in _ASIDE]
    return sorted(file for file in found if not file.name.startswith("."))


@functools.lru_cache(maxsize=64)  # every cell asks, and weights are large
def _digest(stamp: Stamp) -> str:
    found = hashlib.sha256()
    for path, size, _ in stamp:
        with Path(path).open("rb") as file:
            found.update(f"{Path(path).name}\0{size}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return found.hexdigest()
