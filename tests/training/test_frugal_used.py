"""What is left out of GRPO's arithmetic is left out indeed, wherever it may be, and what stands in its way is said."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM
from trl.trainer.utils import add_fused_lm_head

from realm.training import frugal
from realm.training.frugal import FrugalGRPOTrainer
from realm.training.grpo import RouteTrainer
from realm.training.shared_prefix import take_apart
from tests.tiny import WORDS, tiny_config, tiny_trainer
from tests.training.decoders import SIZES, micro_batch

Make = Callable[..., RouteTrainer]


def spy(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any] = lambda outputs: outputs) -> list[Any]:
    """Every call of the shared path: whether with gradients, and its batch."""
    calls: list[Any] = []
    original = frugal.shared_outputs

    def shared_outputs(model: Any, bare: Any, batch: Any) -> Any:
        calls.append((torch.is_grad_enabled(), batch))
        return change(original(model, bare, batch))

    monkeypatch.setattr(frugal, "shared_outputs", shared_outputs)
    return calls


def logged(trainer: RouteTrainer, name: str) -> list[float]:
    return [row[name] for row in trainer.state.log_history if name in row]


def test_it_is_used_where_it_pays(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    calls = spy(monkeypatch)
    trainer = make()
    trainer.train()
    with_gradient = [batch for grad, batch in calls if grad]
    assert len(calls) == len(with_gradient) + 2, "and two looks at both paths, on the first batch and the first gaps"
    assert len(with_gradient) == 3
    assert all(len(batch.prefixes) <= 4 for batch in with_gradient), "distinct prompts of four groups"
    saved = logged(trainer, "tokens_saved")
    assert len(saved) == 3 and all(share > 0.3 for share in saved)


def test_completions_are_ours_by_default(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    """One call of `roll_out` for each generated batch, none of transformers' `generate`."""
    calls: list[tuple[int, int]] = []
    original = frugal.roll_out

    def roll_out(model: Any, prompts: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append((kwargs["step"], len(prompts)))
        return original(model, prompts, *args, **kwargs)

    def generate(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("transformers' generate was called")

    monkeypatch.setattr(frugal, "roll_out", roll_out)
    trainer = make(num_iterations=2, steps=4)
    trainer.model.generate = generate  # type: ignore[method-assign]
    trainer.train()
    assert calls == [(0, 16), (2, 16)]


def test_old_and_reference_model_share_too(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    calls = spy(monkeypatch)
    make(beta=0.1, num_iterations=2, micro_batch_size=8, steps=2).train()
    # One generation: 2 batches each of old and reference model, once looked at; 2 x 2 updates.
    assert [grad for grad, _ in calls].count(True) == 4
    assert [grad for grad, _ in calls].count(False) == 2 + 2 + 2


def test_it_can_be_turned_off(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    calls = spy(monkeypatch)
    monkeypatch.setattr(frugal, "roll_out", None)
    trainer = make("off")
    trainer.train()
    assert not calls and not logged(trainer, "tokens_saved")


@pytest.mark.parametrize("wrong", [1.0, float("nan")])
def test_wrong_log_probabilities_are_noticed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, make: Make, wrong: float
) -> None:
    def spoil(outputs: Any) -> Any:
        outputs.log_probs = outputs.log_probs + wrong
        return outputs

    calls = spy(monkeypatch, spoil)
    trainer = make()
    trainer.train()
    assert len(calls) == 1
    # What agrees is told at the level INFO, which another test may have switched on.
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert sum("log-probabilities with shared prompts differ" in message for message in warned) == 1
    assert all(share < 0.8 for share in logged(trainer, "tokens_saved"))


@pytest.mark.parametrize(("error", "ends"), [(RuntimeError("no kernel"), False), (MemoryError(), True)], ids=str)
def test_a_path_that_fails_is_left_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, make: Make, error: Exception, ends: bool
) -> None:
    """But for memory: the plain path needs more of it."""

    def fail(outputs: Any) -> Any:
        raise error

    calls = spy(monkeypatch, fail)
    trainer = make()
    if ends:
        with pytest.raises(MemoryError):
            trainer.train()
        return
    trainer.train()
    assert len(calls) == 1 and len(logged(trainer, "tokens_saved")) == 3
    said = "Prompts are forwarded once per completion: sharing them fails in this model (RuntimeError: no kernel)."
    assert caplog.text.count(said) == 1


def test_a_few_wrong_tokens_do_not_hide_in_the_mean(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, make: Make
) -> None:
    """One of some hundred: the mean difference alone would pass."""
    tolerance = frugal.TOLERANCES[torch.float32]

    def spoil(outputs: Any) -> Any:
        changed = outputs.log_probs.clone()
        changed[0, 0] += 1.5 * frugal.LARGEST * tolerance
        assert 1.5 * frugal.LARGEST * tolerance / (changed != 0).sum() < tolerance
        outputs.log_probs = changed
        return outputs

    calls = spy(monkeypatch, spoil)
    make().train()
    assert len(calls) == 1
    assert caplog.text.count("Prompts are forwarded once per completion: log-probabilities") == 1


def look(trainer: RouteTrainer, prompts: list[int]) -> bool:
    """Whether the shared path agrees on a batch of prompts of these lengths."""
    ids, mask = micro_batch(prompts, 4, 6)
    return trainer._agrees(trainer.model, take_apart(ids % len(WORDS), mask, 6), ids % len(WORDS), mask, 6)


def test_the_first_batch_with_gaps_is_looked_at_too(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    """Prompts of one length need no mask: whether it is right shows later. With gaps at first, once is enough."""

    def spoil_gaps(outputs: Any) -> Any:
        if calls[-1][1].mask() is not None:
            outputs.log_probs = outputs.log_probs + 1.0
        return outputs

    calls = spy(monkeypatch)
    trainer = make()
    assert all(look(trainer, prompts) for prompts in ([9, 9], [9, 9], [9, 5], [9, 5], [9, 9]))
    assert [batch.mask() is not None for _, batch in calls] == [False, True]
    calls.clear()
    trainer = make()
    assert all(look(trainer, prompts) for prompts in ([9, 5], [9, 9], [9, 5]))
    assert len(calls) == 1
    calls = spy(monkeypatch, spoil_gaps)
    trainer = make()
    assert look(trainer, [9, 9]) and not look(trainer, [9, 5])
    assert trainer._refusal(trainer.model)


def test_a_refusal_is_logged_by_the_process_it_happens_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, make: Make
) -> None:
    """What holds for all of them is said by the main one alone."""

    def spoil(outputs: Any) -> Any:
        outputs.log_probs = outputs.log_probs + 1.0
        return outputs

    spy(monkeypatch, spoil)
    trainer = make()
    monkeypatch.setattr(type(trainer.accelerator), "is_main_process", False)
    monkeypatch.setattr(type(trainer.accelerator), "process_index", 3)
    trainer._tell("of all")
    assert not look(trainer, [9, 5])
    assert caplog.text.count("process 3: Prompts are forwarded once per completion: log-probabilities") == 1
    assert "of all" not in caplog.text


def test_a_mixture_of_experts_takes_the_plain_path_in_the_update_and_says_so(
    caplog: pytest.LogCaptureFixture, make: Make
) -> None:
    """Its auxiliary loss is one of every token; nothing is saved, and that is logged."""
    trainer = make()
    trainer.aux_loss_enabled, trainer.router_aux_loss_coef = True, 0.01
    torch.manual_seed(0)
    model = Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            **{**SIZES, "vocab_size": len(WORDS)}, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16,
            output_router_logits=True,
        )
    )  # fmt: skip
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    trainer.model = trainer.model_wrapped = model
    trainer.train()
    assert logged(trainer, "tokens_saved") == [0.0] * 3
    assert caplog.text.count("the auxiliary loss of a mixture of experts") == 1


