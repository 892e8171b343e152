"""The trainer's seams in TRL 1.16, each by a contract test, and what the settings promise."""

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from transformers import TrainerCallback
from trl import GRPOTrainer, SFTTrainer
from trl.trainer.base_trainer import _BaseTrainer

from realm.errors import ConfigError
from realm.method.seeds import question_order
from realm.training.grpo import RouteTrainer, grpo_rows, grpo_settings
from realm.training.rewards import RouteReward
from tests.tiny import CONTEXT, tiny_config, tiny_trainer


class Tracker(TrainerCallback):
    """What a tracker of `report_to` is sent."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.rows.append(dict(logs))


def test_trl_is_the_pinned_minor() -> None:
    assert trl.__version__.startswith("1.16."), "check the seams below, then change this line"


def test_seam_generate_and_score(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path) -> None:
    """It takes the rows of the dataset, one per completion, at the step that generates, once per generated batch."""
    assert list(inspect.signature(GRPOTrainer._generate_and_score_completions).parameters) == ["self", "inputs"]
    seen: list[tuple[int, list[dict[str, Any]]]] = []
    original = RouteTrainer._generate_and_score_completions

    def spy(self: RouteTrainer, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        seen.append((self.state.global_step, inputs))
        return original(self, inputs)

    monkeypatch.setattr(RouteTrainer, "_generate_and_score_completions", spy)
    config = tiny_config(tmp_path, student, rl={"num_iterations": 2, "micro_batch_size": 4, "steps": 4})
    trainer = tiny_trainer(config, tmp_path)
    trainer.train()
    assert [step for step, _ in seen] == [0, 2]
    for _, inputs in seen:
        assert [set(row) for row in inputs] == [{"prompt", "question_id"}] * 16
        ids = [row["question_id"] for row in inputs]
        assert ids == [key for key in ids[::4] for _ in range(4)]
    asked = [row["question_id"] for _, inputs in seen for row in inputs[::4]]
    assert asked == list(grpo_rows(trainer.renderer, config, 3)["question_id"]), "in the order of the rows"


def test_seam_calculate_rewards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path) -> None:
    """Every column of the rewritten rows reaches the reward function, in their order, with a way to log metrics."""
    seen: list[dict[str, Any]] = []
    original = RouteReward.__call__

    def spy(self: RouteReward, **columns: Any) -> list[float]:
        seen.append(columns)
        return original(self, **columns)

    monkeypatch.setattr(RouteReward, "__call__", spy)
    trainer = tiny_trainer(tiny_config(tmp_path, student, rl={"steps": 1}), tmp_path)
    trainer.train()
    (columns,) = seen
    assert {"prompts", "completions", "completion_ids", "question_id", "routes", "p", "tau", "dropped"} < columns.keys()
    assert callable(columns["log_metric"])
    rendered = trainer.renderer.render(columns["question_id"][0], 0, 0.0)
    assert columns["routes"][0] == rendered.routes
    assert columns["prompts"][0] == rendered.messages


@pytest.mark.parametrize("trainer", [GRPOTrainer, SFTTrainer])
def test_seam_telemetry_and_model_card(trainer: type) -> None:
    assert issubclass(trainer, _BaseTrainer)
    for name in ("_send_telemetry", "create_model_card"):
        assert callable(getattr(trainer, name))
        assert getattr(RouteTrainer, name) is not getattr(GRPOTrainer, name)


def test_nothing_is_sent_carded_or_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path, student: Path
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("telemetry")

    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", refuse)
    monkeypatch.delenv("CI", raising=False)
    config = tiny_config(tmp_path, student, rl={"steps": 2}, save_every=1)
    trainer = tiny_trainer(config, tmp_path / "out")
    capfd.readouterr()
    trainer.train()
    assert capfd.readouterr().out == ""
    assert (tmp_path / "out/checkpoint-2/model.safetensors").is_file()
    assert not list((tmp_path / "out").rglob("README.md"))
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_trackers_are_sent_the_reward_by_component(tmp_path: Path, student: Path) -> None:
    tracker = Tracker()
    tiny_trainer(tiny_config(tmp_path, student, rl={"steps": 1}), tmp_path, callbacks=[tracker]).train()
    row = tracker.rows[0]
    wanted = {
        "p", "tau", "reward", "reward_format", "reward_answer", "reward_scores", "scoring", "accuracy",
        "routes_per_prompt", "routes_dropped", "zero_spread_groups", "parse_failures", "parse/answer_missing",
    }  # fmt: skip
    assert wanted <= row.keys()
    parts = row["reward_format"] + row["reward_answer"] + row["reward_scores"]
    assert parts == pytest.approx(row["reward"], abs=1e-6)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("share", ["auto", "off"])
def test_spread_is_that_of_whole_groups(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path, scale: str, share: str
) -> None:
    """Whatever rewards are scaled by. Rounding is no spread: the mean of six times 0.3 is not 0.3.

    That it does not depend on the number of processes: tests/invariants/test_processes.py.
    """
    size = 6
    given = [[0.3] * size, [0.1] * 5 + [1.6], [0.7] * size, [0.0, 1.0] * 3]
    rl = {"steps": 1, "scale_rewards": scale, "shared_prefix": share, "num_generations": size}
    config = tiny_config(tmp_path, student, rl={**rl, "batch_size": 24, "micro_batch_size": 24})
    trainer = tiny_trainer(config, tmp_path)
    monkeypatch.setattr(RouteTrainer, "_calculate_rewards", lambda self, *_: torch.tensor(given).view(-1, 1))
    trainer.train()
    assert trainer.state.log_history[0]["zero_spread_groups"] == 0.5


def test_seam_metrics(tmp_path: Path, student: Path) -> None:
    """What is put into `_metrics["train"]` while a batch is made is logged with it: the success that p rests on."""
    config = tiny_config(tmp_path, student, rl={"steps": 3})
    config.fade.schedule, config.fade.probe, config.fade.memory = "adaptive", 1.0, 0.0
    trainer = tiny_trainer(config, tmp_path)
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert [row["p"] for row in rows] == [row["routes_per_prompt"] for row in rows] == [0.0] * 3, "probes only"
    assert "route_free_success" not in rows[0]
    assert [row["route_free_success"] for row in rows[1:]] == pytest.approx([row["accuracy"] for row in rows[:-1]])
    assert tiny_trainer(tiny_config(tmp_path, student), tmp_path).feedback is None


@pytest.mark.parametrize("micro", [16, 4])
def test_nothing_is_forwarded_twice(tmp_path: Path, student: Path, micro: int) -> None:
    """One forward per completion for the update; none for old log-probabilities, none for a reference model."""
    config = tiny_config(tmp_path, student, rl={"steps": 2, "micro_batch_size": micro})
    trainer = tiny_trainer(config, tmp_path)
    scored: list[int] = []
    original = trainer._get_per_token_logps_and_entropies

    def count(model: Any, input_ids: Any, *args: Any, **kwargs: Any) -> Any:
        scored.append(len(input_ids))
        return original(model, input_ids, *args, **kwargs)

    trainer._get_per_token_logps_and_entropies = count  # type: ignore[method-assign]
    trainer.train()
    assert scored == [micro] * (2 * 16 // micro)
    assert trainer.ref_model is None


@pytest.mark.parametrize("share", ["auto", "off"])
def test_nothing_is_dropped_in_the_update(
    tmp_path: Path, student: Path, caplog: pytest.LogCaptureFixture, share: str
) -> None:
    """The policy is the reference until it has moved, also where a rate of dropout is no module; it is published."""
    dropping = shutil.copytree(student, tmp_path / "dropping")
    file = dropping / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "attention_dropout": 0.3}))
    config = tiny_config(tmp_path, dropping, rl={"steps": 1, "beta": 0.1, "shared_prefix": share})
    trainer = tiny_trainer(config, tmp_path / "out")
    trainer.train()
    assert trainer.state.log_history[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert "forwarded once per completion" not in caplog.text
    assert trainer.model.config.attention_dropout == 0.3


def test_unbiased_sampling(tmp_path: Path, student: Path) -> None:
    settings = grpo_settings(tiny_config(tmp_path, student), output=str(tmp_path), seed=0, context=CONTEXT)
    assert (settings.top_p, settings.top_k, settings.min_p, settings.repetition_penalty) == (1.0, 0, None, 1.0)
    assert settings.push_to_hub is False and settings.bf16 is False


@pytest.mark.parametrize(
    ("save_every", "log_every", "iterations", "expected"), [(5, 1, 1, 5), (5, 2, 1, 6), (5, 2, 3, 6), (7, 4, 3, 12)]
)
def test_checkpoints_fall_between_batches_and_rows(
    tmp_path: Path, student: Path, save_every: int, log_every: int, iterations: int, expected: int
) -> None:
    rl = {"num_iterations": iterations}
    config = tiny_config(tmp_path, student, rl=rl, save_every=save_every, log_every=log_every)
    assert grpo_settings(config, output=str(tmp_path), seed=0, context=CONTEXT).save_steps == expected


def test_batch_must_divide_over_the_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match=r"training\.rl\.batch_size \(16\).*16.*3"):
        grpo_settings(tiny_config(tmp_path, student), output=str(tmp_path), seed=0, context=CONTEXT)


def test_vllm_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="vLLM is not installed"):
        grpo_settings(
            tiny_config(tmp_path, student, rl={"vllm": "colocate"}), output=str(tmp_path), seed=0, context=CONTEXT
        )


def test_question_order_asks_all_before_any_again() -> None:
    ids = [f"q{i}" for i in range(5)]
    order = question_order(ids, 12, seed=1)
    assert sorted(order[:5]) == sorted(order[5:10]) == ids
    assert order[:5] != order[5:10]
    assert order == question_order(ids, 12, seed=1) != question_order(ids, 12, seed=2)
    assert question_order(ids, 3, seed=1) == order[:3]
