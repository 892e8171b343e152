"""A folder with a small task of the user's own, its CoTs, and a student of a few thousand parameters."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from realm.cli.app import app
from tests.conftest import write_rows

CONTEXT = 2048
Realm = Callable[..., Result]


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory: random weights, one token a byte, so that any text fits the vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from tests.tiny import tiny_model

    words = ["<|pad|>", "<|end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    core = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<|pad|>", eos_token="<|end|>")
    sizes = {"intermediate_size": 16, "num_hidden_layers": 1, "max_position_embeddings": CONTEXT}
    model = tiny_model(vocab_size=len(tokenizer), tie_word_embeddings=False, **sizes)
    folder = tmp_path_factory.mktemp("models") / "student"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def question_rows(count: int = 24) -> list[dict[str, object]]:
    """Sums with four CoTs each, half of them wrong."""
    rows: list[dict[str, object]] = []
    for number in range(count):
        cots = [
            {
                "text": f"I add. {number + 1 + wrong}",
                "answer": str(number + 1 + wrong),
                "correct": not wrong,
                "source": "m",
            }
            for wrong in (0, 1, 0, 2)
        ]
        rows.append({"id": f"q{number}", "question": f"{number} + 1?", "answer": str(number + 1), "cots": cots})
    return rows


@pytest.fixture
def work(tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a user, with rows.jsonl and config.yaml; a training run takes a second."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write_rows(tmp_path / "rows.jsonl", question_rows())
    config = {
        "run": {"name": "first"},
        "task": {"name": "jsonl", "path": "rows.jsonl", "verifier": "number", "test_size": 6},
        "model": {"path": os.fspath(student)},
        "bank": {"path": "rows.jsonl"},
        "routes": {"k": 2},
        "training": {
            "recipe": "realm-zero",
            "rl": {
                "steps": 2,
                "num_generations": 2,
                "batch_size": 4,
                "micro_batch_size": 4,
                "max_completion_length": 6,
            },
            "sft": {"steps": 1, "batch_size": 2, "micro_batch_size": 2},
            "eval_questions": 2,
            "eval_every": 1,
            "save_every": 1,
        },
        "evaluation": {"bootstrap": 100},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


@pytest.fixture
def realm() -> Realm:
    """Runs `realm ARGUMENTS` in this process."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    return run


@pytest.fixture(scope="session")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Path]:
    return {}


@pytest.fixture
def trained(
    work: Path, realm: Realm, tmp_path_factory: pytest.TempPathFactory, _trained: dict[Any, Path]
) -> Callable[..., Path]:
    """The run of `realm train config.yaml ARGUMENTS --out OUT` in `work`: trained once a session, then copied."""

    def trained(*arguments: str, out: str = "runs/straight") -> Path:
        kept = _trained.get((*arguments, out))
        if kept is None:
            result = realm("train", "config.yaml", *arguments, "--out", out)
            assert result.exit_code == 0, result.output
            kept = _trained[*arguments, out] = tmp_path_factory.mktemp("trained") / "run"
            shutil.copytree(work / out, kept)
        else:
            shutil.copytree(kept, work / out)
        return work / out

    return trained


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and its content; folders end in a slash."""
    return {
        f"{item.relative_to(folder)}" + "/" * item.is_dir(): b"" if item.is_dir() else item.read_bytes()
        for item in sorted(folder.rglob("*"))
    }
