"""What another package brings is found by its name, trains, and is reported."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from realm.config import load_config
from realm.errors import ConfigError
from realm.plugins import _NAMED, _entry, _import, find, trust
from realm.recipes import plan
from realm.tasks.registry import load_task
from realm.tasks.verify import verifier
from realm.tasks.workers import VerifierPool

MODULE = """
from realm.recipes.stage import Recipe, Stage

def stages(config):
    return [Stage("rl", 0, config.training.rl.steps, 0), Stage("sft", 0, config.training.sft.steps, config.routes.k)]

MINE = Recipe("mine", stages, {"training.sft.empty_share": 0.0})
NUMBER = 3

class Yes:
    name = "others_recipes:yes"
    def __call__(self, answer, gold, question=""):
        return answer == "yes"
    def key(self, answer):
        return answer

def yes(choices):
    return Yes()

def questions(settings, seed):
    from realm.tasks.jsonl import load_jsonl
    return load_jsonl(settings, seed)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with a module, and with what pip leaves of a package that declares an entry point for it."""
    folder = tmp_path / "site"
    info = folder / "others-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[realm.recipes]\nmine = others_recipes:MINE\nbroken = others_gone:MINE\n")
    (folder / "others_recipes.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    _entry.cache_clear()
    yield folder
    _entry.cache_clear()
    _import.cache_clear()
    _NAMED.clear()
    sys.modules.pop("others_recipes", None)


@pytest.mark.parametrize("name", ["mine", "others_recipes:MINE"])
def test_a_recipe_of_another_package_is_planned_with_its_settings(package: Path, name: str) -> None:
    config = load_config(None, [f"training.recipe={name}"])
    assert [stage.kind for stage in plan(config)] == ["rl", "sft"] and config.training.sft.empty_share == 0.0
    with pytest.raises(ConfigError, match=f"the recipe {name} fixes training.sft.empty_share at 0.0"):
        load_config(None, [f"training.recipe={name}", "training.sft.empty_share=0.5"])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("realm-r2", r"expected grpo, .*, broken, mine or a package\.module:attribute \(did you mean realm-r1\?\)"),
        ("mein", "did you mean mine"),
        ("nothing-like-it", r"expected grpo, .* or a package\.module:attribute, found"),
        ("broken", r"others_gone:MINE cannot be imported \(ModuleNotFoundError: No module named 'others_gone'\)"),
        ("others_recipes:YOURS", r"others_recipes:YOURS cannot be imported \(AttributeError: .*YOURS"),
        ("others_recipes:NUMBER", "others_recipes:NUMBER is int, expected Recipe"),
        (":", "cannot be imported"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(package: Path, name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--set training\.recipe={name}: training\.recipe: .*{told}") as caught:
        load_config(None, [f"training.recipe={name}"])
    assert "\n" not in str(caught.value)


def test_without_a_kind_it_has_to_be_called(package: Path) -> None:
    assert find("verifiers", "one", {"one": len}) is len
    trust(["others_recipes:stages", "others_recipes:NUMBER"])
    assert find("verifiers", "others_recipes:stages", {"one": len}).__name__ == "stages"
    with pytest.raises(ValueError, match="is int, expected a function"):
        find("verifiers", "others_recipes:NUMBER", {"one": len})


def test_a_task_and_a_verifier_of_another_package(package: Path, tmp_path: Path) -> None:
    rows = (json.dumps({"question": f"{n}?", "answer": "yes"}) + "\n" for n in range(400))
    (tmp_path / "rows.jsonl").write_text("".join(rows))
    here = [f"task.path={tmp_path / 'rows.jsonl'}", "task.verifier=others_recipes:yes", "routes.k=4"]
    task = load_task(load_config(None, ["task.name=others_recipes:questions", *here]))
    assert task.rows("train")
    with VerifierPool(task.verifier.name) as pool:
        assert [verdict.correct for verdict in pool.verify([("yes", "no"), ("no", "no")])] == [True, False]
    with pytest.raises(
        ConfigError, match=r"^task\.name: expected desk, gsm8k, .* \(did you mean jsonl\?\), found 'josnl'"
    ):
        load_task(load_config(None, ["task.name=josnl", *here]))
    with pytest.raises(ConfigError, match=r"^task\.verifier: expected exact, .* \(did you mean exact\?\)"):
        verifier("exakt")
