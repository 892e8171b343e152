"""Every packaged experiment resolves: each of its keys and values is one that the configuration knows."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from realm.experiments.conduct import _check
from realm.experiments.grid import make_grid
from realm.experiments.spec import load, packaged


@pytest.mark.parametrize("name", packaged())
def test_every_packaged_experiment_resolves(name: str, tmp_path: Path) -> None:
    path = packaged()[name]
    spec = load(path)
    grid = make_grid(spec, path, tmp_path, seeds=2)
    assert [cell.arm for cell in grid.cells[: len(grid.cells) // 2]] == ["base", *spec.arms]
    _check(spec, path, grid)  # raises where what is compared will not be there
    fast = make_grid(spec, path, tmp_path, seeds=2, fast=True)
    trained = [cell.config.training for cell in fast.cells if cell.trained]
    assert all(one.rl.steps <= 16 and max(one.sft.steps, one.pairs.steps) <= 6 for one in trained)


@functools.cache
def folders(name: str) -> dict[str, str]:
    """The trained cells of an experiment with one seed: arm -> hash."""
    cells = make_grid(load(packaged()[name]), packaged()[name], Path("out"), seeds=1).cells
    return {cell.arm: cell.trained.name.rpartition("-")[2] for cell in cells if cell.trained}


def test_arms_of_one_experiment_are_different_runs() -> None:
    for name in ("error-ratio", "routes", "rule-injection", "selection", "bound"):
        found = folders(name)
        assert len(set(found.values())) == len(found), name


def test_what_experiments_have_in_common_is_trained_once() -> None:
    baselines = folders("baselines")
    assert folders("mrpv-alone").items() <= baselines.items()
    shared = {folders("autonomy")["realm-r1"], folders("schedules")["cosine"]}
    shared |= {folders("rule-injection")["rho-50"], baselines["realm-r1"]}
    shared |= {folders("selection")["random"], folders("rounds")["one"]}
    assert len(shared) == 1
    assert folders("autonomy")["adaptive"] == folders("schedules")["adaptive"]


def test_the_example_in_the_docs_resolves(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "howto" / "experiments.md").read_text(encoding="utf-8")
    path = tmp_path / "more-routes.yaml"
    path.write_text(text.split("```yaml\n")[1].split("```")[0])
    grid = make_grid(load(path), path, tmp_path, seeds=3)
    assert [grid.of(arm)[0].config.routes.k for arm in ("two", "four")] == [2, 4]


def test_every_arm_of_rounds_takes_the_same_steps(tmp_path: Path) -> None:
    cells = make_grid(load(packaged()["rounds"]), packaged()["rounds"], tmp_path, seeds=1).cells
    spent = [cell.config.training for cell in cells if cell.trained]
    assert {(one.rounds * one.sft.steps, one.rounds * one.rl.steps) for one in spent} == {(100, 60)}
    assert sorted(one.rounds for one in spent) == [1, 2, 4]