def test_a_reference_without_adapters_does_not_stand_for_the_policy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, student: Path
) -> None:
    """Both are the same object: the reference is right, the policy with its adapters is not."""
    config = tiny_config(tmp_path, student, rl={"steps": 3, "beta": 0.1}, lora={"r": 4})
    trainer = tiny_trainer(config, tmp_path / "out")

    def spoil_adapted(outputs: Any) -> Any:
        layer = next(module for module in trainer.model.modules() if hasattr(module, "lora_A"))
        if not layer.disable_adapters:
            outputs.log_probs = outputs.log_probs + 1.0
        return outputs

    calls = spy(monkeypatch, spoil_adapted)
    trainer.train()
    # What agrees is told at the level INFO, which another test may have switched on.
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert sum("log-probabilities with shared prompts differ" in message for message in warned) == 1
    assert not any(grad for grad, _ in calls), "the policy takes the plain path"
    assert len(calls) == 3 + 3, "a look at each, another of the reference at gaps, and the reference three times"


def test_the_difference_is_logged(caplog: pytest.LogCaptureFixture, make: Make) -> None:
    with caplog.at_level(logging.INFO, "realm.training.frugal"):
        make().train()
    assert caplog.text.count("log-probabilities with shared prompts differ by") == 2, "first batch, first gaps"


def test_gradient_checkpointing_takes_the_plain_path_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, make: Make
) -> None:
    calls = spy(monkeypatch)
    make(gradient_checkpointing=True).train()
    assert not calls
    assert caplog.text.count("without it (gradient_checkpointing: false)") == 1


def test_unfit_model_takes_the_plain_path_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, make: Make
) -> None:
    monkeypatch.setattr(frugal, "unfit", lambda model: "it is round")
    calls = spy(monkeypatch)
    make().train()
    assert not calls
    assert caplog.text.count("Prompts are forwarded once per completion: it is round.") == 1


def test_virtual_tokens_are_left_to_generate(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, make: Make
) -> None:
    monkeypatch.setattr(frugal, "virtual_tokens", lambda model: "it is round")
    monkeypatch.setattr(frugal, "roll_out", None)
    make().train()
    assert caplog.text.count("Completions are sampled by transformers' generate: it is round.") == 1


def test_sharded_model_takes_the_plain_path(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    calls = spy(monkeypatch)
    monkeypatch.setattr(FrugalGRPOTrainer, "_sharded", lambda self: True)
    monkeypatch.setattr(frugal, "roll_out", None)
    make().train()
    assert not calls
