"""Data sets that are named, not files: `hf:OWNER/NAME[/CONFIG][@REVISION][:SPLIT]`, read by `datasets`.

The name is one of the Hub, or a directory of this machine that `datasets.load_dataset` reads. Without SPLIT it is
train; SPLIT may be a part, as in `train[:1000]`. Classes are read by their names.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from realm.errors import DataError
from realm.tasks.tables import plain_table

#: What such a name begins with.
HUB = "hf:"
_NAME = re.compile(r"([\w.-]+(?:/[\w.-]+)?)(?:/([^/:@]+))?(?:@([^:@]+))?")


def is_hub(path: str | Path) -> bool:
    """Whether a path of the configuration is the name of a data set."""
    return str(path).startswith(HUB)


def dataset_rows(path: str | Path, progress: Callable[[int, int], None]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number (from 1) and the content of each row.

    Raises `DataError` for a name that is none, and for what `datasets` cannot load: not known, not reachable, no such
    configuration or split.
    """
    folder, _, part = str(path).removeprefix(HUB).partition(":")
    found = _NAME.fullmatch(folder)
    local = Path(folder).expanduser().is_dir()
    if not local and not found:
        raise DataError(f"{path}: expected {HUB}OWNER/NAME[/CONFIG][@REVISION][:SPLIT], or a directory behind {HUB}")
    import datasets

    name, config, revision = (str(Path(folder).expanduser()), None, None) if local or not found else found.groups()
    try:
        rows = datasets.load_dataset(name, config, split=part or "train", revision=revision)
    except Exception as error:  # of many libraries underneath; whatever it is, there are no rows
        said = " ".join((str(error).strip() or type(error).__name__).split())
        offline = " (HF_HUB_OFFLINE is set)" if datasets.config.HF_HUB_OFFLINE and not local else ""
        raise DataError(
            f"{path}: cannot load this data set{offline}: {said:.300}. A configuration stands behind /, a split "
            f"behind a colon: {HUB}OWNER/NAME/CONFIG:SPLIT"
        ) from error
    yield from _contents(rows, progress)


def _contents(rows: Any, progress: Callable[[int, int], None]) -> Iterator[tuple[int, dict[str, Any]]]:
    classes = {name: feature.names for name, feature in rows.features.items() if hasattr(feature, "names")}
    number = 0
    for table in rows.with_format("arrow").iter(batch_size=256):
        for content in plain_table(table).to_pylist():
            for name, names in classes.items():
                place = content[name]
                content[name] = names[place] if place is not None and 0 <= place < len(names) else None
            number += 1
            yield number, content
        progress(number, len(rows))
