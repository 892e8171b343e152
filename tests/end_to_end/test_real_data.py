"""`realm train configs/gsm8k.yaml` on real questions with the CoTs of real LLMs: the whole path, with a student that is
made here and far too small to learn arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from realm.cli.app import app
from tests.conftest import read_rows

CONFIG = Path(__file__).parents[2] / "configs" / "gsm8k.yaml"
CONTEXT = 700


def make_student(folder: Path, texts: list[str]) -> Path:
    """An untrained Qwen3 of 2.4 million parameters with a byte-level BPE tokenizer and a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from tests.tiny import tiny_model

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        special_tokens=["<|pad|>", "<|end|>", "<|user|>", "<|bot|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<|pad|>", eos_token="<|end|>")
    tokenizer.chat_template = (
        "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}"
    )
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 48}
    model = tiny_model(max_position_embeddings=CONTEXT, **sizes, **heads)
    assert 2e6 < model.num_parameters() < 9e6
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.data
@pytest.mark.slow
def test_real_questions_and_routes_through_the_whole_path(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = read_rows(data_dir / "gsm8k_zeroeval_cots.jsonl")
    student = make_student(tmp_path / "student", [row["question"] for row in source])
    monkeypatch.setenv("REALM_DATA_DIR", str(data_dir))
    monkeypatch.chdir(tmp_path)
    settings = {
        "model.context": CONTEXT,
        "prompt.examples": "none",
        "task.max_test": 6,
        "training.sft.steps": 2,
        "training.sft.batch_size": 4,
        "training.rl.steps": 2,
        "training.rl.num_generations": 4,
        "training.rl.batch_size": 8,
        "training.rl.max_completion_length": 160,
        "training.eval_questions": 4,
        "training.save_every": 1,
        "training.sample_every": 1,
        "evaluation.bootstrap": 100,
    }
    arguments = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    result = CliRunner().invoke(app, ["train", str(CONFIG), "--model", str(student), *arguments])
    assert result.exit_code == 0, result.output

    run = tmp_path / "runs" / "gsm8k"
    # Our verifier's labels are the file's, for every CoT of the file.
    agreement = json.loads((run / "bank" / "bank.json").read_text())["agreement"]
    assert agreement["agree"] == sum(len(row["cots"]) for row in source) == 20685
    assert agreement["disagree"] == 0

    metrics = read_rows(run / "metrics.jsonl")
    assert [(row["stage"], row["step"]) for row in metrics] == [("sft", 1), ("sft", 2), ("rl", 1), ("rl", 2)]
    first = metrics[2]
    # p is 1 at the first step of RL: what is not among the 4 routes was dropped because the context is short.
    assert first["p"] == 1
    assert first["routes_dropped"] > 0
    assert first["routes_per_prompt"] + first["routes_dropped"] == pytest.approx(4)

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    groups = read_rows(run / "completions.jsonl")
    for group in groups:
        prompt = tokenizer(group["prompt"], add_special_tokens=False)["input_ids"]
        assert len(prompt) + 160 <= CONTEXT
        assert {route["label"] for route in group["routes"]} <= {0, 1}
    assert any(group["routes"] for group in groups)

    final = [row for row in read_rows(run / "evaluations.jsonl") if row["stage"] == "final"]
    assert [(row["split"], row["routes"], row["n"]) for row in final] == [("test", 0, 6), ("test", 4, 6)]
    trained = {group["question_id"] for group in groups}
    assert trained.isdisjoint(row["question_id"] for row in read_rows(run / "predictions.jsonl"))
    assert list(run.glob("checkpoints/rl/*/checkpoint-2"))
    assert 10_000 < (run / "report.html").stat().st_size < 5_000_000
