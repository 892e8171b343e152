"""Small decoders of several families with random weights, and micro-batches for them."""

from __future__ import annotations

import os
import random
from typing import Any

import torch
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)
from trl.trainer.utils import add_fused_lm_head

#: Another one where benchmarks/gpu.py runs tests of exactness.
DEVICE = os.environ.get("REALM_TEST_DEVICE", "cpu")
VOCABULARY = 61
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
    # Far from uniform, or log-probabilities would hardly depend on the prompt.
    "initializer_range": 0.2,
}
FAMILIES: dict[str, tuple[Any, Any]] = {
    "qwen3": (Qwen3ForCausalLM, Qwen3Config),
    "llama": (LlamaForCausalLM, LlamaConfig),
    "gemma": (GemmaForCausalLM, GemmaConfig),
    "smollm3": (SmolLM3ForCausalLM, SmolLM3Config),
}


def decoder(family: str, seed: int = 0, temperature: float = 0.7, **settings: Any) -> PreTrainedModel:
    """A model in training mode with TRL's head."""
    torch.manual_seed(seed)
    model_class, config_class = FAMILIES[family]
    sizes = {name: value for name, value in SIZES.items() if family != "smollm3" or name != "head_dim"}
    model: PreTrainedModel = model_class(config_class(**{**sizes, **settings})).train()
    add_fused_lm_head(model, temperature=temperature, outputs=("log_probs", "entropy"))
    return model.to(DEVICE)


def micro_batch(
    prompts: list[int], group: int, completion: int, seed: int = 0, mixed: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """`input_ids` and `attention_mask` as TRL has them: `group` ragged completions for prompts of these lengths.

    `mixed`: rows in random order, and one of them left out.
    """
    source = random.Random(seed)
    rows = []
    for length in prompts:
        prompt = [source.randrange(2, VOCABULARY) for _ in range(length)]
        rows += [(prompt, [source.randrange(2, VOCABULARY) for _ in range(completion)]) for _ in range(group)]
    ends = [source.randint(1, completion) for _ in rows]
    ends[-1] = completion
    if mixed:
        order = source.sample(range(len(rows)), len(rows) - 1)
        rows, ends = [rows[i] for i in order], [ends[i] for i in order]
    width = max(prompts)
    pairs = list(zip(rows, ends, strict=True))
    ids = [[0] * (width - len(p)) + p + c[:end] + [0] * (completion - end) for (p, c), end in pairs]
    mask = [[0] * (width - len(p)) + [1] * (len(p) + end) + [0] * (completion - end) for (p, _), end in pairs]
    return torch.tensor(ids, device=DEVICE), torch.tensor(mask, device=DEVICE)
