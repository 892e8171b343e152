#!/usr/bin/env bash
# transformers 5.23.0 (gguf 0.19.0) reads the GGUF file of a Llama 3.1, 3.2 or 3.3 as a model with other positions.
#
# One would guess: from_pretrained(..., gguf_file=...) gives the model that llama.cpp runs and that the file was made
# from, up to the rounding of its blocks, or it says what it could not read.
# What happens: these models slow their rotary frequencies down (rope_type llama3). llama.cpp's converter writes that
# as a tensor of divisors, rope_freqs.weight, and not into the metadata. transformers has no place for the tensor, drops
# it, and sets rope_type default; missing and unexpected keys are empty, nothing is warned of. After a few dozen tokens
# the scores are others, in float32 and without any quantization; llama.cpp's are those of the original.
# Why it matters: the model answers, only worse with every token of context, and whoever trains it from there trains a
# damaged base and saves a config.json that makes the damage last. The file here is tiny and random and has the layout
# and the frequencies of Llama 3.2.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 2>/dev/null
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 \
    gguf==0.19.0 xllamacpp==2026.10.11549 numpy 2>/dev/null
mkdir "$work/model"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - "$work/model" 2>/dev/null <<'PYTHON' | tee "$work/seen"
import json
import sys
import urllib.request

import gguf
import numpy as np
import torch
import xllamacpp
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

folder, name = sys.argv[1], "tiny.gguf"
ROPE = dict(rope_type="llama3", rope_theta=500000.0, factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=8192)  # Llama 3.2
special = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
words = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet()), "ĠĠ"]
torch.manual_seed(0)
sizes = dict(vocab_size=len(words), hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
             num_key_value_heads=1, max_position_embeddings=131072, initializer_range=0.3, bos_token_id=0, eos_token_id=2)
model = LlamaForCausalLM(LlamaConfig(**sizes, rope_parameters=dict(ROPE), tie_word_embeddings=True)).eval()
plain = 500000.0 ** -(torch.arange(0, 32, 2) / 32)

# What llama.cpp's converter writes for such a model.
writer = gguf.GGUFWriter(f"{folder}/{name}", "llama")
writer.add_context_length(131072)
writer.add_block_count(2)
writer.add_embedding_length(64)
writer.add_feed_forward_length(64)
writer.add_head_count(2)
writer.add_head_count_kv(1)
writer.add_layer_norm_rms_eps(1e-6)
writer.add_rope_freq_base(500000.0)
writer.add_rope_dimension_count(32)
writer.add_vocab_size(len(words))
writer.add_tokenizer_model("gpt2")
writer.add_tokenizer_pre("llama-bpe")
writer.add_token_list(words)
writer.add_token_types([3] * 3 + [1] * 257)
writer.add_token_merges(["Ġ Ġ"])
writer.add_bos_token_id(0)
writer.add_eos_token_id(2)
names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
for key, weight in model.state_dict().items():
    if key == "lm_head.weight":
        continue
    values = weight.numpy()
    for part, heads in (("q_proj", 2), ("k_proj", 1)):
        if part in key:
            values = values.reshape(heads, 2, -1, 64).swapaxes(1, 2).reshape(values.shape)
    writer.add_tensor(names.get_name(key.removesuffix(".weight")) + ".weight", np.ascontiguousarray(values))
writer.add_tensor("rope_freqs.weight", (plain / model.model.rotary_emb.inv_freq).numpy())
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

read, info = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32, output_loading_info=True)
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.n_ctx, parameters.warmup, parameters.verbosity = f"{folder}/{name}", 2048, False, -1
server = xllamacpp.Server(parameters)


def llama_cpp(ids):
    """The log-probabilities of all tokens behind these."""
    asked = {"prompt": ids, "n_predict": 1, "n_probs": len(words), "temperature": 1.0, "top_k": 0, "samplers": []}
    asked = urllib.request.Request(server.listening_address + "/completion", json.dumps(asked).encode())
    found = json.load(urllib.request.urlopen(asked))["completion_probabilities"][0]["top_logprobs"]
    scores = torch.full((len(words),), float("nan"))
    for entry in found:
        scores[entry["id"]] = entry["logprob"]
    return scores


print("missing:", sorted(info["missing_keys"]), "unexpected:", sorted(info["unexpected_keys"]))
print("rope of the file in transformers:", read.config.rope_parameters)
print("tokens before  llama.cpp as the original  transformers' GGUF as the original (log-probabilities within 0.2)")
for length in (4, 64, 512):
    ids = torch.randint(3, len(words), (1, length), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        original, from_gguf = (one(ids).logits[0, -1].log_softmax(-1) for one in (model, read))
    print(length, *(bool((found - original).abs().max() < 0.2) for found in (llama_cpp(ids[0].tolist()), from_gguf)))
PYTHON
diff "$work/seen" - <<'SEEN'
missing: [] unexpected: []
rope of the file in transformers: {'rope_theta': 500000.0, 'rope_type': 'default'}
tokens before  llama.cpp as the original  transformers' GGUF as the original (log-probabilities within 0.2)
4 True True
64 True False
512 True False
SEEN
