"""Students made on the spot: a character tokenizer, and random models of a few thousand weights."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tests.tiny import tiny_model

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}"
)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """One token a character, a chat template, and <|end|>; no padding token of its own."""
    special = ["<|end|>", "<|system|>", "<|user|>", "<|bot|>"]
    names = [*special, "�", *(char for char in string.printable)]
    core = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="�"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.decoder = decoders.Fuse()
    core.add_special_tokens(special)
    made = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", unk_token="�")
    made.chat_template = TEMPLATE
    return made


@pytest.fixture(scope="session")
def new_model(tokenizer: PreTrainedTokenizerFast) -> Callable[..., PreTrainedModel]:
    def build(context: int = 512, seed: int = 0) -> PreTrainedModel:
        sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "head_dim": 16}
        tokens = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
        made = tiny_model(
            seed, max_position_embeddings=context, initializer_range=0.3, tie_word_embeddings=False, **sizes, **tokens
        )
        return made.eval()

    return build


@pytest.fixture
def model_directory(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, new_model: Callable[..., PreTrainedModel]
) -> Path:
    """A model and its tokenizer in the Hugging Face format."""
    folder = tmp_path / "student"
    new_model().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
