"""A run with shared prompts ends as the run on TRL's own path does, given the same completions."""

from pathlib import Path
from typing import Any

import pytest
import torch

from realm.student.load import load
from realm.training.grpo import RouteTrainer
from tests.tiny import tiny_config, tiny_trainer
from tests.training.dictated import Recording

SAME = ("loss", "grad_norm", "reward", "reward_std", "frac_reward_zero_std", "accuracy")
#: TRL logs means of means over micro-batches, which depend on which rows are in which.
SAME_IN_ONE_MICRO_BATCH = ("kl", "clip_ratio/region_mean", "clip_ratio/low_min", "clip_ratio/high_max")


def shared_and_plain(
    tmp_path: Path, student: Path, rl: dict[str, Any], **training: Any
) -> tuple[RouteTrainer, RouteTrainer]:
    """Both trained on what the first one sampled."""
    recording = Recording()
    ways = {"auto": recording.recorded(), "off": recording.replayed()}
    with pytest.MonkeyPatch.context() as patch:
        trainers = []
        for share, generate in ways.items():
            patch.setattr(RouteTrainer, "_generate_single_turn", generate)
            options = {"rl": {**rl, "shared_prefix": share}, "save_every": 100, **training}
            trainers.append(tiny_trainer(tiny_config(tmp_path / share, student, **options), tmp_path / share))
            trainers[-1].train()
    return trainers[0], trainers[1]


@pytest.mark.parametrize(
    "rl",
    [
        {},
        {"micro_batch_size": 4},
        {"num_iterations": 2, "beta": 0.05},
        {"micro_batch_size": 8, "num_iterations": 2, "beta": 0.05},
        {"micro_batch_size": 8, "loss_type": "grpo", "scale_rewards": "none", "learning_rate": 5e-3},
        {"micro_batch_size": 2, "loss_type": "dr_grpo"},
        {"micro_batch_size": 8, "loss_type": "bnpo", "scale_rewards": "batch"},
    ],
    ids=["default", "accumulation", "iterations-kl", "all-of-these", "grpo", "parts-of-groups-dr_grpo", "bnpo"],
)
def test_shared_is_plain(tmp_path: Path, student: Path, rl: dict[str, Any]) -> None:
    """Six steps in float32: logged figures within 0.1 %, weights within 1e-4 of their norm.

    What they differ by is rounding, which Adam's division by the gradient's size enlarges. Where TRL's shuffle breaks
    groups up over micro-batches, ours are whole, and the sums are the same.
    """
    shared, plain = shared_and_plain(tmp_path, student, rl)
    ours, theirs = shared.state.log_history, plain.state.log_history
    assert len(ours) == len(theirs) >= 6
    for row, wanted in zip(ours, theirs, strict=True):
        for name in SAME + (() if "micro_batch_size" in rl else SAME_IN_ONE_MICRO_BATCH):
            assert (name in row) is (name in wanted)
            if name in row:
                assert row[name] == pytest.approx(wanted[name], rel=1e-3, abs=1e-4), name
    assert all(row["tokens_saved"] > 0.05 for row in ours[:3])
    assert len({row["reward"] for row in ours if "reward" in row}) > 1, "the runs must have learned from something"
    before = load(student)[0].state_dict()
    assert_same_weights(shared, plain)
    assert any(not torch.equal(before[name], tensor.cpu()) for name, tensor in plain.model.state_dict().items())


@pytest.mark.parametrize("rl", [{}, {"micro_batch_size": 8, "num_iterations": 2, "beta": 0.05}], ids=["default", "kl"])
def test_shared_is_plain_with_lora(tmp_path: Path, student: Path, rl: dict[str, Any]) -> None:
    """The same, for the adapters; under β > 0 the reference is the model without them."""
    rl = {"learning_rate": 1e-2, **rl}
    shared, plain = shared_and_plain(tmp_path, student, rl, lora={"r": 4})
    for row, wanted in zip(shared.state.log_history, plain.state.log_history, strict=True):
        for name in SAME:
            if name in wanted:
                assert row[name] == pytest.approx(wanted[name], rel=1e-3, abs=1e-4), name
        assert ("kl" in row) is ("kl" in wanted)
    assert all(row["tokens_saved"] > 0.05 for row in shared.state.log_history[:3])
    assert_same_weights(shared, plain)
    moved = [tensor for name, tensor in plain.model.state_dict().items() if "lora_B" in name]
    assert moved and all(tensor.norm() > 1e-3 for tensor in moved), "adapters begin at zero"


def assert_same_weights(shared: RouteTrainer, plain: RouteTrainer) -> None:
    """Within 1e-4 of their norm."""
    wanted = plain.model.state_dict()
    for name, tensor in shared.model.state_dict().items():
        assert (tensor - wanted[name]).norm() <= 1e-4 * wanted[name].norm(), name
