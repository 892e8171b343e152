"""The commands as functions: from questions to a page in a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest

import realm
from realm.commands import evaluating
from realm.errors import ConfigError, ResourceError
from realm.rows.evaluation import Evaluation, Prediction
from realm.run import RunFolder
from realm.run_rows import read_rows


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> realm.Config:
    folder = tmp_path_factory.mktemp("runs")
    other = folder / "other.yaml"
    other.write_text(
        "task: {name: desk, max_test: 4}\nevaluation: {splits: [ood], max_completion_length: 64}\n", encoding="utf-8"
    )
    given = {
        "run.name": "desk", "run.dir": folder, "task.max_train": 8, "task.max_test": 4, "bank.samples": 4,
        "training.sft.steps": 1, "training.sft.batch_size": 4, "training.sft.micro_batch_size": 4,
        "training.rl.steps": 1, "training.rl.batch_size": 4, "training.rl.micro_batch_size": 4,
        "training.rl.num_generations": 4, "training.rl.max_completion_length": 64, "training.eval_questions": 2,
        "evaluation.bootstrap": 100, "evaluation.splits": "[test]", "evaluation.also": other,
    }  # fmt: skip
    return realm.load_config(overrides=[f"{key}={value}" for key, value in given.items()])


def test_from_questions_to_a_page(config: realm.Config, tmp_path: Path) -> None:
    bank, tally = realm.collect(config)
    assert (tally.left, bank.path) == (0, config.run_path / "bank")
    assert len(realm.Bank.open(bank.path)) > 0
    told: list[object] = []
    trained = realm.train(config, announce=told.append)
    assert trained is not None
    assert len(told) == 1
    assert (trained.model / "model.safetensors").is_file()
    assert "<html" in trained.report.read_text(encoding="utf-8")[:200]
    (taught,) = RunFolder(trained.path).meta.taught or ()
    assert [row.step for row in taught.steps] == ["bank", "right", "fits", "guided_first"]
    bank_traces, right, *_ = (row.traces for row in taught.steps)
    assert bank_traces == 8 * 4 > right >= taught.short_enough > 0
    assert 'id="taught"' in trained.report.read_text(encoding="utf-8")
    *own, other = trained.evaluations
    assert [(row.split, row.routes, row.before) for row in own] == [("test", 0, None), ("test", 4, None)]
    assert (other.split, other.routes, other.n) == ("other:ood", 0, 4)
    assert other.before is not None and other.change == pytest.approx(other.accuracy - other.before)
    assert list(read_rows(trained.path, Evaluation))[-1] == other
    answered = [row for row in read_rows(trained.path, Prediction) if row.split == "other:ood"]
    assert fmean(row.completions[0].correct for row in answered) == other.accuracy and len(answered) == 4
    card = (trained.model / "README.md").read_text(encoding="utf-8")
    assert f"| base | `other:ood` | 0 | 4 | {100 * other.before:.1f} |" in card
    assert f"; {100 * other.change:+.1f} (" in card and "other:ood" not in card.split("---")[1]
    found = realm.evaluate(config, trained.model, out=tmp_path / "again")
    assert [row.accuracy for row in found] == [row.accuracy for row in trained.evaluations]
    assert found[-1].change == other.change
    assert config.model.path == "desk-base", "the caller's configuration stays as it is"
    page = realm.report(trained.path, out=tmp_path / "page.html")
    assert page == tmp_path / "page.html"
    assert page.is_file()
    with pytest.raises(ResourceError, match=r"Choose another run.name or run.dir, or give overwrite=True \(or resume="):
        realm.train(config)
    with pytest.raises(ResourceError, match="Choose another place with out, or give overwrite=True"):
        realm.evaluate(config, trained.model, out=tmp_path / "again")
    with pytest.raises(ResourceError, match="Give resume=True, overwrite=True or another out"):
        realm.collect(config)
    with pytest.raises(ConfigError) as caught:
        realm.train(config.changed({"routes.k": 2}), resume=True)
    folder, bank = config.run_path, config.run_path / "bank"
    assert str(caught.value) == (
        f"{folder}: the run was begun with another routes.k. To go on as it began: realm train {folder} --resume; to "
        f"start anew with it, give run.dir={folder.parent} run.name=desk-2 bank.path={bank} in the configuration in "
        "the place of resume=True."
    )


def test_an_evaluation_that_was_stopped_is_not_taken_for_the_one_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first results are replaced while the other task (`evaluation.also`) is still to be asked."""
    config, out = realm.load_config(overrides=["task.max_test=2"]), tmp_path / "out"

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluating, "evaluate_directory", lambda *_, out, **__: [out.mkdir(exist_ok=True)][1:])
    realm.evaluate(config, out=out)
    assert (RunFolder(out).meta.status, RunFolder(out).meta.evaluated) == ("done", "desk-base")
    monkeypatch.setattr(evaluating, "ask_besides", stop)
    other = str(Path(realm.__file__).parent / "desk" / "base")
    with pytest.raises(KeyboardInterrupt):
        realm.evaluate(config, other, out=out, overwrite=True)
    assert (RunFolder(out).meta.status, RunFolder(out).meta.evaluated) == ("running", other)


def test_a_collection_where_a_loop_runs_already(config: realm.Config, tmp_path: Path) -> None:
    """As in a notebook."""

    async def cell() -> int:
        return realm.collect(config, out=tmp_path / "bank")[1].left

    assert asyncio.run(cell()) == 0


@pytest.mark.parametrize("function", [realm.collect, realm.train, realm.evaluate])
def test_the_name_of_a_file_is_no_configuration(function: Callable[..., object]) -> None:
    with pytest.raises(ConfigError, match=r"'mine\.yaml'; read it by realm\.load_config"):
        function("mine.yaml")
