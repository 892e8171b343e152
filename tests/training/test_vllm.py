"""vLLM through TRL's own integration: the settings, and what ours rely on in TRL's code that calls vLLM.

vLLM itself needs a GPU and is not run here.
"""

import copy
import dataclasses
import inspect
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from peft import LoraConfig, get_peft_model
from trl.generation.vllm_generation import VLLMGeneration
from trl.trainer.grpo_config import GRPOConfig

from realm.config import load_config
from realm.errors import ConfigError
from realm.training.grpo import grpo_settings
from tests.tiny import CONTEXT, tiny_config, tiny_trainer
from tests.training.decoders import decoder


def settings(folder: Path, student: Path, monkeypatch: pytest.MonkeyPatch, **rl: Any) -> GRPOConfig:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: SimpleNamespace())
    return grpo_settings(tiny_config(folder, student, rl=rl), output=str(folder), seed=0, context=CONTEXT)


def test_off_is_off_however_it_is_written(tmp_path: Path) -> None:
    """YAML 1.1 reads a bare `off` as false."""
    (tmp_path / "config.yaml").write_text("training: {rl: {vllm: off}}")
    assert load_config(tmp_path / "config.yaml").training.rl.vllm == "off"
    assert load_config(None, ["training.rl.vllm=off"]).training.rl.vllm == "off"
    assert load_config(None, ["training.rl.vllm=server"]).training.rl.vllm == "server"
    for wrong in ("training.rl.vllm=true", "training.rl.vllm_url=localhost:8000", "training.rl.vllm_memory=1.5"):
        with pytest.raises(ConfigError, match=wrong.partition("=")[0]):
            load_config(None, [wrong])
    assert yaml.safe_load("off") is False


def test_settings_are_those_of_trl(tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {field.name for field in dataclasses.fields(GRPOConfig)}
    names = {"use_vllm", "vllm_mode", "vllm_server_base_url", "vllm_gpu_memory_utilization", "vllm_max_model_length"}
    assert names <= fields
    off = settings(tmp_path, student, monkeypatch)
    assert not off.use_vllm
    beside = settings(tmp_path, student, monkeypatch, vllm="colocate", vllm_memory=0.4)
    assert (beside.use_vllm, beside.vllm_mode) == (True, "colocate")
    assert (beside.vllm_gpu_memory_utilization, beside.vllm_max_model_length) == (0.4, CONTEXT)
    server = settings(tmp_path, student, monkeypatch, vllm="server", vllm_url="http://node7:8001")
    assert (server.use_vllm, server.vllm_mode, server.vllm_server_base_url) == (True, "server", "http://node7:8001")
    # vLLM's own log-probabilities differ a little from the trainer's: TRL weighs that out.
    assert server.vllm_importance_sampling_correction


class FakeVLLM:
    """In the place of TRL's `VLLMGeneration`: notes what it is asked, answers with one token for each prompt."""

    def __init__(self) -> None:
        self.synced = 0
        self.asked: list[tuple[list[list[int]], int]] = []

    def sync_weights(self) -> None:
        self.synced += 1

    def generate(self, *, prompts: list[list[int]], num_generations: int, **_: Any) -> tuple[Any, Any, Any, Any]:
        self.asked.append((prompts, num_generations))
        return prompts, [[5, 1] for _ in prompts], [[[-1.0], [-1.0]] for _ in prompts], None


def test_seam_one_prompt_a_group_and_weights_synced(tmp_path: Path, student: Path) -> None:
    """TRL asks vLLM with token ids, and in server mode with every G-th prompt only: groups must be alike and whole.

    Weights are sent before the first batch of every step that generates.
    """
    trainer = tiny_trainer(tiny_config(tmp_path, student, rl={"steps": 3}), tmp_path)
    fake = FakeVLLM()
    trainer.use_vllm, trainer.vllm_generation, trainer._last_loaded_step = True, fake, -1
    # What vLLM sampled with, against what the trainer computes: TRL corrects for the difference.
    trainer.train()
    assert len(fake.asked) == fake.synced == 3
    for prompts, size in fake.asked:
        assert (len(prompts), size) == (16, 4)
        for start in range(0, 16, 4):
            assert prompts[start : start + 4] == [prompts[start]] * 4
    assert len({tuple(prompt) for prompts, _ in fake.asked for prompt in prompts}) > 3


def test_seam_adapters_are_merged_into_what_is_sent() -> None:
    """vLLM gets the weights with the adapters in them, by the base model's names; the model keeps its adapters."""
    base = decoder("qwen3")
    names = [name for name, _ in base.named_parameters()]
    start = {name: tensor.detach().clone() for name, tensor in base.named_parameters()}
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sender: Any = object.__new__(VLLMGeneration)
    sender.model, sender._dist = model, SimpleNamespace(is_fsdp=False, gather_params=lambda _: nullcontext())
    sender.mode = "server"
    sent = {name: tensor.clone() for name, tensor in sender._iter_named_params()}
    after = model.state_dict()
    assert all(torch.allclose(tensor, before[name], atol=1e-6) for name, tensor in after.items()), "unmerged again"
    merged = dict(copy.deepcopy(model).merge_and_unload().named_parameters())
    assert sorted(sent) == sorted(names)
    assert all(torch.allclose(tensor, merged[name], atol=1e-6) for name, tensor in sent.items())
    adapted = [name for name in names if "q_proj.weight" in name or "down_proj" in name]
    assert all(not torch.equal(sent[name], start[name]) for name in adapted) and len(adapted) == 8
    assert "_iter_named_params" in inspect.getsource(VLLMGeneration.sync_weights)


def test_seam_server_mode_takes_every_gth_prompt_and_caches_are_reset() -> None:
    """vLLM shares prefixes by itself (its default); TRL must empty that cache whenever the weights have changed."""
    assert "all_prompts[::num_generations]" in inspect.getsource(VLLMGeneration.generate)
    assert inspect.getsource(VLLMGeneration.sync_weights).count("reset_prefix_cache()") == 2
    assert "enable_prefix_caching" not in inspect.getsource(VLLMGeneration._init_vllm), "vLLM's default is on"
