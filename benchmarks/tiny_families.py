"""Tiny random models of the real classes of transformers, for every decoder family, and a tokenizer for them.

Their configurations are made by rule: every size that a family's configuration has, by whatever name, is set to a small
one. `OVERRIDES` is what the rule cannot know.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

#: Every name that AutoModelForCausalLM knows.
NAMES: tuple[str, ...] = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)

VOCABULARY, CONTEXT = 320, 256
PAD, END = 0, 1
_SPECIAL = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

#: Sizes by the names that configurations have for them.
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "vocab_size_per_layer_input": VOCABULARY,
    "max_position_embeddings": CONTEXT, "n_positions": CONTEXT, "n_ctx": CONTEXT, "max_seq_len": CONTEXT,
    "model_max_length": CONTEXT, "original_max_position_embeddings": CONTEXT,
    "hidden_size": 32, "d_model": 32, "n_embd": 32, "embedding_size": 32, "hidden_dim": 32,
    "intermediate_size": 48, "ffn_dim": 48, "ffn_hidden_size": 48, "n_inner": 48, "dim_ff": 48, "d_inner": 48,
    "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "intermediate_size_mlp": 48, "feed_forward_size": 48,
    "num_hidden_layers": 4, "n_layer": 4, "n_layers": 4, "num_layers": 4, "decoder_layers": 4, "encoder_layers": 1,
    "num_decoder_layers": 4, "num_encoder_layers": 1,
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "num_decoder_attention_heads": 4, "num_encoder_attention_heads": 4,
    "swa_num_attention_heads": 4,
    "num_key_value_heads": 2, "swa_num_key_value_heads": 2, "head_dim": 8, "swa_head_dim": 8, "attention_head_dim": 8,
    "kv_channels": 8, "d_head": 8, "d_kv": 8, "rotary_dim": 4,
    # Windows that prompts and completions reach beyond.
    "sliding_window": 16, "sliding_window_size": 16, "attention_window_size": 16, "attention_chunk_size": 16,
    "window_size": 16,
    # Mixtures of experts.
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4, "num_experts_per_tok": 2,
    "num_experts_per_token": 2, "moe_topk": 2, "n_group": 1, "topk_group": 1, "num_expert_group": 1,
    "moe_intermediate_size": 16, "expert_ffn_hidden_size": 16, "shared_intermediate_size": 16,
    "shared_expert_intermediate_size": 16, "shared_experts_intermediate_size": 16, "first_k_dense_replace": 1,
    "num_dense_layers": 1, "zero_expert_num": 1,
    # Attention in low rank, sparse attention.
    "kv_lora_rank": 8, "q_lora_rank": 8, "o_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 8, "qk_head_dim": 16, "index_head_dim": 8, "index_n_heads": 2, "index_topk": 8,
    # States.
    "mamba_d_state": 8, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_n_heads": 8, "mamba_d_head": 8,
    "mamba_n_groups": 1, "mamba_chunk_size": 8, "mamba_dt_rank": 4, "mamba_d_ssm": 64, "mamba_num_heads": 8,
    "mamba_head_dim": 8, "mamba_ngroups": 1, "n_mamba_heads": 2, "mamba_headdim": 8, "ssm_state_size": 8,
    "state_size": 8, "expand": 2, "conv_kernel": 4, "n_groups": 1, "time_step_rank": 4, "chunk_size": 8,
    "linear_conv_kernel_dim": 4, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8, "linear_head_dim": 8, "linear_num_heads": 4, "lru_width": 32, "block_size": 8,
    "attention_hidden_size": 32, "conv_dim": 32, "conv_dim_out": 32,
    # Layers that have a small embedding of their own, or pass keys on.
    "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0, "laurel_rank": 8,
    "num_nextn_predict_layers": 0,
    "type_vocab_size": 2, "tie_word_embeddings": False,
    "bos_token_id": None, "eos_token_id": END, "pad_token_id": PAD,
}  # fmt: skip

#: What the rule cannot know, by family.
OVERRIDES: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1, 3]},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 10000.0} for kind in ("sliding_attention", "full_attention")
        },
    },
    "cwm": {"bos_token_id": 2},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0},
        "ffn_config": {"hidden_size": 32, "ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "emu3": {"bos_token_id": 2},
    "gemma4_text": {"head_dim": 8, "global_head_dim": 8},
    "gemma4_unified_text": {"head_dim": 8, "global_head_dim": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "mamba2": {"num_heads": 8},
    "mllama": {"bos_token_id": 2},
    "ministral": {"head_dim": 8, "layer_types": ["sliding_attention", "full_attention"] * 2},
    "modernbert-decoder": {"bos_token_id": 2, "cls_token_id": 2, "sep_token_id": 3},
    "nemotron": {"num_key_value_heads": 2, "head_dim": 8},
    "qwen4_exp_text": {
        "indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 16,
        "indexer_compress_ratio": 4, "hc_lowrank": 8, "ngram_vocab_size_base": 200, "split_ngram_parts": 2,
    },
    "reformer": {"is_decoder": True, "axial_pos_shape": [16, 16], "axial_pos_embds_dim": [16, 16]},
    "xmod": {"default_language": "en_XX", "languages": ["en_XX"]},
    "zamba": {"attention_hidden_size": 64, "attention_head_dim": 16, "num_key_value_heads": 4},
    "zamba2": {"num_key_value_heads": 4, "n_mamba_heads": 8},
    "zaya": {"num_experts_per_tok": 1},
}  # fmt: skip
OVERRIDES["qwen4_exp"] = OVERRIDES["qwen4_exp_text"]
#: Sizes of the rule that a family does not let be set, by family.
LEFT: dict[str, set[str]] = {
    "gemma4_text": {"head_dim", "num_kv_shared_layers"},
    "gemma4_unified_text": {"head_dim", "num_kv_shared_layers"},
    "xlnet": {"max_position_embeddings"},
    "zamba2": {"attention_hidden_size", "mamba_headdim", "attention_head_dim", "kv_channels", "head_dim"},
}

#: Why a family is not tried, by name.
UNTRIED: dict[str, str] = {
    "blt": "a model of bytes, made of three models and a fourth that cuts their input: no tiny one by rule",
    "dots3_note": "its layers differ in sizes that only its own settings name: no tiny one by rule",
    "dots3_note_text": "its layers differ in sizes that only its own settings name: no tiny one by rule",
    "fuyu": "a model of images whose vocabulary is set in two places: no tiny one by rule",
    "gemma4_assistant": "drafts for another model, whose cache it reads",
    "gemma4_unified_assistant": "drafts for another model, whose cache it reads",
}


def configuration(name: str, **settings: Any) -> PreTrainedConfig:
    """A tiny configuration of a family; `settings` go before everything else."""
    kind = CONFIG_MAPPING[name]
    nested = "text_config" in (getattr(kind, "sub_configs", None) or {})
    inner = kind.sub_configs["text_config"] if nested else kind
    if inner.__name__ == "AutoConfig":
        return kind()
    default = inner()
    renamed: dict[str, str] = dict(getattr(inner, "attribute_map", None) or {})
    found: dict[str, Any] = {}
    for key, value in SIZES.items():
        if key in LEFT.get(name, ()):
            continue
        here = renamed.get(key, key)
        fixed = isinstance(there := getattr(inner, here, None), property) and there.fset is None
        if hasattr(default, here) and not fixed and (getattr(default, here) is not None or key.endswith("_id")):
            found[here] = value
    for key in ("layer_types", "mlp_layer_types"):
        kinds = list(dict.fromkeys(getattr(default, key, None) or ()))
        here = renamed.get(key, key)
        fixed = isinstance(there := getattr(inner, here, None), property) and there.fset is None
        if kinds and not fixed:
            # Each kind of layer that the family has.
            found[here] = [kinds[i % len(kinds)] for i in range(max(4, len(kinds)))]
            found[renamed.get("num_hidden_layers", "num_hidden_layers")] = len(found[here])
    if "kv_lora_rank" in found and "num_key_value_heads" in found:
        found["num_key_value_heads"] = found["num_attention_heads"]  # low rank: heads do not share their keys
    found.update(OVERRIDES.get(name, {}))
    found.update(settings)
    return kind(text_config=found) if nested else kind(**found)


def build(name: str, seed: int = 0, **settings: Any) -> PreTrainedModel:
    """A random model, float32, far from uniform, whose completions end at different steps."""
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(configuration(name, **settings), dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0.0, 0.3)
        head: Any = model.get_output_embeddings()
        if head is not None:
            head.weight[END] *= 1.6
    model.generation_config.eos_token_id = END
    model.generation_config.pad_token_id = PAD
    return model.eval()


@functools.cache
def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with a chat template, and few merges."""
    core = Tokenizer(BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    texts = ["<think>12 plus 30 is 42, so the answer is 42</think><answer>42</answer> What is 7 plus 5?"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        texts * 4,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY - 8, special_tokens=_SPECIAL, initial_alphabet=alphabet, show_progress=False
        ),
    )
    made = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<|pad|>", eos_token="<|end|>")
    made.chat_template = TEMPLATE
    return made


def save(name: str, folder: Path, **settings: Any) -> Path:
    """A model directory of a family."""
    build(name, **settings).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
