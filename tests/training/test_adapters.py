"""LoRA as a setting: only adapters learn, runs resume, and what is saved is an ordinary model directory."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from realm.bank.store import Bank
from realm.config import Config
from realm.errors import ConfigError
from realm.evaluation.evaluate import evaluate_directory
from realm.files import read_jsonl
from realm.rows.base import Place
from realm.run import RunFolder
from realm.student.load import load, load_model
from realm.training import recipes
from realm.training.adapters import below_adapters, merge, try_adapters, with_adapters
from realm.training.grpo import RouteTrainer
from realm.training.prepare import prepare
from tests.tiny import Killed, TinyTask, go, killed_at, pool, tiny_config, weights
from tests.training.dictated import Recording

LORA = {"r": 4, "alpha": 8}


def lora_run(folder: Path, student: Path, *, stop: int = 0, resume: bool = False, **training: Any) -> RunFolder:
    rl = {"learning_rate": 2e-2, **training.pop("rl", {})}
    config = tiny_config(folder, student, recipe="realm-r1", rl=rl, lora=LORA, **training)
    return go(config, resume=resume, progress=killed_at("rl", 0, stop))


#: What the straight run sampled.
SAMPLED = Recording()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, student: Path) -> RunFolder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RouteTrainer, "_generate_single_turn", SAMPLED.recorded())
        return lora_run(tmp_path_factory.mktemp("straight"), student)


def test_the_saved_model_needs_no_peft(straight: RunFolder, student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = weights(student), weights(straight.path / "model")
    assert before.keys() == after.keys()
    changed = {name.split(".")[-2] for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert not list(straight.path.glob("model/adapter*")) and not list(straight.path.glob(".model*"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "peft"]:
        monkeypatch.setitem(sys.modules, name, None)
    for kind in (AutoModelForCausalLM, AutoTokenizer):
        kind.from_pretrained(straight.path / "model")


def test_the_saved_model_is_evaluated_like_any_other(straight: RunFolder, bank: Bank, tmp_path: Path) -> None:
    """Also: the evaluations in training are those of the adapted model, so the last one is that of the saved model."""
    config = tiny_config(tmp_path, straight.path / "model")
    task = TinyTask()
    summaries = evaluate_directory(straight.path / "model", config, task, bank, pool(), out=tmp_path / "evaluation")
    assert {row.split for row in summaries} == {"test"}
    again = recipes.evaluate_model(
        load(straight.path / "model")[0],
        load(straight.path / "model")[1],
        task.rows("validation")[:4],
        bank.routes,
        task,
        pool(),
        config,
        with_routes=True,
        split="validation",
        seed=config.run.seed,
        where=Place(stage="rl", step=0),
    )[0]
    last = read_jsonl(straight.path / "evaluations.jsonl")[-1]
    assert (last["routes"], last["stage"]) == (again.routes, "rl")
    for name in ("accuracy", "truncated", "completion_tokens", "routes_per_prompt"):
        assert getattr(again, name) == last[name], name


def test_checkpoints_hold_adapters_only(straight: RunFolder) -> None:
    (*_, last) = sorted(straight.path.glob("checkpoints/rl/round-0/checkpoint-*"))
    assert (last / "adapter_model.safetensors").is_file() and not (last / "model.safetensors").exists()


@pytest.mark.parametrize("stop", [1, 5], ids=["between-the-stages", "in-rl"])
def test_resumed_is_straight(tmp_path: Path, student: Path, straight: RunFolder, stop: int) -> None:
    with pytest.raises(Killed):
        lora_run(tmp_path, student, stop=stop)
    resumed = lora_run(tmp_path, student, resume=True)
    wanted, found = weights(straight.path / "model"), weights(resumed.path / "model")
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


def test_the_reference_of_kl_is_the_model_without_adapters(tmp_path: Path, student: Path) -> None:
    run = lora_run(tmp_path, student, rl={"beta": 0.1, "steps": 3}, sft={"steps": 0})
    kl = [row["kl"] for row in read_jsonl(run.path / "metrics.jsonl")]
    assert kl[0] == pytest.approx(0.0, abs=1e-6) and kl[-1] > 1e-6


def test_gradient_checkpointing(
    tmp_path: Path, student: Path, straight: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less memory, same figures, given the same completions."""
    monkeypatch.setattr(RouteTrainer, "_generate_single_turn", SAMPLED.replayed(sampled_too=True))
    run = lora_run(tmp_path, student, rl={"gradient_checkpointing": True})
    wanted, found = weights(straight.path / "model"), weights(run.path / "model")
    for name, tensor in wanted.items():
        assert torch.allclose(found[name], tensor, atol=1e-4), name


def test_merged_is_adapted(tmp_path: Path, student: Path) -> None:
    """The merged model computes what the adapted one does, and the wrapper hides no argument from who decodes."""
    config = tiny_config(tmp_path, student, lora=LORA)
    base, _ = load(student)
    model = with_adapters(base, config)
    assert below_adapters(model) is base and below_adapters(base) is base
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1), std=0.2)
    model.save_pretrained(tmp_path / "adapters")
    merge(student, "float32", tmp_path / "adapters", tmp_path / "merged")
    ids = torch.arange(12)[None]
    merged = load_model(tmp_path / "merged")
    with torch.no_grad():
        assert torch.allclose(merged(ids).logits, model(ids).logits, atol=1e-4)
        assert not torch.allclose(load(student)[0](ids).logits, model(ids).logits, atol=1e-2)


