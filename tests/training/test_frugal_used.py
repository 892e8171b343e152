"""What is left out of GRPO's arithmetic is left out indeed, wherever it may be, and what stands in its way is said."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_grpo import make_trainer
from tiny import TinyTask, tiny_config

from realm.bank.store import Bank
from realm.training import frugal
from realm.training.frugal import FrugalGRPOTrainer
from realm.training.grpo import ReaLMTrainer

Make = Callable[..., ReaLMTrainer]


def spy(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any] = lambda outputs: outputs) -> list[Any]:
    """Every call of the shared path: whether with gradients, and its batch."""
    calls: list[Any] = []
    original = frugal.shared_outputs

    def shared_outputs(model: Any, bare: Any, batch: Any) -> Any:
        calls.append((torch.is_grad_enabled(), batch))
        return change(original(model, bare, batch))

    monkeypatch.setattr(frugal, "shared_outputs", shared_outputs)
    return calls


def logged(trainer: ReaLMTrainer, name: str) -> list[float]:
    return [row[name] for row in trainer.state.log_history if name in row]


def test_it_is_used_where_it_pays(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    calls = spy(monkeypatch)
    trainer = make()
    trainer.train()
    with_gradient = [batch for grad, batch in calls if grad]
    assert len(calls) == len(with_gradient) + 1, "and one look at both paths, on the first batch"
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


def test_a_reference_without_adapters_does_not_stand_for_the_policy(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    student: Path,
    task: TinyTask,
    bank: Bank,
) -> None:
    """Both are the same object: the reference is right, the policy with its adapters is not."""
    config = tiny_config(tmp_path, student, rl={"steps": 3, "beta": 0.1}, lora={"r": 4})
    trainer = make_trainer(config, student, task, bank, tmp_path / "out")[0]

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
    assert len(calls) == 2 + 3, "one look at each, and the reference three times"


def test_the_difference_is_logged(caplog: pytest.LogCaptureFixture, make: Make) -> None:
    with caplog.at_level(logging.INFO, "realm.training.frugal"):
        make().train()
    assert caplog.text.count("log-probabilities with shared prompts differ by") == 1


def test_gradient_checkpointing_takes_the_plain_path_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, make: Make
) -> None:
    calls = spy(monkeypatch)
    make(gradient_checkpointing=True).train()
    assert not calls
    assert caplog.text.count("training.rl.gradient_checkpointing: false") == 1


def test_unfit_model_takes_the_plain_path_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, make: Make
) -> None:
    monkeypatch.setattr(frugal, "unfit", lambda model: "it is round")
    calls = spy(monkeypatch)
    make().train()
    assert not calls
    assert caplog.text.count("Prompts are forwarded once per completion: it is round.") == 1
    assert caplog.text.count("Completions are sampled by transformers' generate: it is round.") == 1


def test_sharded_model_takes_the_plain_path(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    calls = spy(monkeypatch)
    monkeypatch.setattr(FrugalGRPOTrainer, "_sharded", lambda self: True)
    monkeypatch.setattr(frugal, "roll_out", None)
    make().train()
    assert not calls
