"""Runs with a stage of pairs: resumed ones are straight ones, and what they leave is read back."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from realm.bank.store import Bank
from realm.config import Config
from realm.errors import ConfigError, DataError, ResourceError
from realm.pages import write_report
from realm.recipes import plan
from realm.rows.training import PairsStep, Step
from realm.run import RunFolder
from realm.training.prepare import prepare
from tests.launched import launch_two
from tests.tiny import Killed, TinyTask, assert_same, figures, go, killed_at, tiny_bank, tiny_config, weights

PAIRS = {"steps": 4, "batch_size": 4, "micro_batch_size": 2, "learning_rate": 1e-3}
ROLLOUT = {"rollout": {"samples": 4}}


def configure(folder: Path, student: Path, recipe: str = "pairs", **pairs: Any) -> Config:
    rl = {"steps": 2, "micro_batch_size": 8}
    return tiny_config(folder, student, recipe=recipe, pairs={**PAIRS, **pairs}, sft={"steps": 2}, rl=rl)


@pytest.mark.parametrize(
    ("recipe", "pairs"),
    [
        ("phi4-mini", {"miner": ROLLOUT}),
        ("preflexor", {}),
        pytest.param("pairs", {"loss": "kto"}, marks=pytest.mark.slow),
    ],
)
def test_resumed_is_straight(tmp_path: Path, student: Path, recipe: str, pairs: dict[str, Any]) -> None:
    """Killed in a stage of pairs, behind a checkpoint: the same reference, the same pairs, though the student that
    wrote them is gone."""
    straight = go(configure(tmp_path / "straight", student, recipe, **pairs))
    round_ = 1 if recipe == "preflexor" else 0
    config = configure(tmp_path, student, recipe, **pairs)
    with pytest.raises(Killed):
        go(config, progress=killed_at("pairs", round_, 3))
    resumed = go(config, resume=True)
    assert_same(resumed.path, straight.path)
    assert resumed.meta.cost.tokens == straight.meta.cost.tokens
    kept = f"traces/pairs-{round_}.json"
    assert (straight.path / kept).exists() == (recipe != "pairs")
    if recipe == "phi4-mini":
        assert straight.meta.cost.completions == 4 * 12 + 2 * 16, "those of the miner and those of RL"
    if recipe != "pairs":
        assert json.loads((resumed.path / kept).read_text())["pairs"], kept


def test_what_a_stage_of_pairs_leaves(tmp_path: Path, student: Path) -> None:
    """Rows that are read back, evaluations, a model that is another one, what it took, and a page that shows it."""
    run = go(configure(tmp_path, student))
    rows = [row for row in run.read(Step) if isinstance(row, PairsStep)]
    assert [row.step for row in rows] == [1, 2, 3, 4]
    assert rows[0].margin == pytest.approx(0, abs=1e-5) and rows[-1].margin > 0
    for row in rows:
        assert row.margin == pytest.approx(row.chosen - row.rejected, abs=1e-4)
        assert 0 <= row.preferred <= 1 and row.grad_norm > 0 and row.learning_rate > 0
    assert rows[-1].tokens > rows[0].tokens
    stages = [(row["stage"], row["step"]) for row in figures(run.path, "evaluations.jsonl") if not row["routes"]]
    assert stages == [("base", 0), ("sft", 2), ("pairs", 3), ("pairs", 4)]
    assert [one.stage for one in run.meta.cost.stages] == ["sft", "pairs"]
    before, after = weights(run.path / "checkpoints/sft/round-0/model"), weights(run.path / "model")
    assert any((before[name] != after[name]).any() for name in before)
    page = write_report(run.path).read_text()
    assert "Learning from pairs" in page and "Reward of the preferred above the rejected" in page
    assert "2 SFT steps, 4 PAIRS steps" in page


def test_adapters_are_merged(tmp_path: Path, student: Path) -> None:
    config = configure(tmp_path, student)
    config.training.lora.r = 2
    run = go(config)
    assert weights(run.path / "model").keys() == weights(student).keys()


def test_no_memory_for_the_reference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path) -> None:
    """It is read while the trainer is made, by as many pairs at once as the update: it is not the model that is big."""

    def compute_ref_log_probs(*args: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("realm.training.pairs.OwnDPOTrainer.compute_ref_log_probs", compute_ref_log_probs)
    config = tiny_config(tmp_path, student, recipe="pairs", sft={"steps": 0}, pairs=PAIRS)
    with pytest.raises(ResourceError) as caught:
        go(config)
    said = str(caught.value)
    assert said.startswith("PAIRS step 1: out of memory in the update: lower training.pairs.micro_batch_size (2)")
    assert said.endswith("--resume --set training.pairs.micro_batch_size=1")


def test_stages(tmp_path: Path, student: Path) -> None:
    def found(recipe: str, **training: Any) -> list[tuple[str, int, int]]:
        config = tiny_config(tmp_path, student, recipe=recipe, pairs=PAIRS, sft={"steps": 2}, **training)
        return [(stage.kind, stage.round, stage.steps) for stage in plan(config)]

    assert found("pairs", rounds=2) == [("sft", 0, 2), ("pairs", 0, 4), ("sft", 1, 2), ("pairs", 1, 4)]
    assert found("phi4-mini") == [("sft", 0, 2), ("pairs", 0, 4), ("rl", 0, 6)]
    assert found("preflexor") == [("pairs", 0, 4), ("pairs", 1, 4)]


@pytest.mark.parametrize(
    ("pairs", "label", "error", "said"),
    [
        ({}, 1, DataError, "training.pairs.miner: bank found no pair"),
        ({"miner": {"bank": {"least": 3}}}, None, ConfigError, "training.pairs.miner: bank: has no option least"),
        ({"miner": {"bank": {"by": "luck"}}}, None, ConfigError, "training.pairs.miner: bank: by: "),
        ({"batch_size": 3}, None, ConfigError, "training.pairs.batch_size (3) must be a multiple"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    tmp_path: Path, student: Path, task: TinyTask, pairs: dict[str, Any], label: int | None, error: Any, said: str
) -> None:
    bank = Bank()
    bank.append(cot for cot in tiny_bank(task).all() if label in (None, cot.label))
    with pytest.raises(error) as caught:
        prepare(configure(tmp_path, student, **pairs), task, bank)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_miner_is_told_with_the_near_ones(tmp_path: Path, student: Path) -> None:
    with pytest.raises(ValueError, match=r"bank, corrected, rollout, weak .*did you mean rollout"):
        configure(tmp_path, student, miner="rolout")


def test_a_bank_is_needed_where_the_miner_reads_it(tmp_path: Path, student: Path, task: TinyTask) -> None:
    config = configure(tmp_path, student)
    config.training.sft.steps = 0
    with pytest.raises(DataError, match="there is no bank"):
        prepare(config, task, None)
    config.training.pairs.miner = "rollout"
    prepare(config, task, None)


PROGRAM = """
import os, sys
from pathlib import Path
from tests.tiny import *
from realm.run import RunFolder
from realm.training.prepare import prepare
from realm.training.recipes import train
config = tiny_config(Path(sys.argv[1]), Path(sys.argv[2]), **SETTINGS)
task = TinyTask()
run = new_run(config) if os.environ["RANK"] == "0" else RunFolder(config.run_path)
train(prepare(config, task, tiny_bank(task)), run=run, pool=pool())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "pairs",
    [{"loss": "dpo"}, {"loss": "kto"}, {"loss": "orpo"}, {"loss": "dpo", "miner": ROLLOUT}],
    ids=["dpo", "kto", "orpo", "sampled"],
)
def test_two_processes_learn_what_one_learns(tmp_path: Path, student: Path, pairs: dict[str, Any]) -> None:
    """The reference too, which both read; and both learn from what the first one had written."""
    one_at_a_time = {**PAIRS, **pairs, "micro_batch_size": 1}  # the same parts on one process and on two
    settings = {"recipe": "pairs", "sft": {"steps": 0}, "eval_questions": 0, "pairs": one_at_a_time}
    one = go(tiny_config(tmp_path / "one", student, **copy.deepcopy(settings)))
    launch_two(PROGRAM.replace("SETTINGS", repr(settings)), tmp_path / "two", tmp_path / "two", student)
    two = RunFolder(tmp_path / "two" / "run")
    rows = list(zip(one.read(Step), two.read(Step), strict=True))
    assert len(rows) == 4
    for alone, both in rows:
        assert both.tokens == alone.tokens
        assert (both.loss, both.margin) == pytest.approx((alone.loss, alone.margin), abs=1e-3)
    before, after = weights(one.path / "model"), weights(two.path / "model")
    assert all(before[name].allclose(after[name], atol=1e-3) for name in before)
