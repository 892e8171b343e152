"""With k = 0 and shared_prefix off the trainer is TRL's GRPOTrainer, step for step."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PrinterCallback
from trl import GRPOTrainer

from realm.config import Config
from realm.student.load import load
from realm.student.renderer import Renderer, as_prompt
from realm.training.grpo import grpo_rows, grpo_settings
from realm.training.rewards import RouteReward
from tests.tiny import CONTEXT, TinyTask, pool, tiny_config, tiny_trainer

TIMES = ("step_time", "train_runtime", "train_samples_per_second", "train_steps_per_second")
#: Logged by our trainer alone, which knows the groups of all processes.
OURS = ("zero_spread_groups",)


def history(trainer: GRPOTrainer) -> list[dict[str, Any]]:
    """What was logged, without what a clock or our own trainer adds."""
    left_out = (*TIMES, *OURS)
    return [
        {key: value for key, value in row.items() if key not in left_out and not key.startswith(("profiling/", "tau"))}
        for row in trainer.state.log_history
    ]


def plain_trainer(config: Config, student: Path, output: Path) -> GRPOTrainer:
    """GRPOTrainer on prompts without routes, rendered beforehand, with the same settings and the same reward."""
    model, tokenizer = load(student)
    renderer = Renderer(config, TinyTask(), None, tokenizer, CONTEXT, k=0)

    def add_prompt(row: dict[str, Any]) -> dict[str, Any]:
        return {"prompt": as_prompt(tokenizer, renderer.render(row["question_id"], 0, 0.0).messages)}

    rows = grpo_rows(renderer, config, seed=3)
    trainer = GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=RouteReward(config, renderer.questions, pool()),
        args=grpo_settings(config, output=str(output), seed=3, context=CONTEXT),
        train_dataset=rows.remove_columns("prompt").map(add_prompt),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


@pytest.mark.parametrize(
    "rl",
    [{}, {"num_iterations": 2, "micro_batch_size": 8, "beta": 0.05}],
    ids=["default", "iterations-accumulation-kl"],
)
def test_no_routes_is_plain_grpo(tmp_path: Path, student: Path, rl: dict[str, Any]) -> None:
    config = tiny_config(tmp_path, student, rl={**rl, "shared_prefix": "off"}, save_every=100)
    plain = plain_trainer(config, student, tmp_path / "plain")
    plain.train()

    ours = tiny_trainer(config, tmp_path / "ours", k=0)
    ours.train()

    assert history(ours) == history(plain)
    assert all(row["zero_spread_groups"] == row["frac_reward_zero_std"] for row in ours.state.log_history if "p" in row)
    rewards = [row["reward"] for row in history(ours) if "reward" in row]
    assert len(rewards) >= 3 and len(set(rewards)) > 1, "the runs must have learned from something"
    before = load(student)[0].state_dict()
    for name, tensor in plain.model.state_dict().items():
        assert torch.equal(ours.model.state_dict()[name], tensor), name
    assert any(not torch.equal(before[name], tensor) for name, tensor in ours.model.state_dict().items())
