"""What is left out of GRPO's arithmetic changes neither loss nor gradient, and is left out indeed."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from trl import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from realm.training.frugal import FrugalGRPOTrainer
from realm.training.grpo import RouteTrainer
from tests.tiny import WORDS
from tests.training.decoders import decoder
from tests.training.dictated import completions

Make = Callable[..., RouteTrainer]


# Is it the same?


def batch_of(trainer: RouteTrainer, advantages: list[float], old: bool = False) -> dict[str, Any]:
    """A generated batch of four groups with these advantages."""
    trainer.create_optimizer_and_scheduler(3)
    trainer.model.train()
    rows = [row for row in trainer.train_dataset.select(range(4)) for _ in range(4)]
    trainer.args.max_steps = 3
    batch = trainer._generate_and_score_completions(rows)
    batch["advantages"] = torch.tensor(advantages)
    if old:
        batch["old_per_token_logps"] = torch.full(batch["completion_ids"].shape, -20.0)
        batch["old_per_token_logps"][8:] = -1.0
    trainer.current_gradient_accumulation_steps = 1
    return batch


def loss_and_gradients(trainer: RouteTrainer, batch: dict[str, Any]) -> tuple[float, dict[str, torch.Tensor]]:
    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model, batch)
    loss.backward()
    found = {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.requires_grad}
    return loss.item(), found


def assert_same_update(trainer: RouteTrainer, batch: dict[str, Any]) -> None:
    """Loss within 1e-6, each gradient within 1e-5 of its norm."""
    loss, found = loss_and_gradients(trainer, batch)
    trainer._share = False
    wanted_loss, wanted = loss_and_gradients(trainer, batch)
    assert loss == pytest.approx(wanted_loss, abs=1e-6)
    for name, gradient in wanted.items():
        assert (found[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-8, name


def with_lora(trainer: RouteTrainer) -> RouteTrainer:
    """Adapters that do something are put into its model."""
    base = trainer.model
    del base.forward
    add_fused_lm_head(base, outputs=("log_probs", "entropy"))
    trainer.model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    trainer.model_wrapped = trainer.model
    return trainer


SPREAD = [0.5, -1.5, 0.5, 0.5, 1.0, -1.0, 1.0, -1.0]


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "dr_grpo", "bnpo"])
@pytest.mark.parametrize("advantages", [[0.0] * 8 + SPREAD, SPREAD * 2, [0.0] * 16, [0.0, 1.0, 0.0, -1.0] * 4], ids=str)
def test_rows_without_advantage_cost_nothing_and_change_nothing(
    make: Make, loss_type: str, advantages: list[float]
) -> None:
    trainer = make(loss_type=loss_type)
    batch = batch_of(trainer, advantages)
    assert_same_update(trainer, batch)
    live = sum(value != 0 for value in advantages)
    forwarded = (
        (1 - trainer._metrics["train"]["tokens_saved"][0])
        * 16
        * (batch["prompt_ids"].shape[1] + batch["completion_ids"].shape[1])
    )
    longest = int(batch["completion_mask"].sum(1).max())
    prompts = 4 * (batch["prompt_ids"].shape[1] - 1)
    assert forwarded <= (prompts + live * longest if live else 2) + 0.5


def test_rows_without_advantage_and_an_old_policy(make: Make) -> None:
    trainer = make(num_iterations=2)
    assert_same_update(trainer, batch_of(trainer, [0.0] * 8 + SPREAD, old=True))


def test_with_a_reference_model_every_row_counts(make: Make) -> None:
    trainer = make(beta=0.1)
    batch = batch_of(trainer, [0.0] * 8 + SPREAD)
    batch["ref_per_token_logps"] = batch["ref_per_token_logps"] - 0.3
    assert_same_update(trainer, batch)
    metrics = trainer._metrics["train"]
    assert metrics["kl"][0] == pytest.approx(metrics["kl"][1], rel=1e-4)
    assert metrics["entropy"][0] == pytest.approx(metrics["entropy"][1], rel=1e-4)


def test_lora(make: Make) -> None:
    trainer = with_lora(make())
    assert_same_update(trainer, batch_of(trainer, [0.0] * 8 + SPREAD))


@pytest.mark.parametrize("adapters", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("family", ["llama", "smollm3", "gemma"])
def test_other_families(make: Make, family: str, adapters: bool) -> None:
    trainer = make()
    trainer.model = trainer.model_wrapped = decoder(family, vocab_size=len(WORDS))
    if adapters:
        with_lora(trainer)
    assert_same_update(trainer, batch_of(trainer, SPREAD * 2))
    assert trainer._metrics["train"]["tokens_saved"][0] > 0.3, "prompts were shared"


@pytest.mark.parametrize(
    "setting",
    [{"entropy_coef": 0.05, "_entropy_bonus_enabled": True}, {"top_entropy_quantile": 0.4}],
    ids=["entropy-bonus", "top-entropy-quantile"],
)
def test_what_entropy_decides(make: Make, setting: dict[str, Any]) -> None:
    """Every row counts then, with or without an advantage."""
    trainer = make()
    for name, value in setting.items():
        assert hasattr(trainer, name)
        setattr(trainer, name, value)
    batch = batch_of(trainer, [0.0] * 8 + SPREAD)
    plain, _ = loss_and_gradients(make(), batch)
    assert_same_update(trainer, batch)
    assert loss_and_gradients(trainer, batch)[0] != pytest.approx(plain, rel=1e-3), "it changes the loss"


def test_completions_that_were_cut_teach_nothing(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    def cut(self: Any, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> tuple[list[list[int]], None]:
        """Every second one lacks its end."""
        found, _ = completions()(self, prompt_ids)
        return [ids[: len(ids) - row % 2] for row, ids in enumerate(found)], None

    monkeypatch.setattr(RouteTrainer, "_generate_single_turn", cut)
    trainer = make(mask_truncated=True, epsilon_high=0.4, top_entropy_quantile=0.5)
    assert (trainer.epsilon_low, trainer.epsilon_high, trainer.top_entropy_quantile) == (0.2, 0.4, 0.5)
    trainer.top_entropy_quantile = 1.0
    batch = batch_of(trainer, SPREAD * 2)
    assert batch["completion_mask"].any(1).tolist() == [True, False] * 8
    _, found = loss_and_gradients(trainer, batch)
    alone = batch | {"advantages": batch["advantages"] * torch.tensor([1.0, 0.0] * 8)}
    for name, gradient in loss_and_gradients(trainer, alone)[1].items():
        torch.testing.assert_close(found[name], gradient)
    assert_same_update(trainer, batch)


def test_metrics_say_what_they_are_of(make: Make) -> None:
    """Entropy is that of the rows that were forwarded, clipping ratios those of all."""
    trainer = make()
    batch = batch_of(trainer, [0.0] * 8 + SPREAD)
    batch["old_per_token_logps"] = torch.full(batch["completion_ids"].shape, -1.0)
    assert_same_update(trainer, batch)
    metrics = trainer._metrics["train"]
    for name in [name for name in metrics if name.startswith("clip_ratio/")]:
        assert metrics[name][0] == pytest.approx(metrics[name][1], abs=1e-6), name
    assert metrics["clip_ratio/region_mean"][0] > 0
    live = {
        name: value[8:] if isinstance(value, torch.Tensor) and value.ndim else value for name, value in batch.items()
    }
    trainer._compute_loss(trainer.model, live)
    assert metrics["entropy"][0] == pytest.approx(metrics["entropy"][-1], rel=1e-4)
    assert metrics["entropy"][0] != pytest.approx(metrics["entropy"][1], rel=1e-3)


def test_no_entropy_where_nothing_was_forwarded(make: Make) -> None:
    trainer = make()
    loss_and_gradients(trainer, batch_of(trainer, [0.0] * 16))
    trainer.log({})
    assert trainer.state.log_history[-1]["entropy"] is None


def test_equal_rewards_have_no_advantage_at_all(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    """The mean of six times 0.3 is not 0.3, and TRL divides the rest by 1e-4."""
    trainer = make(num_generations=6, batch_size=12, micro_batch_size=12)

    def rewards(self: Any, inputs: Any, *args: Any) -> torch.Tensor:
        return torch.tensor([0.3] * 6 + [0.7, 0.1, 0.1, 0.1, 0.1, 0.1])[:, None]

    monkeypatch.setattr(GRPOTrainer, "_calculate_rewards", rewards)
    trainer.model.train()
    trainer.args.max_steps = 1
    rows = [row for row in trainer.train_dataset.select(range(2)) for _ in range(6)]
    plain = super(FrugalGRPOTrainer, trainer)._generate_and_score_completions(
        [{"prompt": "1 plus 2", **{"question_id": row["question_id"]}} for row in rows]
    )
    assert 0 < float(plain["advantages"][:6].abs().max()) < 1e-2
    ours = trainer._generate_and_score_completions(rows)["advantages"]
    assert ours[:6].tolist() == [0.0] * 6
    assert torch.equal(ours[6:], plain["advantages"][6:])


@pytest.mark.parametrize(("loss_type", "together"), [("dapo", True), ("bnpo", False)])
def test_micro_batches_hold_whole_groups(make: Make, loss_type: str, together: bool) -> None:
    trainer = make(micro_batch_size=4, loss_type=loss_type, num_iterations=2, steps=2)
    seen: list[dict[str, Any]] = []
    original = trainer._compute_loss

    def look(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        seen.append(inputs)
        return original(model, inputs)

    trainer._compute_loss = look  # type: ignore[method-assign]
    trainer.train()
    assert len(seen) == 8
    prompts = [len({tuple(row) for row in inputs["prompt_ids"].tolist()}) for inputs in seen]
    assert (set(prompts) == {1}) is together
    # Every row once in each of the two updates.
    for update in (seen[:4], seen[4:]):
        rows = torch.cat([inputs["row"] for inputs in update]).tolist()
        assert sorted(rows) == list(range(16)) and (rows == sorted(rows)) is together


# The seams


def test_seams_of_the_signatures() -> None:
    parameters = {
        name: list(inspect.signature(getattr(GRPOTrainer, name)).parameters)
        for name in ("_get_per_token_logps_and_entropies", "_generate_single_turn", "_prepare_inputs", "_compute_loss")
    }
    assert parameters["_get_per_token_logps_and_entropies"][:8] == [
        "self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size", "compute_entropy",
        "compute_aux_loss",
    ]  # fmt: skip
    assert parameters["_generate_single_turn"] == [
        "self", "prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images",
    ]  # fmt: skip
    assert parameters["_prepare_inputs"] == ["self", "generation_batch"]
    assert parameters["_compute_loss"] == ["self", "model", "inputs"]


def test_seam_one_forward_in_the_loss(make: Make) -> None:
    trainer = make("off")
    batch = batch_of(trainer, SPREAD * 2)
    calls = []
    original = trainer._get_per_token_logps_and_entropies

    def count(*args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs)
        return original(*args, **kwargs)

    trainer._get_per_token_logps_and_entropies = count  # type: ignore[method-assign]
    trainer._compute_loss(trainer.model, batch)
    assert len(calls) == 1 and calls[0]["compute_entropy"] is True


def test_seam_generated_batch(make: Make) -> None:
    """The rows of the batch are those of the input, in their order, and `_prepare_inputs` keeps its parts."""
    trainer = make()
    batch = batch_of(trainer, SPREAD * 2)
    prompts = batch["prompt_ids"].tolist()
    assert [prompts.index(row) // 4 * 4 for row in prompts] == [i // 4 * 4 for i in range(16)]
    assert {"prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages"} <= batch.keys()
    assert all(isinstance(value, torch.Tensor) for value in batch.values() if value is not None)
    assert trainer._buffered_inputs is None and trainer._step == 0
