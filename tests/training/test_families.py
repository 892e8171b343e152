"""Students of every kind of past and router: evaluated alike at every batch, trained, saved as they were."""

from __future__ import annotations

import inspect
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import tiny_families
from benchmarks.families import ENDS, Sums, Varied, attempt, bank_of, reference, settings
from benchmarks.tiny_families import CONTEXT, END, PAD, build, save, tokenizer
from realm.errors import ModelError
from realm.student import ways
from realm.student.decode import decode
from realm.student.load import load, load_model
from realm.student.renderer import Renderer
from realm.student.sampling import Sampling, greedy
from realm.tasks.workers import VerifierPool
from realm.traces.base import Given
from realm.traces.examples import tokenize
from realm.traces.miners.bank import bank as miner
from realm.traces.pairs import make_rows
from realm.training.grpo import make_grpo_trainer
from realm.training.pairs import make_pairs_trainer
from realm.training.rollout import foreign_settings, resolved, sampling
from realm.training.sft import make_sft_trainer
from realm.training.trial import try_out
from realm.training.weighted import training_rows
from tests.tiny import sft_examples

PROMPTS = [[60 + 3 * j + i for j in range(3 + 2 * i)] for i in range(4)]

#: Family, what it stands for, how one completion and several are decoded, how the update is computed.
FAST = [
    ("qwen3", "plain attention", "batch", "shared", "shared"),
    ("gemma3_text", "sliding windows", "batch", "batch", "TRL's"),
    ("qwen3_5_text", "recurrent states beside attention", "batch", "batch", "TRL's"),
    ("lfm2", "convolutions beside attention", "batch", "batch", "TRL's"),
    ("qwen3_moe", "experts", "batch", "shared", "TRL's"),
    ("granitemoehybrid", "experts that TRL cannot count, states", "batch", "batch", "TRL's"),
    ("falcon", "attention behind no interface", "batch", "batch", "shared"),
    ("mamba", "a cache of another name", "generate", "generate", "TRL's"),
]
SLOW = [
    ("falcon_h1", "states and attention in one layer", "batch", "batch", "TRL's"),
    ("jamba", "experts and states", "batch", "batch", "TRL's"),
    ("bamba", "states beside attention", "batch", "batch", "TRL's"),
    ("minimax", "a cache of its own class", "generate", "generate", "TRL's"),
    ("mixtral", "experts", "batch", "shared", "TRL's"),
    ("gpt_oss", "experts, sinks", "batch", "batch", "TRL's"),
    ("gpt2", "absolute positions", "batch", "shared", "TRL's"),
]


def runs(family: str, folder: Path, one: str, several: str, update: str) -> None:
    row = attempt(family, folder)
    assert not {"crash", "fault", "refused", "untried"} & row.keys(), row
    assert (row["stage"], row["way"], row["way of samples"], row["rl"]["update"]) == ("done", one, several, update)
    assert "generate" not in row, "as transformers' generate"
    assert row["lengths"] > 1, "completions must end at different steps"


@pytest.mark.parametrize(("family", "kind", "one", "several", "update"), FAST, ids=[row[0] for row in FAST])
def test_family(family: str, kind: str, one: str, several: str, update: str, tmp_path: Path) -> None:
    runs(family, tmp_path, one, several, update)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "kind", "one", "several", "update"), SLOW, ids=[row[0] for row in SLOW])
def test_other_family(family: str, kind: str, one: str, several: str, update: str, tmp_path: Path) -> None:
    runs(family, tmp_path, one, several, update)


def decoded(model: Any, repeats: int = 1) -> list[list[int]]:
    return decode(model, PROMPTS, [repeats] * 4, pad=PAD, ends=set(ENDS), max_new_tokens=20, pick=greedy)


