"""The YAML of an experiment: what it may hold, and what an error says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from realm.errors import ConfigError
from realm.experiments.spec import find, flatten, load, packaged


def test_nested_and_dotted_overrides_are_the_same() -> None:
    assert flatten({"training": {"rl": {"steps": 5}, "rounds": 2}, "routes.k": 1}) == {
        "training.rl.steps": 5,
        "training.rounds": 2,
        "routes.k": 1,
    }


def test_a_file_is_read(write_spec: Callable[..., Path]) -> None:
    spec = load(write_spec(base={"training": {"rl": {"steps": 5}}}, headline=["ood", "with"]))
    assert spec.base == {"training.rl.steps": 5}
    assert spec.headline == ("ood", "with")
    assert list(spec.arms) == ["plain", "r1"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"armz": {}}, r"mine\.yaml: unknown key armz; did you mean arms\?"),
        ({"arms": {"a": {"sett": {}}}}, r"mine\.yaml: unknown key arms\.a\.sett; did you mean set\?"),
        ({"arms": {"a": {"bank": "none"}}}, r"mine\.yaml: arms\.a\.bank: no bank 'none'"),
        ({"arms": {"a/b": {}}}, r"mine\.yaml: arms\.a/b: String should match"),
        ({"arms": {"base": {}}}, r"mine\.yaml: arms: `base` is the untrained model"),
        ({"arms": {}}, r"mine\.yaml: arms: Dictionary should have at least 1 item"),
        ({"pairs": [["r1", "r2"]]}, r"mine\.yaml: pairs: no arm 'r2' among plain, r1, base"),
        ({"pairs": [["r1", "base"]], "untrained": False}, r"no arm 'base'"),
        ({"axis": {"label": "x", "values": {"plain": 1}}}, r"mine\.yaml: axis\.values needs one number for each of pl"),
        (
            {"axis": {"label": "x", "by": "teacher_tokens", "values": {"plain": 1, "r1": 2}}},
            r"mine\.yaml: axis\.by is measured of what is trained, and stands in the place of axis\.values",
        ),
        (
            {"axis": {"label": "x", "by": "teacher_tokens"}, "kind": "models"},
            r"axis\.by is measured of what is trained",
        ),
        ({"axis": {"label": "x", "by": "price"}}, r"mine\.yaml: axis\.by: Input should be 'teacher_cots', "),
        ({"headline": ["test", "perhaps"]}, r"mine\.yaml: headline\.1: .*found 'perhaps'"),
        ({"measures": [["ood", "with"]]}, r"headline: is none of `measures`"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(
    write_spec: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load(write_spec(**changes))


def test_what_is_no_file_or_no_yaml_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot read the experiment"):
        load(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("arms: [")
    with pytest.raises(ConfigError, match=r"broken\.yaml: not valid YAML"):
        load(tmp_path / "broken.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match=r"list\.yaml: expected a mapping"):
        load(tmp_path / "list.yaml")
    (tmp_path / "empty.yaml").write_text("title: none")
    with pytest.raises(ConfigError, match=r"empty\.yaml: question is missing"):
        load(tmp_path / "empty.yaml")


def test_names_and_paths_are_found() -> None:
    assert find("baselines") == packaged()["baselines"]
    assert find("some/where.yaml") == Path("some/where.yaml")
    with pytest.raises(ConfigError, match=r"no experiment 'baseline'; did you mean baselines\?"):
        find("baseline")
    with pytest.raises(ConfigError, match=r"no experiment 'zzz'; there are autonomy, "):
        find("zzz")


@pytest.mark.parametrize("name", packaged())
def test_every_packaged_file_is_valid(name: str) -> None:
    spec = load(packaged()[name])
    assert spec.question.endswith((".", "?"))
    assert max(Counter(arm.group for arm in spec.arms.values()).values()) <= 15  # what a reader still tells apart
