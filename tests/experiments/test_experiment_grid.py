"""From file to cells: what is shared, what is another cell, and with which routes an arm is evaluated."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from realm.config import Config, load_config
from realm.errors import ConfigError
from realm.experiments.grid import Cell, Grid, _evaluation_hash, _tree, base_config, make_grid
from realm.experiments.spec import load
from realm.tasks.base import Task
from realm.tasks.registry import load_task
from realm.teacher.collect import make_plan

WriteSpec = Callable[..., Path]


def grid_of(path: Path, out: Path, **more: Any) -> Grid:
    return make_grid(load(path), path, out, **{"seeds": 1, **more})


def cell_of(path: Path, out: Path, arm: str, **more: Any) -> Cell:
    return grid_of(path, out, **more).of(arm)[0]


def digest(folder: Path | None) -> str:
    assert folder is not None
    return folder.name.rpartition("-")[2]


def test_a_cell_for_every_arm_and_seed(write_spec: WriteSpec, tmp_path: Path) -> None:
    grid = grid_of(write_spec(), tmp_path, seeds=3, overrides=["run.seed=7"])
    assert [(cell.arm, cell.seed) for cell in grid.cells] == [
        (arm, seed) for seed in (7, 8, 9) for arm in ("base", "plain", "r1")
    ]
    assert len({cell.evaluated for cell in grid.cells}) == 9
    assert len(grid.banks) == 3
    for cell in grid.cells:
        assert cell.config.run.seed == cell.seed
        assert cell.config.bank.path in map(str, grid.banks)


def test_equal_settings_are_one_cell_under_any_arms_name(write_spec: WriteSpec, tmp_path: Path) -> None:
    first = cell_of(write_spec(), tmp_path, "r1")
    assert first.trained is not None
    assert first.trained.name.startswith("r1-seed0-")
    first.trained.mkdir(parents=True)
    other = write_spec("other.yaml", arms={"again": {"set": {"training": {"recipe": "realm-r1"}}}}, pairs=[])
    assert cell_of(other, tmp_path, "again").trained == first.trained
    assert cell_of(other, tmp_path, "again").config == first.config


def test_equal_arms_of_one_experiment_are_one_cell(write_spec: WriteSpec, tmp_path: Path) -> None:
    arm = {"set": {"training.recipe": "realm-r1"}}
    file = write_spec(arms={"one": arm, "same": arm}, pairs=[])
    grid = make_grid(load(file), file, tmp_path, seeds=1)
    assert len({cell.trained for cell in grid.cells if cell.trained}) == 1


@pytest.mark.parametrize(
    "setting", ["training.rl.learning_rate=1e-4", "reward.rule=brier", "guidance.probability=0.9", "bank.samples=9"]
)
def test_other_settings_are_another_cell(write_spec: WriteSpec, tmp_path: Path, setting: str) -> None:
    one, other = (cell_of(write_spec(), tmp_path, "r1", overrides=text) for text in ([], [setting]))
    assert digest(one.trained) != digest(other.trained)
    banks = [next(iter(grid_of(write_spec(), tmp_path, overrides=text).banks)) for text in ([], [setting])]
    assert (banks[0] != banks[1]) == setting.startswith(("guidance", "bank"))


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("training.rl", {"shapes": ["mgpo"]}),
        ("evaluation", {"confidence": "likelihood"}),
        ("training", {"average": {"checkpoints": 1, "base": 0.5}}),
    ],
)
def test_keys_that_came_later_count_once_they_are_set(section: str, changes: dict[str, object]) -> None:
    plain, changed = Config(), Config().changed({f"{section}.{key}": value for key, value in changes.items()})
    before, after = _tree(plain, {}), _tree(changed, {})
    for part in section.split("."):
        before, after = before[part], after[part]
    assert not changes.keys() & before.keys()
    assert after == {**before, **changes}


def test_a_default_that_changed_leaves_the_names_of_before() -> None:
    before, now = Config().changed({"training.sft.padding": "batch"}), Config()
    assert "padding" not in _tree(before, {})["training"]["sft"]
    assert _tree(now, {})["training"]["sft"]["padding"] == "length"


def test_the_example_counts_where_it_is_shown() -> None:
    """Cells of the packaged student have the prompts, and the names, that they had before there was one."""
    packaged, other = Config(), Config().changed({"model.path": "models/other"})
    assert "examples" not in _tree(packaged, {})["prompt"] and _tree(other, {})["prompt"]["examples"] == "auto"
    trained = [_evaluation_hash(config, {}, model="trained") for config in (packaged, other)]
    assert trained[0] == trained[1], "of a student that was trained, its training says all of it"


def test_internalize_stands_where_it_stood_as_cells_were_first_named() -> None:
    assert _tree(Config(), {})["training"]["rl"]["internalize"] == {"weight": 0.0, "by": "sft"}


def test_place_name_and_resamples_do_not_make_another_cell(write_spec: WriteSpec, tmp_path: Path) -> None:
    here = cell_of(
        write_spec(), tmp_path / "here", "r1", overrides=["run.name=x", "run.dir=y", "evaluation.bootstrap=100"]
    )
    there = cell_of(write_spec(), tmp_path / "there", "r1")
    assert digest(here.trained) == digest(there.trained)


def test_another_content_of_a_file_makes_another_bank(write_spec: WriteSpec, tmp_path: Path) -> None:
    rules = tmp_path / "rules.md"
    folders = set()
    for text in ("one rule", "another rule"):
        rules.write_text(text)
        folders |= set(grid_of(write_spec(), tmp_path, overrides=[f"guidance.comments={rules}"]).banks)
    assert len(folders) == 2


def test_another_model_of_a_local_teacher_makes_another_bank(write_spec: WriteSpec, tmp_path: Path) -> None:
    model = tmp_path / "teacher"
    model.mkdir()
    seen = set()
    for weights in ("first", "second, longer"):
        (model / "model.safetensors").write_text(weights)
        grid = grid_of(write_spec(), tmp_path, overrides=[f"teachers={{own: {{kind: transformers, model: {model}}}}}"])
        seen.add((next(iter(grid.banks)).name, digest(grid.of("r1")[0].trained)))
    assert len({bank for bank, _ in seen}) == len({cell for _, cell in seen}) == 2


def test_arms_with_routes_of_their_own_are_evaluated_with_the_common_ones(
    write_spec: WriteSpec, tmp_path: Path
) -> None:
    arms = {
        "plain": {"set": {"training.recipe": "grpo"}},
        "two": {"set": {"routes.k": 2, "routes.selection": "diverse"}},
        "guided": {"bank": "guided"},
    }
    path = write_spec(arms=arms, banks={"guided": {"guidance.probability": 1.0}}, pairs=[])
    grid = grid_of(path, tmp_path)
    common = grid.common
    plain, two, guided = (grid.of(arm)[0] for arm in arms)
    assert plain.evaluated == plain.trained
    assert plain.evaluation is None
    for cell in (two, guided):
        assert cell.evaluation is not None and cell.evaluated != cell.trained
        assert cell.evaluation.routes == common.routes
        assert cell.evaluation.bank.path == plain.config.bank.path
        assert cell.evaluation.model.path == str(cell.trained) + "/model"
    assert two.config.routes.k == 2
    assert guided.config.bank.path != plain.config.bank.path
    assert len(grid.banks) == 2


def test_the_command_line_holds_where_an_arm_says_nothing(write_spec: WriteSpec, tmp_path: Path) -> None:
    arms = {"few": {"set": {"training.rl.steps": 3}}, "usual": {}}
    path = write_spec(arms=arms, pairs=[], base={"training.rl.steps": 9, "routes.k": 3})
    grid = grid_of(path, tmp_path, overrides=["training.rl.steps=5"])
    assert [grid.of(arm)[0].config.training.rl.steps for arm in arms] == [3, 5]
    assert {cell.config.routes.k for cell in grid.cells} == {3}


def test_fast_caps_and_never_raises(write_spec: WriteSpec, tmp_path: Path) -> None:
    arms = {"none": {"set": {"training.sft.steps": 0, "training.rl.steps": 500}}}
    training = cell_of(write_spec(arms=arms, pairs=[]), tmp_path, "none", fast=True).config.training
    assert (training.sft.steps, training.rl.steps) == (0, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": {"training.rl.stepz": 3}}, r"mine\.yaml: base: .*unknown key training\.rl\.stepz; did you mean"),
        (
            {"arms": {"r1": {"set": {"routes.k": -1}}, "plain": {}}},
            r"mine\.yaml: arms\.r1: routes\.k=-1: routes\.k: Input should be greater",
        ),
        (
            {"arms": {"r1": {"set": {"task.max_test": 3}}, "plain": {}}},
            r"mine\.yaml: arms\.r1: `task` \(but for `task.max_train`\) and `evaluation` must be those of `base`",
        ),
        (
            {"arms": {"r1": {"set": {"evaluation.samples": 3}}, "plain": {}}},
            r"mine\.yaml: arms\.r1: `task` \(but for .*\) and `evaluation` must be those of `base`",
        ),
        (
            {"arms": {"r1": {"set": {"training.rl.max_completion_length": 33}}, "plain": {}}},
            r"mine\.yaml: arms\.r1: training\.rl\.max_completion_length must be that of `base` .*found 33",
        ),
    ],
)
def test_a_bad_override_is_named_with_file_and_arm(
    write_spec: WriteSpec, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        grid_of(write_spec(**changes), tmp_path)


def test_a_bad_option_of_the_command_line_is_not_blamed_on_the_file(write_spec: WriteSpec, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--set routes\.kk=3: unknown key"):
        grid_of(write_spec(), tmp_path, overrides=["routes.kk=3"])


def questions_file(folder: Path, count: int = 40) -> list[str]:
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps({"question": f"What is {n}?", "answer": str(n)}) + "\n" for n in range(count)))
    return ["task.name=jsonl", f"task.path={rows}", "task.test_size=9"]


def test_models_are_evaluated_side_by_side_and_nothing_is_trained(write_spec: WriteSpec, tmp_path: Path) -> None:
    arms = {
        name: {"set": {"model.path": name, "model.dtype": kind}} for name, kind in (("a", "float32"), ("b", "bfloat16"))
    }
    file = write_spec(kind="models", arms=arms, pairs=[["a", "b"]], base={"routes.k": 0})
    found = grid_of(file, tmp_path, seeds=3)
    assert [(cell.arm, cell.seed, cell.trained) for cell in found.cells] == [
        ("base", 0, None), ("a", 0, None), ("b", 0, None),
    ]  # fmt: skip
    assert len({cell.evaluated for cell in found.cells}) == 3
    assert all(cell.evaluation == cell.config for cell in found.cells) and not found.banks
    assert [cell.config.model.path for cell in found.cells[1:]] == ["a", "b"]
    shown = grid_of(write_spec(kind="models", arms=arms, pairs=[["a", "b"]]), tmp_path)
    assert len(shown.banks) == 1 and {cell.config.routes.k for cell in shown.cells} == {4}
    with pytest.raises(ConfigError, match=r"arms.a: `task` and `evaluation.splits` must be those of `base`"):
        grid_of(write_spec(kind="models", arms={"a": {"set": {"task.max_test": 3}}}, pairs=[]), tmp_path)


def test_all_seeds_answer_the_same_questions(write_spec: WriteSpec, tmp_path: Path) -> None:
    own = questions_file(tmp_path)
    cells = grid_of(write_spec(), tmp_path, seeds=3, overrides=[*own, "run.seed=4"]).cells
    assert {cell.config.task.split_seed for cell in cells} == {4}
    found = [[question.id for question in load_task(cell.config).rows("test")] for cell in cells]
    assert all(ids == found[0] for ids in found)
    chosen = grid_of(write_spec(), tmp_path, seeds=2, overrides=[*own, "task.split_seed=9"]).cells
    assert {cell.config.task.split_seed for cell in chosen} == {9}


def test_a_teacher_that_costs_something_is_asked_once_for_all_seeds(write_spec: WriteSpec, tmp_path: Path) -> None:
    paid = ["teachers={big: {kind: openai, model: m}}"]
    grid = grid_of(write_spec(), tmp_path, seeds=3, overrides=paid)
    assert len(grid.banks) == 1
    assert next(iter(grid.banks.values())).run.seed == 0
    assert {cell.config.bank.path for cell in grid.cells} == {str(folder) for folder in grid.banks}
    assert len({digest(cell.trained) for cell in grid.of("r1")}) == 3


def test_another_content_of_bank_model_or_questions_makes_another_cell(write_spec: WriteSpec, tmp_path: Path) -> None:
    bank, model = tmp_path / "bank", tmp_path / "student"
    for folder, file in ((bank, "cots.jsonl"), (model, "model.safetensors")):
        folder.mkdir()
        (folder / file).write_text("first")
    other, asked = tmp_path / "other.yaml", tmp_path / "asked.jsonl"
    other.write_text(f"task: {{name: jsonl, path: {asked}}}")
    asked.write_text("first")
    texts = [*questions_file(tmp_path), f"bank.path={bank}", f"model.path={model}", f"evaluation.also={other}"]

    def digests() -> tuple[str, str]:
        grid = grid_of(write_spec(), tmp_path, overrides=texts)
        return digest(grid.of("r1")[0].trained), digest(grid.of("base")[0].evaluated)

    seen = {digests()}
    (bank / "README.md").write_text("nothing rests on it")
    assert {digests()} == seen
    for change in (
        lambda: (bank / "cots.jsonl").write_text("second, longer"),
        lambda: (model / "model.safetensors").write_text("second, longer"),
        lambda: asked.write_text("second, longer"),
        lambda: other.write_text(f"task: {{name: jsonl, max_test: 2, path: {asked}}}"),
        lambda: questions_file(tmp_path, 41),
    ):
        change()
        seen.add(digests())
    assert len({trained for trained, _ in seen}) == len({evaluated for _, evaluated in seen}) == 6


def test_another_mentor_makes_another_cell(write_spec: WriteSpec, tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("first")
    weigh = [
        f"training.sft.weigh={{mentor: {{model: {tmp_path}}}}}",
        f"training.sft.traces=[{{pam: {{wrong: {'o' * 999}}}}}]",
    ]

    def trained() -> str:
        return digest(grid_of(write_spec(), tmp_path / "results", overrides=weigh).of("r1")[0].trained)

    first = trained()
    (tmp_path / "weights").write_text("second, longer")
    assert first != trained()


def test_an_evaluation_keeps_its_name_when_its_model_is_there(write_spec: WriteSpec, tmp_path: Path) -> None:
    path = write_spec(arms={"two": {"set": {"routes.k": 2}}}, pairs=[])
    cell = cell_of(path, tmp_path, "two")
    assert cell.trained is not None and cell.evaluated != cell.trained
    (cell.trained / "model").mkdir(parents=True)
    (cell.trained / "model" / "config.json").write_text("{}")
    assert cell_of(path, tmp_path, "two").evaluated == cell.evaluated


def test_choices_of_an_experiment_are_the_words_that_stand_there(write_spec: WriteSpec) -> None:
    path = write_spec(base={"task.choices": "CHOICES"})
    path.write_text(path.read_text().replace("CHOICES", "[yes, no, 1.50, null]"))
    assert base_config(load(path), path).task.choices == ["yes", "no", "1.50", "null"]


def test_arms_of_fewer_questions_share_the_bank_of_those_with_more(write_spec: WriteSpec, tmp_path: Path) -> None:
    sizes = {"few": 20, "more": 40, "most": 60}
    arms: dict[str, Any] = {name: {"set": {"task.max_train": count}} for name, count in sizes.items()}
    arms |= {"less": {"set": {"task.max_train": 30, "bank.samples": 6}}}
    grid = grid_of(write_spec(arms=arms, pairs=[], base={"task.max_train": 50}), tmp_path)
    assert [(bank.task.max_train, bank.bank.samples) for bank in grid.banks.values()] == [(60, 8), (30, 6)]
    shared, other = map(str, grid.banks)
    paths = {cell.arm: cell.config.bank.path for cell in grid.cells}
    assert paths == dict.fromkeys(("base", *sizes), shared) | {"less": other}
    assert [grid.of(arm)[0].config.task.max_train for arm in arms] == [20, 40, 60, 30]
    assert len({cell.trained for cell in grid.cells}) == 5 and all(grid.of(arm)[0].evaluation is None for arm in sizes)
    assert [bank.task.max_train for bank in grid_of(write_spec(arms=arms, pairs=[]), tmp_path).banks.values()] == [
        None,
        30,
    ]
    whole = grid_of(write_spec(arms={"all": {}}, pairs=[], base={"task.max_train": 60}), tmp_path)
    assert [str(folder) for folder in whole.banks] == [shared]
    assert digest(whole.of("all")[0].trained) == digest(grid.of("most")[0].trained)


def test_where_no_routes_are_asked_for_another_bank_needs_no_evaluation_of_its_own(
    write_spec: WriteSpec, tmp_path: Path
) -> None:
    arms = {"two": {"set": {"bank.samples": 6}}}
    cells = [cell_of(write_spec(arms=arms, pairs=[], base={"routes.k": k}), tmp_path, "two") for k in (0, 4)]
    assert [cell.evaluated == cell.trained for cell in cells] == [True, False]


def test_fewer_questions_and_fewer_cots_are_a_part_of_more(tmp_path: Path) -> None:
    """So that a size differs from the next by what was bought besides, and nothing else."""

    def sized(questions: int, samples: int, *own: str) -> tuple[Config, Task]:
        sizes = [f"task.max_train={questions}", f"bank.samples={samples}", "routes.k=0", "collect.splits=[train]"]
        config = load_config(None, [*own, *sizes])
        return config, load_task(config)

    def bought(config: Config, task: Task) -> dict[str, str]:
        plan = make_plan(config, task)
        (source,) = plan.sources
        jobs = list(plan.jobs(source))
        replies = asyncio.run(source.teacher.ask([plan.ask(source, job) for job in jobs]))
        return {job.key: reply.text for job, reply in zip(jobs, replies, strict=True)}

    few, many = bought(*sized(5, 2)), bought(*sized(9, 8))
    assert (len(few), len(many)) == (10, 72)
    assert few.items() < many.items()
    own = questions_file(tmp_path)
    ids = [[question.id for question in task.rows("train")] for _, task in (sized(5, 1, *own), sized(9, 1, *own))]
    assert (len(ids[0]), len(ids[1])) == (5, 9) and ids[0] == ids[1][:5]