@pytest.mark.parametrize("fault", ["blind", "shifted", "fails when rows leave", "fails at once"])
def test_a_cache_that_goes_wrong_is_noticed(
    fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is wrong with our handling of the past, completions are `generate`'s."""
    model = build("lfm2")
    expected = [reference(model, prompt, 20) for prompt in PROMPTS]
    forward = type(model).forward

    def wrong(self: Any, *args: Any, **options: Any) -> Any:
        ours = any(
            type(layer).__name__ == "GrowingLayer" for layer in getattr(options.get("past_key_values"), "layers", ())
        )
        if ours and fault == "blind":
            options["past_key_values"] = None
        if ours and fault == "fails at once":
            raise RuntimeError("no")
        if ours and fault == "shifted":
            options["position_ids"] = options["position_ids"] + 3 * (options["input_ids"].shape[1] == 1)
        return forward(self, *args, **options)

    monkeypatch.setattr(type(model), "forward", wrong)
    monkeypatch.setattr(wrong, "__signature__", inspect.signature(forward), raising=False)
    if fault == "fails when rows leave":
        monkeypatch.setattr("realm.student.cache.GrowingLayer.reorder_cache", lambda *_: 1 / 0)
    assert decoded(model) == decoded(model) == expected
    assert decoded(model, 3) == [row for row in expected for _ in range(3)]
    assert ways.taken(model) == "generate"
    assert caplog.text.count("Completions are decoded by transformers' generate, which is slower") == 1


def test_states_that_a_model_keeps_in_itself() -> None:
    """No cache of ours holds them, and a forward in between would spoil them."""
    model = build("recurrent_gemma")
    expected = [reference(model, prompt, 20) for prompt in PROMPTS]
    assert decoded(model) == decoded(model) == expected
    assert decoded(model, 3) == [row for row in expected for _ in range(3)]
    with pytest.raises(ModelError, match="TRL scores their tokens otherwise"):  # its soft cap has another name
        try_out(model, "student", rl=False)


def test_generate_that_goes_wrong_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("mamba")
    expected = [reference(model, prompt, 20) for prompt in PROMPTS]
    monkeypatch.setattr(type(model), "generate", lambda *_, **__: 1 / 0)
    assert decoded(model) == expected
    assert ways.taken(model) == "whole"
    monkeypatch.setattr(type(model), "forward", lambda *_, **__: 1 / 0)
    with pytest.raises(ModelError, match="MambaForCausalLM: completions of this model cannot be decoded"):
        decoded(model)


def trainer_of(kind: str, student: Path, folder: Path) -> Any:
    task, config = Sums(), settings(folder, student)
    bank = bank_of(task)
    model, words = load(student)
    renderer = Renderer(config, task, bank, words, CONTEXT, seed=3)
    parts: dict[str, Any] = {
        "model": model, "tokenizer": words, "output": str(folder / "out"), "seed": 3, "callbacks": [],
    }  # fmt: skip
    if kind == "rl":
        reward = Varied(config, renderer.questions, VerifierPool("exact"))
        return make_grpo_trainer(config, renderer=renderer, reward=reward, **parts)
    if kind == "dpo":
        found = make_rows(miner(Given(config, task, bank, renderer)), Given(config, task, bank, renderer), 2)
        return make_pairs_trainer(config, rows=found, **parts)
    rows, _ = training_rows(tokenize(renderer, sft_examples(config, renderer, task, bank)))
    return make_sft_trainer(config, rows=rows, **parts)


@pytest.mark.parametrize("kind", ["sft", "dpo", "rl"])
@pytest.mark.parametrize("flag", [False, True])
def test_router_flag_is_saved_as_the_base_had_it(kind: str, flag: bool, tmp_path: Path) -> None:
    student = save("qwen3_moe", tmp_path / "student", output_router_logits=flag)
    trainer = trainer_of(kind, student, tmp_path)
    trainer.args.save_strategy = "no"
    trainer.train()
    assert "aux_loss" in {key for entry in trainer.state.log_history for key in entry}, "the loss is there all the same"
    trainer.save_model(str(tmp_path / "saved"))
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (student, tmp_path / "saved"))
    for name in ("output_router_logits", "router_aux_loss_coef"):
        assert before.get(name) == after.get(name)
    decoded(load_model(tmp_path / "saved"))


