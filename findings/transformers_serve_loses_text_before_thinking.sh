#!/usr/bin/env bash
# transformers 5.23.0: what `transformers serve` answers for Qwen2, Qwen2.5 and Qwen3 models that write something before
# they think, or think twice, depends on whether the answer is streamed.
#
# One would guess: without "stream" the message's content is what a stream's deltas add up to.
# What happens: a message is read by a table of regions (the one for Qwen kinds where the tokenizer brings none), and each
# region that closes replaces the one of its name before it. Streamed, all pieces arrive; in one piece only the last text
# and the last thinking are left, and usage counts the tokens of all. An end token that is not one of the table's
# (a fine-tuned model's own) stays in the content, and where the thinking never ends the end token stays in it.
# Why it matters: a teacher's chain of thought that begins outside its tags, or a student that thinks again after a first
# answer, loses that part without a word; an answer taken from content may be the second of two that contradict.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    transformers==5.23.0 tokenizers==0.23.3 fastapi==0.165.0 openai==3.52.0 torch==2.13.0 2>/dev/null
"$work/venv/bin/python" - <<'PYTHON' 2>/dev/null | tee "$work/seen"
from types import SimpleNamespace

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.cli.serving import utils

letters = Tokenizer(models.BPE({sign: i for i, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
letters.pre_tokenizer, letters.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=letters, eos_token="<|im_end|>", additional_special_tokens=["<|im_start|>", "<|end|>"]
)
model = SimpleNamespace(config=SimpleNamespace(model_type="qwen3"))
prompt = tokenizer("<|im_start|>user\nHow much?<|im_end|>\n<|im_start|>assistant\n", return_tensors="pt")["input_ids"]

for written in (
    "<think>4 * 10 = 40</think>It is 40.<|im_end|>",
    "4 boxes of 10 are 40. <think>Plus 2 of postage: 42.</think>It is 42.<|im_end|>",
    "<think>40?</think>It is 40. <think>No, 42.</think>It is 42.<|im_end|>",
    "<think>4 * 10 = 40</think>It is 40.<|end|>",
    "<think>4 * 10 = 40<|im_end|>",
):
    content, thinking, _ = utils.parse_assistant_message(tokenizer, model, tokenizer(written)["input_ids"], prompt)
    parser = utils.build_response_parser(tokenizer, model, prompt)
    events = [event for sign in written for event in parser.feed(sign)] + parser.finalize()[1]
    chunks = utils.response_events_to_chunks(events)
    streamed = ["".join(c for c in chunks if isinstance(c, utils.ReasoningText) is t) for t in (False, True)]
    print(written, [content, thinking], streamed, sep="\n  ")
PYTHON
diff "$work/seen" - <<'SEEN'
<think>4 * 10 = 40</think>It is 40.<|im_end|>
  ['It is 40.', '4 * 10 = 40']
  ['It is 40.', '4 * 10 = 40']
4 boxes of 10 are 40. <think>Plus 2 of postage: 42.</think>It is 42.<|im_end|>
  ['It is 42.', 'Plus 2 of postage: 42.']
  ['4 boxes of 10 are 40. It is 42.', 'Plus 2 of postage: 42.']
<think>40?</think>It is 40. <think>No, 42.</think>It is 42.<|im_end|>
  ['It is 42.', 'No, 42.']
  ['It is 40. It is 42.', '40?No, 42.']
<think>4 * 10 = 40</think>It is 40.<|end|>
  ['It is 40.<|end|>', '4 * 10 = 40']
  ['It is 40.<|end|>', '4 * 10 = 40']
<think>4 * 10 = 40<|im_end|>
  ['', '4 * 10 = 40<|im_end|>']
  ['', '4 * 10 = 40<|im_end|>']
SEEN
