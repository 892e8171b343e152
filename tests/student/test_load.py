"""Loading a student, and every way in which a directory can fail to be one."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BloomConfig, PreTrainedModel, PreTrainedTokenizerFast

import realm
from realm.config import Config
from realm.errors import ModelError
from realm.sections import PACKAGED_BASE
from realm.student.generate import end_tokens
from realm.student.load import context_length, load, load_model, load_tokenizer, prompt_limit, resolve

Build = Callable[..., PreTrainedModel]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_loads_what_was_saved(model_directory: Path, new_model: Build) -> None:
    model, tokenizer = load(model_directory)
    assert not model.training
    for name, weight in new_model().state_dict().items():
        assert torch.equal(weight, model.state_dict()[name]), name
    # The tokenizer has no padding token of its own.
    assert tokenizer.pad_token == "<|end|>"


def test_dtype(model_directory: Path) -> None:
    assert load_model(str(model_directory), "bfloat16").dtype == torch.bfloat16


def test_loading_keeps_progress_bars_out(model_directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(model_directory)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_long_prompts_are_no_news(model_directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = load_tokenizer(model_directory)
    tokenizer.model_max_length = 4
    monitored = logging.getLogger("transformers")
    monitored.addHandler(caplog.handler)
    try:
        tokenizer("more than four")
    finally:
        monitored.removeHandler(caplog.handler)
    assert caplog.text == ""


def test_packaged_base_is_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realm, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(ModelError, match="no such model directory"):
        resolve(PACKAGED_BASE)
    (tmp_path / "desk" / "base").mkdir(parents=True)
    assert resolve(PACKAGED_BASE) == str(tmp_path / "desk" / "base")


def test_hub_name_that_cannot_be_had() -> None:
    with pytest.raises(ModelError, match="nobody/nothing: the model, which is no directory here, cannot be loaded"):
        load_model("nobody/nothing")


def refusal(path: Path | str) -> str:
    with pytest.raises(ModelError) as caught:
        load(path)
    message = str(caught.value)
    assert str(path) in message
    assert len(message.splitlines()) <= 2
    return message


def test_missing_directory(tmp_path: Path) -> None:
    assert "no such model directory" in refusal(tmp_path / "nowhere")
    assert "no such model directory" in refusal("./nowhere")
    assert "no such model directory" in refusal("runs/nowhere/model")


def test_file_instead_of_directory(model_directory: Path) -> None:
    assert "found a file" in refusal(model_directory / "config.json")


def test_no_config(model_directory: Path) -> None:
    (model_directory / "config.json").unlink()
    assert "no config.json" in refusal(model_directory)


def test_run_folder_instead_of_its_model(model_directory: Path) -> None:
    run = model_directory.parent / "run"
    run.mkdir()
    model_directory.rename(run / "model")
    assert f"Did you mean {run / 'model'}" in refusal(run)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"model_type":',
        "[]",
        "{}",
        '{"model_type": "unheard-of"}',
        '{"model_type": "vit"}',
        '{"model_type": "qwen3", "hidden_size": "large"}',
        '{"model_type": "qwen3", "num_hidden_layers": -1}',
    ],
)
def test_config_that_is_none_of_a_causal_model(model_directory: Path, text: str) -> None:
    (model_directory / "config.json").write_text(text)
    assert "the model cannot be loaded" in refusal(model_directory)


def test_no_weights(model_directory: Path) -> None:
    (model_directory / "model.safetensors").unlink()
    assert "no weights" in refusal(model_directory)


def test_pickled_weights_are_not_read(model_directory: Path, new_model: Build) -> None:
    (model_directory / "model.safetensors").unlink()
    torch.save(new_model().state_dict(), model_directory / "pytorch_model.bin")
    assert "no weights (*.safetensors)" in refusal(model_directory)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_torn_weights(model_directory: Path, share: float) -> None:
    file = model_directory / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    assert "the model cannot be loaded" in refusal(model_directory)


def test_weights_that_lack_a_part_are_not_made_up(model_directory: Path) -> None:
    file = model_directory / "model.safetensors"
    weights = load_file(file)
    del weights["model.layers.0.self_attn.q_proj.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    assert "1 of the model's weights are not in its files" in refusal(model_directory)


def test_weights_of_another_shape(model_directory: Path) -> None:
    file = model_directory / "model.safetensors"
    save_file({**load_file(file), "model.norm.weight": torch.ones(3)}, file, metadata={"format": "pt"})
    assert "the model cannot be loaded" in refusal(model_directory)


def test_no_tokenizer(model_directory: Path) -> None:
    for file in model_directory.glob("tokenizer*"):
        file.unlink()
    assert "no tokenizer" in refusal(model_directory)


@pytest.mark.parametrize("text", ["", '{"version": "1.0", "mo', "[]", '{"version": "1.0", "model": {"type": "odd"}}'])
def test_broken_tokenizer(model_directory: Path, text: str) -> None:
    (model_directory / "tokenizer.json").write_text(text)
    assert "the tokenizer cannot be loaded" in refusal(model_directory)


def test_tokenizer_without_an_end(model_directory: Path) -> None:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        file = model_directory / name
        if file.exists():
            settings = json.loads(file.read_text())
            settings.pop("eos_token", None)
            file.write_text(json.dumps(settings))
    with pytest.raises(ModelError, match="no end token"):
        load_tokenizer(model_directory)


@pytest.mark.parametrize(("more", "ends"), [("", {0, 1}), ("{# <|channel|> #}", {1})])
def test_what_closes_a_turn_ends_a_completion(model_directory: Path, more: str, ends: set[int]) -> None:
    """As of base models that know a template, and name the end of a text alone; `<|end|>` may also close a part."""
    for name, key, value in (("tokenizer_config", "eos_token", "<|system|>"), ("generation_config", "eos_token_id", 1)):
        file = model_directory / f"{name}.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    (model_directory / "chat_template.jinja").write_text(template + more)
    model, tokenizer = load(model_directory)
    assert end_tokens(model, tokenizer) == ends
    model.save_pretrained(model_directory)
    assert end_tokens(*load(model_directory)) == ends


def test_the_tokenizers_own_end_is_among_the_models(model_directory: Path) -> None:
    """Whoever serves the model reads its settings of generation alone."""
    file = model_directory / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "eos_token_id": 5}))
    model, tokenizer = load(model_directory)
    assert model.generation_config.eos_token_id == sorted({5, tokenizer.eos_token_id}) != [5]


def test_tokenizer_of_another_model(model_directory: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    larger = load_tokenizer(model_directory)
    larger.add_tokens(["one-more"])
    larger.save_pretrained(model_directory)
    assert f"has {len(tokenizer) + 1} tokens, the model only {len(tokenizer)}" in refusal(model_directory)


def test_no_code_of_the_directory_runs(model_directory: Path) -> None:
    file = model_directory / "config.json"
    settings = json.loads(file.read_text())
    settings["auto_map"] = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}
    settings["model_type"] = "evil"
    file.write_text(json.dumps(settings))
    trace = model_directory / "trace"
    (model_directory / "evil.py").write_text(f"open({str(trace)!r}, 'w')\nclass Evil: pass\n")
    refusal(model_directory)
    assert not trace.exists()


def test_context_length(new_model: Build) -> None:
    model, config = new_model(context=64), Config()
    assert context_length(model, config) == 64
    config.model.context = 40
    assert context_length(model, config) == 40
    assert prompt_limit(model, config, 30) == 10
    with pytest.raises(ModelError, match=r"a context of 40 tokens has no room.*settings hold without CONFIG"):
        prompt_limit(model, config, 40)
    config.model.context = 65
    with pytest.raises(ModelError, match=r"model\.context: expected at most the model's 64 tokens, found 65"):
        context_length(model, config)
    config.model.path = "models/mine"
    with pytest.raises(ModelError, match=r"\(model\.path: models/mine\)"):
        context_length(model, config)
    config.model.context = 40
    with pytest.raises(ModelError, match=r"or raise model\.context\.$"):
        prompt_limit(model, config, 40)


def test_context_of_a_model_that_does_not_tell() -> None:
    model: Any = SimpleNamespace(config=BloomConfig())
    config = Config()
    with pytest.raises(ModelError, match=r"set model\.context"):
        context_length(model, config)
    config.model.context = 100
    assert context_length(model, config) == 100
