"""The page of the neighbours: what it tells to type is read, and every row of each door stands on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from realm.config import load_config
from realm.plugins import POINTS
from realm.recipes import RECIPES
from realm.traces.pipeline import bound

PAGE = (Path(__file__).parents[2] / "docs" / "neighbours.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))
LISTS = [text.replace("…", "x") for text in CODE if text.startswith("[")]
SETTINGS = [text for text in CODE if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+: .+", text)]


@pytest.mark.parametrize("steps", LISTS)
def test_lists_of_steps_are_read(steps: str) -> None:
    config = load_config(None, ["training.recipe=distill", f"training.sft.traces={steps}"])
    for one in config.training.sft.traces:
        bound("steps", one)


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_are_read(setting: str, tmp_path: Path) -> None:
    key, _, value = setting.partition(": ")
    config = load_config(None, [f"{key}={value}"])
    for point in ("weighs", "miners", "shapes", "companions"):
        if key == POINTS[point].key:
            found = config.get(key)
            for one in found if isinstance(found, list) else [found]:
                bound(point, one)


def test_nothing_is_missing() -> None:
    said = " ".join(CODE)
    plain = {"bank", "right", "fits", "guided_first", "distinct", "tailored"}  # what the method itself is made of
    for point in ("steps", "weighs", "miners", "shapes", "companions"):
        for name in POINTS[point].table:
            assert name in plain or re.search(rf"\b{name}\b", said), f"{point}: {name}"
    ours = {"pairs", "phi4-mini", "preflexor", "redistill", "redistill-zero", "redistill-reader", "distill"}
    assert ours <= RECIPES.keys()
    for name in ours:
        assert re.search(rf"(?<![\w-]){name}(?![\w-])", said), name
    assert LISTS
    assert SETTINGS
