"""The model that is put in place is the trained one; one that is not never gets there."""

from pathlib import Path
from typing import Any

import pytest
import torch

from realm.errors import TrainingError
from realm.files import read_jsonl
from realm.student.load import load_model
from realm.training import checkpoints
from realm.training.published import BOUNDS, compare, distance, scores
from tests.tiny import go, tiny_config, weights


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_model_is_as_far_from_its_file_as_its_type_rounds(student: Path, tmp_path: Path, dtype: str) -> None:
    """What is written in a type is compared in it: the bound has room for rounding, and none for a change."""
    trained = load_model(student)
    trained.to(getattr(torch, dtype)).save_pretrained(tmp_path / "model")
    exact = scores(load_model(student))
    found = distance(exact, scores(load_model(tmp_path / "model", dtype)))
    assert found == 0 if dtype == "float32" else 0 < found < BOUNDS[dtype] / 2
    compare(exact, tmp_path / "model", dtype, dtype)
    with torch.no_grad():
        trained.model.layers[0].self_attn.q_proj.weight.mul_(-1)
        trained.model.layers[1].mlp.down_proj.weight.mul_(-1)
    trained.save_pretrained(tmp_path / "other")
    with pytest.raises(TrainingError, match="not the one that was trained: on 32 tokens"):
        compare(exact, tmp_path / "other", dtype, dtype)


def test_scores_of_no_number_are_no_match(student: Path, tmp_path: Path) -> None:
    model = load_model(student)
    model.model.norm.weight.data.fill_(float("nan"))
    model.save_pretrained(tmp_path)
    with pytest.raises(TrainingError, match="not the one"):
        compare(scores(load_model(student)), tmp_path, "float32", "float32")


@pytest.mark.parametrize("lora", [0, 4], ids=["all-weights", "adapters"])
def test_another_model_than_the_trained_one_stops_the_run_and_nothing_is_lost(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch, lora: int
) -> None:
    """A library that writes what it did not train; once it is mended the run goes on to its end."""
    config = tiny_config(tmp_path, student, lora={"r": lora}, rl={"learning_rate": 2e-2})
    load_written = checkpoints.compare

    def changed(trained: torch.Tensor, folder: Path, *args: Any) -> None:
        model = load_model(folder)
        model.get_input_embeddings().weight.data.mul_(1.5)
        model.save_pretrained(folder)
        load_written(trained, folder, *args)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "compare", changed)
        with pytest.raises(TrainingError, match="the last checkpoint is kept"):
            go(config)
    assert not (config.run_path / "model").exists()
    run = go(config, resume=True)
    assert weights(run.path / "model") and not list(run.path.rglob(".model*"))
    assert [row["step"] for row in read_jsonl(run.path / "metrics.jsonl")] == list(range(1, 7))


def test_the_adapter_of_a_tied_head_would_be_found(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault that the comparison is for: merged into a weight that head and embedding share, an adapter is added
    to both."""

    def unchecked(model: Any, config: Any) -> Any:
        return model

    lora = {"r": 4, "alpha": 64, "targets": ["embed_tokens"]}
    config = tiny_config(tmp_path, student, lora=lora, rl={"learning_rate": 2e-2})
    for module in ("estimate", "prepare"):
        monkeypatch.setattr(f"realm.training.{module}.with_adapters", unchecked)
    monkeypatch.setattr("realm.training.prepare.try_adapters", unchecked)
    with pytest.raises(TrainingError, match="not the one that was trained"):
        go(config)
