#!/usr/bin/env bash
# The chat template of Qwen3.8 (as TRL 1.16.0 carries it; transformers 5.23.0) puts an empty thought before the thinking
# of a row that Qwen3, 3.5 and 3.6 read rightly; that of Gemma 4 leaves thinking out, but for its last revision.
#
# One would guess: a row whose answer begins <think>...</think>, as most published chains of thought have it, is taken
# for the template's own thinking, or written as it stands; a row with reasoning_content, the field that servers answer
# with, is understood by every template of a model that thinks. And the templates of one family agree.
# What happens: Qwen3.8's template no longer looks for the tags in the content. A message without the field gets an
# empty block, and the thinking comes behind it, as a part of the answer. The prompt ends in <think> and is a beginning
# of the whole, so that nothing is warned of; TRL's own template for training does the same. The field, in turn, is what
# Gemma 4's template ignores in a last turn, in four of its five revisions: the answer is trained without its reasons.
# Tags in the content are plain text of the answer there, as for gpt-oss and Muse, whose thinking has other marks.
# Why it matters: rows that were made for one student teach its successor to close its thinking at once. Its loss falls
# as ever; whoever splits the thinking off (a server's parser, a reward for form) finds none. The field, which mends
# Qwen3.8, loses all reasons elsewhere: one rendered row is to be looked at for each student, and each revision of it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0 tokenizers==0.23.3 datasets==5.2.0 \
    jinja2==3.1.6 2>/dev/null
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps trl==1.16.0 2>/dev/null  # no model is needed
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - 2>/dev/null <<'PYTHON' | tee "$work/seen"
from pathlib import Path

import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trl.data_utils import apply_chat_template

letters = Tokenizer(models.BPE({sign: i for i, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
letters.pre_tokenizer, letters.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, bos_token="<s>", eos_token="</s>")
asked = [{"role": "user", "content": "4 boxes of 10?"}]
SPELLED = {
    "tags ": {"role": "assistant", "content": "<think>\n4 * 10 = 40\n</think>\n\n40"},
    "field": {"role": "assistant", "content": "40", "reasoning_content": "4 * 10 = 40"},
}
for name in (
    "qwen3", "qwen3_5_think", "qwen3_6", "qwen3_8", "qwen3_8_training",
    "gemma4_v2", "gemma4_v3", "gemma4", "gemma4_v4", "gemma4_v5",
    "gptoss", "muse_glimmer",
):  # fmt: skip
    tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text()
    rows = [apply_chat_template({"prompt": asked, "completion": [one]}, tokenizer) for one in SPELLED.values()]
    print(name, *sorted({repr(row["prompt"][-20:]) for row in rows}))
    for spelling, row in zip(SPELLED, rows, strict=True):
        print(" ", spelling, repr(row["completion"]))
PYTHON
diff "$work/seen" - <<'SEEN'
qwen3 'im_start|>assistant\n'
  tags  '<think>\n4 * 10 = 40\n</think>\n\n40<|im_end|>\n'
  field '<think>\n4 * 10 = 40\n</think>\n\n40<|im_end|>\n'
qwen3_5_think '|>assistant\n<think>\n'
  tags  '4 * 10 = 40\n</think>\n\n40<|im_end|>\n'
  field '4 * 10 = 40\n</think>\n\n40<|im_end|>\n'
qwen3_6 '|>assistant\n<think>\n'
  tags  '4 * 10 = 40\n</think>\n\n40<|im_end|>\n'
  field '4 * 10 = 40\n</think>\n\n40<|im_end|>\n'
qwen3_8 '|>assistant\n<think>\n'
  tags  '\n</think>\n\n<think>\n4 * 10 = 40\n</think>\n\n40<|im_end|>\n'
  field '4 * 10 = 40\n</think>\n\n40<|im_end|>\n'
qwen3_8_training '|>assistant\n<think>\n'
  tags  '\n</think>\n\n<think>\n4 * 10 = 40\n</think>\n\n40<|im_end|>\n'
  field '4 * 10 = 40\n</think>\n\n40<|im_end|>\n'
gemma4_v2 'turn|>\n<|turn>model\n'
  tags  '<think>\n4 * 10 = 40\n</think>\n\n40<turn|>\n'
  field '40<turn|>\n'
gemma4_v3 'turn|>\n<|turn>model\n'
  tags  '<think>\n4 * 10 = 40\n</think>\n\n40<turn|>\n'
  field '40<turn|>\n'
gemma4 'turn|>\n<|turn>model\n'
  tags  '<think>\n4 * 10 = 40\n</think>\n\n40<turn|>\n'
  field '40<turn|>\n'
gemma4_v4 'turn|>\n<|turn>model\n'
  tags  '<think>\n4 * 10 = 40\n</think>\n\n40<turn|>\n'
  field '40<turn|>\n'
gemma4_v5 'turn|>\n<|turn>model\n'
  tags  '<think>\n4 * 10 = 40\n</think>\n\n40<turn|>\n'
  field '<|channel>thought\n4 * 10 = 40\n<channel|>40<turn|>\n'
gptoss '|><|start|>assistant'
  tags  '<|channel|>final<|message|><think>\n4 * 10 = 40\n</think>\n\n40<|return|>'
  field '<|channel|>analysis<|message|>4 * 10 = 40<|end|><|start|>assistant<|channel|>final<|message|>40<|return|>'
muse_glimmer '|><|start|>assistant'
  tags  ' to=user<|message|><think>\n4 * 10 = 40\n</think>\n\n40<|eot|>'
  field ' to=self<|message|>4 * 10 = 40<|eom|><|start|>assistant to=user<|message|>40<|eot|>'
SEEN
