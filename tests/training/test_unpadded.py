"""Rows forwarded by their length: the loss and the gradient of the padded batch, from fewer tokens."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import tiny_families
from realm.student.load import load
from realm.traces.base import Soft, Target
from realm.training import unpadded, weighted
from realm.training.unpadded import of_like_length
from tests.training.test_weighted import LENGTHS, random_weights, taught, trainer_of


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes that cost next to nothing, so that short rows are taken apart too."""
    monkeypatch.setattr(unpadded, "PASS", 1)


def price(groups: Sequence[Sequence[int]], lengths: Sequence[int]) -> int:
    return sum(unpadded.PASS + len(group) * max(lengths[row] for row in group) for group in groups)


@pytest.mark.parametrize("more", [0, 3, 10, 1000])
def test_groups_are_the_cheapest(monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    monkeypatch.setattr(unpadded, "PASS", more)
    lengths = [5, 9, 9, 2, 7, 2, 14, 6]
    groups = of_like_length(lengths)
    assert sorted(row for group in groups for row in group) == list(range(8))
    assert [lengths[group[0]] for group in groups] == sorted(max(lengths[row] for row in g) for g in groups)[::-1]
    order = sorted(range(8), key=lambda row: -lengths[row])
    every = (
        [order[start:end] for start, end in itertools.pairwise([0, *cuts, 8])]
        for size in range(8)
        for cuts in itertools.combinations(range(1, 8), size)
    )
    assert price(groups, lengths) == min(price(one, lengths) for one in every)
    assert len(groups) == (1 if more == 1000 else len(groups))


def test_rows_of_one_length_stay_together() -> None:
    assert of_like_length([4] * 5) == [[0, 1, 2, 3, 4]]


def targets_of(kind: str) -> Sequence[Target]:
    if kind == "labels":
        return [[float(place % 3 != 1) for place in range(length)] for length in LENGTHS]
    if kind == "weights":
        return random_weights()
    return [
        Soft([[5, 9]] * length, [[0.5, 0.4]] * length, row)
        for length, row in zip(LENGTHS, random_weights(), strict=True)
    ]


def looked_at(
    student: Path, folder: Path, padding: str, kind: str, **more: Any
) -> tuple[float, dict[str, torch.Tensor], dict[str, Any], list[torch.Size]]:
    """Loss, gradients, metrics, and the shapes that went through the layers, of one micro-batch in training."""
    trainer = trainer_of(student, folder, targets_of(kind), rows=taught(60), padding=padding, **more)
    model: Any = trainer.model
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # what is dropped depends on the shape
    backbone = trainer.accelerator.unwrap_model(model)
    backbone = getattr(backbone, "get_base_model", lambda: backbone)().base_model
    shapes: list[torch.Size] = []
    forward = backbone.forward

    def spy(input_ids: torch.Tensor, **given: Any) -> Any:
        shapes.append(input_ids.shape)
        return forward(input_ids, **given)

    backbone.forward = spy
    trainer.current_gradient_accumulation_steps = 1
    batch = next(iter(trainer.get_train_dataloader()))
    items = trainer._get_num_items_in_batch([batch], model.device)
    loss = trainer.compute_loss(model, batch, num_items_in_batch=items)
    loss.backward()
    found = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    return float(loss.detach()), found, {name: values[-1] for name, values in trainer._metrics["train"].items()}, shapes


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("qwen3", "labels"),
        ("qwen3", "weights"),
        ("qwen3", "soft"),
        ("adapters", "soft"),
        ("gpt2", "labels"),
        ("gemma3_text", "weights"),
        ("mamba", "soft"),
    ],
)
def test_loss_and_gradient_are_those_of_the_padded_batch(family: str, kind: str, tmp_path: Path) -> None:
    """Also with absolute positions, a window, a recurrent state, adapters."""
    student = tiny_families.save("qwen3" if family == "adapters" else family, tmp_path / "student")
    more: Any = {"lora": {"r": 2}} if family == "adapters" else {}
    loss, gradients, metrics, whole = looked_at(student, tmp_path, "batch", kind, **more)
    other, others, told, parts = looked_at(student, tmp_path, "length", kind, **more)
    assert other == pytest.approx(loss, rel=1e-5) and loss > 0.1
    assert gradients.keys() == others.keys()
    for name, one in gradients.items():
        torch.testing.assert_close(others[name], one, rtol=1e-4, atol=1e-6, msg=lambda text, at=name: f"{at}: {text}")
    assert any(one.abs().max() > 1e-3 for one in gradients.values())
    assert told == {name: pytest.approx(value, rel=1e-5) for name, value in metrics.items()}
    (shape,) = whole
    assert len(parts) > 1 and sum(one.numel() for one in parts) < 0.9 * shape.numel()


@pytest.mark.usefixtures("cheap")
def test_the_head_reads_what_is_learned_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trl.trainer import utils

    student = tiny_families.save("qwen3", tmp_path / "student")
    seen: list[torch.Size] = []
    apply = utils._ChunkedLogProbFunction.apply
    monkeypatch.setattr(
        utils._ChunkedLogProbFunction,
        "apply",
        lambda states, *rest: (seen.append(states.shape), apply(states, *rest))[1],
    )
    looked_at(student, tmp_path, "length", "labels")
    learned = sum(place % 3 != 1 for length in LENGTHS for place in range(length))
    assert [shape[0] for shape in seen] == [learned]


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("kind", ["labels", "soft"])
def test_nothing_learned_moves_nothing(student: Path, tmp_path: Path, kind: str) -> None:
    rows = [[0.5] * length if number else [0.0] * length for number, length in enumerate(LENGTHS)]
    targets: Sequence[Target] = rows
    if kind == "soft":
        targets = [Soft([[4]] * len(row), [[1.0]] * len(row), row) for row in rows]
    trainer = trainer_of(student, tmp_path, targets, batch_size=1, micro_batch_size=1, padding="length")
    trainer.train()
    entry = trainer.state.log_history[0]
    assert (entry["loss"], entry["grad_norm"]) == (0, 0)


@pytest.mark.usefixtures("cheap")
def test_a_whole_training_ends_at_the_same_weights(student: Path, tmp_path: Path) -> None:
    """Two optimizer steps of two micro-batches each."""
    ends = []
    for padding in ("batch", "length"):
        trainer = trainer_of(student, tmp_path / padding, targets_of("weights"), steps=2, batch_size=4,
                             micro_batch_size=2, padding=padding)  # fmt: skip
        trainer.train()
        model: Any = trainer.model
        ends.append({name: one.detach() for name, one in model.named_parameters()})
    start = load(student)[0]
    for name, one in start.named_parameters():
        moved = (ends[0][name] - one).abs().max()
        assert (ends[0][name] - ends[1][name]).abs().max() <= 0.02 * moved, name


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(
    ("family", "kind", "reason"),
    [
        ("qwen3_moe", "labels", "auxiliary loss"),
        ("qwen3", "labels", "sharded"),
        ("opt", "soft", "cannot be told from its head"),  # which calls a part of what ours would stand for
    ],
)
def test_what_needs_all_rows_at_once_is_told(
    family: str,
    kind: str,
    reason: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A balancing loss is one of every token of the micro-batch; processes that share weights forward alike."""
    student = tiny_families.save(family, tmp_path / "student")
    monkeypatch.setattr(weighted, "sharded", lambda: family == "qwen3")
    with caplog.at_level(logging.INFO, "realm.training.weighted"):
        *_, shapes = looked_at(student, tmp_path, "length", kind)
    assert reason in caplog.text and len(shapes) == (family != "opt")