@pytest.mark.parametrize(("std", "told"), [(1e-4, True), (0.5, False)])
def test_what_rounding_takes_of_the_adapters_is_told(
    tmp_path: Path, student: Path, caplog: pytest.LogCaptureFixture, std: float, told: bool
) -> None:
    """A weight of bfloat16 to which little is added stays what it was, and the model is the base."""
    model = with_adapters(load(student, "bfloat16")[0], tiny_config(tmp_path, student, lora=LORA))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1), std=std)
    model.save_pretrained(tmp_path / "adapters")
    merge(student, "bfloat16", tmp_path / "adapters", tmp_path / "merged")
    assert ("is rounded away in the merged model, whose weights are bfloat16" in caplog.text) == told


def test_a_merged_model_ends_its_turns_too(tmp_path: Path, student: Path) -> None:
    """As one does whose weights were all trained, where the base names the end of a text alone."""
    base = shutil.copytree(student, tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.eos_token = "<|user|>"
    tokenizer.chat_template = f"{tokenizer.chat_template}{{# <|end|> #}}"
    tokenizer.save_pretrained(base)
    config = {**json.loads((base / "generation_config.json").read_text()), "eos_token_id": 2}
    (base / "generation_config.json").write_text(json.dumps(config))
    model, _ = load(base)
    wanted = model.generation_config.eos_token_id
    with_adapters(model, tiny_config(tmp_path, base, lora=LORA)).save_pretrained(tmp_path / "adapters")
    merge(base, "float32", tmp_path / "adapters", tmp_path / "merged")
    assert load_model(tmp_path / "merged").generation_config.eos_token_id == wanted == [1, 2]


def test_layers_that_are_not_there(tmp_path: Path, student: Path, bank: Bank) -> None:
    config = tiny_config(tmp_path, student, lora={"r": 4, "targets": ["query_key_value"]})
    with pytest.raises(ConfigError, match=r"training\.lora\.targets: query_key_value .*q_proj"):
        prepare(config, TinyTask(), bank)


@pytest.mark.parametrize(
    ("targets", "tied", "told"),
    [
        (["lm_head"], True, "the head (lm_head) cannot be adapted"),
        (["lm_head"], False, "the head (lm_head) cannot be adapted"),
        (["q_proj", "lm_head"], False, "the head (lm_head) cannot be adapted"),
        (["embed_tokens"], True, "model.embed_tokens and lm_head share their weights"),
        (["q_proj", "embed_tokens"], True, "model.embed_tokens and lm_head share their weights"),
        (["embed_tokens"], False, ""),
        ([], True, ""),
    ],
)
def test_layers_whose_adapter_could_not_be_published(
    tmp_path: Path, student: Path, bank: Bank, targets: list[str], tied: bool, told: str
) -> None:
    """Merged, the adapter of a weight that two layers share would change both: found before anything is written."""
    path = student if tied else untied(student, tmp_path / "untied")
    config = tiny_config(tmp_path, path, recipe="realm-r1", lora={**LORA, "targets": targets}, rl={"steps": 2})
    if told:
        with pytest.raises(ConfigError, match=re.escape(told)):
            prepare(config, TinyTask(), bank)
        return
    assert (go(config).path / "model").is_dir()  # what it publishes it compares


def untied(student: Path, folder: Path) -> Path:
    model, tokenizer = load(student)
    head = torch.nn.Linear(16, model.config.vocab_size, bias=False)
    head.weight.data = model.get_input_embeddings().weight.data.clone()
    model.set_output_embeddings(head)
    model.config.tie_word_embeddings = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_off_by_default(student: Path) -> None:
    config = Config()
    assert config.training.lora.r == 0
    model, _ = load(student)
    assert with_adapters(model, config) is model


def test_a_layer_that_takes_no_adapter_is_told_of_before_the_training(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the routers of some mixtures of experts, whose forward gives more than one tensor."""
    import peft.tuners.lora.layer as lora

    def forward(*_: Any, **__: Any) -> Any:
        raise AttributeError("'tuple' object has no attribute 'dtype'")

    monkeypatch.setattr(lora.Linear, "forward", forward)
    config = tiny_config(tmp_path, student, recipe="realm-r1", lora=LORA)
    with pytest.raises(ConfigError, match=r"training\.lora\.targets: this model \(qwen3\) fails .*its layers are"):
        try_adapters(load_model(student), config)


def test_trying_adapters_leaves_no_trace(tmp_path: Path, student: Path) -> None:
    model, fresh = load_model(student), load_model(student)
    random = torch.random.get_rng_state()
    try_adapters(model, tiny_config(tmp_path, student, recipe="realm-r1", lora=LORA))
    assert torch.equal(random, torch.random.get_rng_state())
    assert [(name, type(module)) for name, module in model.named_modules()] == [
        (name, type(module)) for name, module in fresh.named_modules()
    ]
    assert vars(model).keys() == vars(fresh).keys()
    for (name, one), (_, other) in zip(model.named_parameters(), fresh.named_parameters(), strict=True):
        assert one.requires_grad == other.requires_grad, name
        assert torch.equal(one, other), name
