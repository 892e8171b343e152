"""Students whose tokenizers, templates and generation settings are as the world has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import TinyTask, new_run, pool, tiny_bank, tiny_config, tiny_tokenizer
from tokenizers import AddedToken
from transformers import AutoModelForCausalLM

from realm.bank.store import Bank
from realm.run import RunFolder
from realm.training.recipes import train

TAGS = [f"<{slash}{tag}>" for tag in ("think", "answer", "scores") for slash in ("", "/")]


def go(folder: Path, student: Path, bank: Bank | None = None, **training: Any) -> RunFolder:
    config = tiny_config(folder, student, **{"recipe": "realm-r1", "rl": {"steps": 3}, **training})
    run, task = new_run(config), TinyTask()
    train(config, run=run, task=task, bank=bank or tiny_bank(task), pool=pool())
    return run


def copied(student: Path, folder: Path, tokenizer: Any) -> Path:
    AutoModelForCausalLM.from_pretrained(student).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def figures(run: RunFolder, file: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in run.read(file)]


@pytest.mark.parametrize("described", [False, True], ids=["plain", "tokenizer-that-describes-responses"])
def test_tags_that_are_special_tokens_are_seen(tmp_path: Path, student: Path, described: bool) -> None:
    """The ids are the same, so everything is: the run with the tags as plain text, row for row."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [AddedToken(tag, special=True, normalized=False) for tag in TAGS]}
    )
    if described:
        tokenizer.response_schema = {
            "type": "object",
            "properties": {
                "role": {"const": "assistant"},
                "content": {"type": "string", "x-regex": r"</think>(.*)$"},
                "thinking": {"type": "string", "x-regex": r"^(.*?)</think>"},
            },
        }
    special = go(tmp_path / "special", copied(student, tmp_path / "tags", tokenizer))
    plain = go(tmp_path / "plain", student)
    assert set(TAGS) <= set(tokenizer.all_special_tokens)
    for file in ("metrics.jsonl", "evaluations.jsonl", "completions.jsonl"):
        assert figures(special, file) == figures(plain, file), file
    assert special.read("metrics.jsonl")[-1]["parse_failures"] < 0.5


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"do_sample": False, "temperature": 0.6, "top_p": 0.9}, {"do_sample": False}),
        ({"temperature": 0.6, "top_k": 5, "min_p": 0.1}, {}),
        ({"do_sample": False, "early_stopping": True, "length_penalty": 0.6, "num_beams": 1}, {}),
        ({"penalty_alpha": 0.6, "top_k": 4}, {"penalty_alpha": 0.6}),
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.9}, {"temperature": 0.6, "top_p": 0.9}),
    ],
    ids=["greedy", "unsaid", "no-beams", "contrastive", "sampled"],
)
@pytest.mark.parametrize("lora", [0, 4])
def test_generation_settings_that_do_not_count(
    tmp_path: Path, student: Path, settings: dict[str, Any], kept: dict[str, Any], lora: int
) -> None:
    """The trainer sets the padding token, and what has been changed transformers saves only where all of it counts."""
    folder = copied(student, tmp_path / "student", tiny_tokenizer())
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 1, **settings}))
    run = go(tmp_path, folder, recipe="realm-zero", rl={"steps": 1}, eval_questions=0, lora={"r": lora})
    found = json.loads((run.path / "model/generation_config.json").read_text())
    assert {name: found[name] for name in kept} == kept
    idle = settings.keys() - kept.keys() if not settings.get("do_sample") else set()
    assert not {name for name in idle - {"num_beams"} if found.get(name) is not None}
