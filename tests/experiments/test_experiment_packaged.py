"""Every packaged experiment resolves: each of its keys and values is one that the configuration knows."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from realm.experiments.conduct import _check
from realm.experiments.grid import Grid, make_grid
from realm.experiments.spec import Spec, load, packaged


def student(spec: Spec) -> list[str]:
    """The packaged one in the place of a student that is yet to be made."""
    return ["model.path=desk-base"] if "model.path" in spec.base else []


@pytest.mark.parametrize("name", packaged())
def test_every_packaged_experiment_resolves(name: str, tmp_path: Path) -> None:
    path = packaged()[name]
    spec = load(path)
    made = student(spec)
    grid = make_grid(spec, path, tmp_path, seeds=2, overrides=made)
    seeds = 1 if spec.kind == "models" else 2
    arms = [*(["base"] if spec.untrained else []), *spec.arms]
    assert [cell.arm for cell in grid.cells[: len(grid.cells) // seeds]] == arms
    _check(spec, path, grid)  # raises where what is compared will not be there
    fast = make_grid(spec, path, tmp_path, seeds=2, overrides=made, fast=True)
    trained = [cell.config.training for cell in fast.cells if cell.trained]
    assert all(one.rl.steps <= 16 and max(one.sft.steps, one.pairs.steps) <= 6 for one in trained)


@functools.cache
def folders(name: str) -> dict[str, str]:
    """The trained cells of an experiment with one seed: arm -> hash."""
    spec = load(packaged()[name])
    cells = make_grid(spec, packaged()[name], Path("out"), seeds=1, overrides=student(spec)).cells
    return {cell.arm: cell.trained.name.rpartition("-")[2] for cell in cells if cell.trained}


def test_arms_of_one_experiment_are_different_runs() -> None:
    for name in ("error-ratio", "routes", "rule-injection", "selection", "bound", "data-size"):
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


HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto"


def in_docs(page: str, name: str) -> str:
    """The YAML of a page that begins with the file's name."""
    blocks = (HOWTO / page).read_text(encoding="utf-8").split("```yaml\n")[1:]
    return next(block.split("```")[0] for block in blocks if block.startswith(f"# {name}"))


def test_the_examples_in_the_docs_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my-task.yaml").write_text("task: {name: jsonl, path: rows.jsonl}\n")

    def resolved(page: str, name: str) -> Grid:
        Path(name).write_text(in_docs(page, name))
        return make_grid(load(Path(name)), Path(name), tmp_path, seeds=3)

    grid = resolved("experiments.md", "more-routes.yaml")
    assert [grid.of(arm)[0].config.routes.k for arm in ("two", "four")] == [2, 4]
    grid = resolved("experiments.md", "my-decoding.yaml")
    assert {cell.config.model.path for cell in grid.cells} == {"runs/my-task/model"} and len(grid.cells) == 5
    grid = resolved("what-is-taught.md", "my-sizes.yaml")
    assert [grid.of(arm)[0].config.task.max_train for arm in ("q50", "q100", "q200")] == [50, 100, 200]
    assert {cell.config.bank.path for cell in grid.cells} == {"my-bank"} and not grid.banks
    assert all(cell.evaluation is None for cell in grid.cells if cell.trained)


def test_every_arm_of_rounds_takes_the_same_steps(tmp_path: Path) -> None:
    cells = make_grid(load(packaged()["rounds"]), packaged()["rounds"], tmp_path, seeds=1).cells
    spent = [cell.config.training for cell in cells if cell.trained]
    assert {(one.rounds * one.sft.steps, one.rounds * one.rl.steps) for one in spent} == {(100, 60)}
    assert sorted(one.rounds for one in spent) == [1, 2, 4]


def test_arms_of_data_size_that_are_held_against_each_other_cost_as_much_or_half(tmp_path: Path) -> None:
    spec = load(packaged()["data-size"])
    grid = make_grid(spec, packaged()["data-size"], tmp_path, seeds=1)
    bought = {
        cell.arm: (cell.config.task.max_train or 0) * cell.config.bank.samples for cell in grid.cells if cell.trained
    }
    ratios = [bought[pair.arm] / bought[pair.against] for pair in spec.pairs if pair.against in bought]
    assert ratios == [2.0, 2.0, 2.0, 2.0, 1.875, *[1.0] * 8]
    sizes = {bank.bank.samples: bank.task.max_train for bank in grid.banks.values()}
    assert sizes == {2: 1500, 8: None, 32: 200}
    assert all(cell.evaluation is None for cell in grid.cells if cell.trained)  # nothing is evaluated twice


def test_settings_of_one_model_differ_in_how_it_is_asked_alone(tmp_path: Path) -> None:
    path = packaged()["decoding"]
    grid = make_grid(load(path), path, tmp_path, seeds=3, overrides=["model.path=here"])
    assert {cell.config.model.path for cell in grid.cells} == {"here"} and not grid.banks
    asked = [(cell.config.evaluation.model_dump_json(), cell.config.prompt.system) for cell in grid.cells]
    assert len({*asked}) == len(grid.cells) == 8


def test_cells_keep_the_names_under_which_they_were_run(tmp_path: Path) -> None:
    names = {
        cell.trained.name
        for name in ("data-size", "gap")
        for cell in make_grid(load(packaged()[name]), packaged()[name], tmp_path, seeds=1).cells
        if cell.trained and cell.arm in ("q50", "brief")
    }
    # A new key of the configuration that is not among `_LATER` changes them, and all experiments would be run anew.
    assert names == {"q50-seed0-f9c64ecb", "brief-seed0-4c4f1248"}