@pytest.mark.parametrize("kind", ["dpo", "rl"])
def test_experts_that_cannot_be_counted_are_trained_without_the_routers_loss(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    student = save("granitemoehybrid", tmp_path / "student", output_router_logits=kind == "dpo")
    trainer = trainer_of(kind, student, tmp_path)
    assert not trainer.aux_loss_enabled
    assert "balancing loss is left out: TRL cannot compute that of granitemoehybrid" in caplog.text


def test_rl_samples_what_the_model_says_whatever_its_directory_adds(tmp_path: Path) -> None:
    """Log-probabilities are of the whole distribution, and evaluations sample from it."""
    student = save("qwen3", tmp_path / "student")
    file, added = student / "generation_config.json", {"min_p": 0.4, "no_repeat_ngram_size": 2, "do_sample": True}
    before = {**json.loads(file.read_text()), **added}
    file.write_text(json.dumps(before))
    trainer = trainer_of("rl", student, tmp_path)
    assert sampling(resolved(trainer.generation_config, trainer.model)) == Sampling(1.0, 0, 1.0)
    assert foreign_settings(trainer.generation_config, trainer.model) is None
    trainer.save_model(str(tmp_path / "saved"))
    after = json.loads((tmp_path / "saved" / "generation_config.json").read_text())
    assert {name: after[name] for name in added} == added


def test_stop_strings_are_ignored_and_said_and_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    student = save("qwen3", tmp_path / "student")
    file = student / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "stop_strings": ["</answer>"]}))
    trainer = trainer_of("rl", student, tmp_path)
    trainer.args.save_strategy = "no"
    trainer.train()
    assert "stop_strings are ignored" in caplog.text
    trainer.save_model(str(tmp_path / "saved"))
    assert json.loads((tmp_path / "saved" / "generation_config.json").read_text())["stop_strings"] == ["</answer>"]


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
def test_encoders_are_refused(family: str, tmp_path: Path) -> None:
    assert "depends on the tokens behind it" in refusal(save(family, tmp_path))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"quantization_config": {"quant_method": "fp8"}}, "quantized (fp8); quantized students are neither trained"),
        ({"model_type": "bart"}, "an encoder with a decoder (bart)"),
        ({"model_type": "gemma3"}, "more than text (gemma3 with vision_config)"),
        ({"model_type": "git"}, "more than text (git with vision_config)"),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else None,
)
def test_other_students_are_refused_by_their_configuration(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    folder = save("qwen3", tmp_path)
    settings_file = folder / "config.json"
    settings_file.write_text(json.dumps({**json.loads(settings_file.read_text()), **change}))
    assert told in refusal(folder)


def test_a_vision_model_whose_text_part_is_taken_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = save("qwen3_5_text", tmp_path)
    file = folder / "config.json"
    text = json.loads(file.read_text())
    file.write_text(json.dumps({"model_type": "qwen3_5", "text_config": text}))
    with caplog.at_level(logging.WARNING):
        load_model(folder)
    assert "the text part alone is used and saved, without vision_config" in caplog.text


def test_scores_that_trl_computes_otherwise_are_refused() -> None:
    model: Any = build("qwen3")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try_out(model, "student", rl=True)
    assert "forward" not in vars(model) and not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    forward = model.forward

    def scaled(*args: Any, **options: Any) -> Any:
        found = forward(*args, **options)
        found.logits = found.logits * 2
        return found

    model.forward = scaled
    with pytest.raises(ModelError, match="TRL scores their tokens otherwise"):
        try_out(model, "student", rl=False)


def test_models_that_see_padding_are_refused_for_rl(tmp_path: Path) -> None:
    model = load_model(save("rwkv", tmp_path))
    try_out(model, "student", rl=False)
    with pytest.raises(ModelError, match=r"cannot be trained by RL, whose batches pad prompts on the left"):
        try_out(model, "student", rl=True)


def test_every_family_is_known_to_the_table() -> None:
    """A release of transformers that brings new families needs a new table."""
    table = (Path(__file__).parents[2] / "docs" / "measured" / "families.md").read_text(encoding="utf-8")
    assert [name for name in tiny_families.NAMES if f"| `{name}` |" not in table] == []
    assert tokenizer().eos_token_id == END
