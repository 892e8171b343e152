"""What a stage leaves: the mean or the best of its last checkpoints, some of the base; off, what it always left."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from realm.config import Config
from realm.errors import ConfigError, TrainingError
from realm.rows.evaluation import Evaluation
from realm.run import RunFolder
from realm.student.load import load_model
from realm.training import recipes
from realm.training.adapters import merge
from realm.training.checkpoints import last_regular
from realm.training.prepare import prepare
from tests.tiny import Killed, TinyTask, assert_same, go, killed_at, tiny_bank, tiny_config, weights


def config_of(folder: Path, student: Path, **training: Any) -> Config:
    return tiny_config(
        folder,
        student,
        **{"recipe": "sft", "save_every": 1, "keep_checkpoints": 3, "eval_every": 1, "eval_questions": 8, **training},
    )


def mean(parts: list[dict[str, torch.Tensor]], shares: list[float]) -> dict[str, torch.Tensor]:
    return {
        name: sum(share * part[name].double() for part, share in zip(parts, shares, strict=True)).float()
        for name in parts[0]
    }


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, student: Path) -> RunFolder:
    """A run that averages nothing; its checkpoints of steps 2, 3 and 4 are kept."""
    return go(config_of(tmp_path_factory.mktemp("plain"), student))


@pytest.fixture(scope="module")
def parts(plain: RunFolder) -> list[dict[str, torch.Tensor]]:
    return [weights(plain.path / f"checkpoints/sft/round-0/checkpoint-{step}") for step in (2, 3, 4)]


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory, student: Path) -> RunFolder:
    return go(config_of(tmp_path_factory.mktemp("averaged"), student, average={"checkpoints": 3, "base": 0.25}))


def test_the_mean_is_that_of_the_last_checkpoints_and_the_base(
    plain: RunFolder, averaged: RunFolder, parts: list[Any], student: Path
) -> None:
    assert same(weights(plain.path / "model"), parts[-1]), "off, it is the last step's"
    assert same(weights(averaged.path / "model"), mean([*parts, weights(student)], [0.25] * 4))
    names = [{str(file.relative_to(run.path)) for file in run.path.rglob("*")} for run in (plain, averaged)]
    assert names[0] == names[1], "nothing is left beside it"
    load_model(averaged.path / "model")


def test_a_run_that_was_stopped_between_checkpoints_ends_as_the_straight_one(tmp_path: Path, student: Path) -> None:
    options = {"save_every": 2, "keep_checkpoints": 2, "sft": {"steps": 6}, "average": {"checkpoints": 2}}
    straight = go(config_of(tmp_path / "straight", student, **options))
    config = config_of(tmp_path / "stopped", student, **options)

    def ctrl_c(event: Any) -> None:
        if event.step == 5:  # a checkpoint between those that are due
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        go(config, progress=ctrl_c)
    folder = config.run_path / "checkpoints/sft/round-0"
    assert (folder / "checkpoint-5").is_dir() and (folder / "checkpoint-2").is_dir()
    with pytest.raises(ConfigError, match=r"begun with another training\.save_every"):
        go(config.changed({"training.save_every": 3}), resume=True)
    assert_same(go(config, resume=True).path, straight.path)


def test_adapters_are_merged_before_they_are_averaged(tmp_path: Path, student: Path) -> None:
    run = go(config_of(tmp_path, student, lora={"r": 4}, average={"checkpoints": 2}, sft={"learning_rate": 1e-2}))
    folder = run.path / "checkpoints/sft/round-0"
    for step in (3, 4):
        merge(student, "float32", folder / f"checkpoint-{step}", tmp_path / str(step))
    merged = [weights(tmp_path / str(step)) for step in (3, 4)]
    assert not same(*merged)
    assert same(weights(run.path / "model"), mean(merged, [0.5, 0.5]))


def test_only_the_last_stage_is_mixed_with_the_base(tmp_path: Path, student: Path) -> None:
    run = go(config_of(tmp_path, student, recipe="realm-r1", rl={"steps": 2}, average={"base": 1.0}))
    assert not same(weights(run.path / "checkpoints/sft/round-0/model"), weights(student))
    assert same(weights(run.path / "model"), weights(student))


def test_validation_chooses_the_checkpoint(tmp_path: Path, student: Path, plain: RunFolder, parts: list[Any]) -> None:
    """By what each checkpoint answered while it was the model: the same questions, asked of what is on the disk."""
    config = config_of(tmp_path, student, best={"validation": 2.0})
    run = go(config)
    rows = [row for row in plain.read(Evaluation) if row.stage == "sft" and not row.routes]
    wanted = {row.step: row.accuracy for row in rows if row.step > 1}
    chosen = run.meta.chosen
    assert chosen is not None and set(wanted) == {2, 3, 4}
    assert {one.step: one.accuracies for one in chosen.candidates} == {n: {"validation": a} for n, a in wanted.items()}
    assert {one.step: one.value for one in chosen.candidates} == wanted
    assert chosen.step == max(wanted, key=lambda step: (wanted[step], step)), "of equals the latest"
    assert same(weights(run.path / "model"), parts[chosen.step - 2])
    for key, value in {"evaluation.also": "x", "training.keep_checkpoints": 4, "training.save_every": 2}.items():
        with pytest.raises(ConfigError, match=f"begun with another {key}"):  # they decide what is chosen
            run.check_resume(config.changed({key: value}))
    assert run.check_resume(config.changed({"evaluation.batch_size": 3, "training.sample_every": 9}))


def test_the_rule_is_a_weighted_mean_and_a_share_of_the_base_comes_after_it(
    tmp_path: Path, student: Path, parts: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"validation": [0.5, 0.7, 0.9], "other:validation": [0.9, 0.8, 0.2]}
    rule = [SimpleNamespace(name="validation", weight=2.0), SimpleNamespace(name="other:validation", weight=1.0)]
    monkeypatch.setattr(recipes, "find_rule", lambda config, task: rule)
    monkeypatch.setattr(
        recipes, "accuracies", lambda *_: ({name: values[n] for name, values in told.items()} for n in range(3))
    )
    run = go(config_of(tmp_path, student, best={"validation": 2.0}, average={"base": 0.5}))
    assert run.meta.chosen is not None and run.meta.chosen.step == 3
    assert [one.value for one in run.meta.chosen.candidates] == pytest.approx([1.9 / 3, 2.2 / 3, 2.0 / 3])
    assert same(weights(run.path / "model"), mean([parts[1], weights(student)], [0.5, 0.5]))


def test_what_cannot_be_averaged_is_told(tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"raise keep_checkpoints \(2\)"):
        config_of(tmp_path, student, keep_checkpoints=2, average={"checkpoints": 3})
    for more in ({"keep_checkpoints": 1}, {"average": {"checkpoints": 2}}):
        with pytest.raises(ValueError, match="best chooses one of the checkpoints"):
            config_of(tmp_path, student, best={"validation": 1}, **more)
    config = config_of(tmp_path, student, average={"checkpoints": 2})
    with pytest.raises(Killed):
        go(config, progress=killed_at("sft", 0, 3))
    with pytest.raises(TrainingError, match="checkpoint of step 3 is not there"):
        last_regular(config.run_path / "checkpoints/sft/round-0", 1, 4, 2)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    task = TinyTask()
    with pytest.raises(ConfigError, match="a checkpoint holds no whole model"):
        prepare(config, task, tiny_bank(task))
