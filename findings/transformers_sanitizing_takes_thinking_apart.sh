#!/usr/bin/env bash
# transformers 5.23.0: apply_chat_template(..., sanitize_control_tokens=True) alters thinking that stands in tags in an
# answer's content: by blank lines, by letters in place of the tags, or in place of one of the two.
#
# One would guess: the option keeps a user from writing <|im_end|>, and leaves a conversation alone where nobody does;
# the thinking of an answer, which the template itself looks for, is found as ever.
# What happens: all control tokens of all messages are marked, the assistant's too, and <think> is one wherever the
# template names it. Templates that cut the content at the tags (Qwen3, 3.5, 3.6, GLM 4.5) cut between mark and tag; a
# mark that is left over at either end keeps strip from finding the line breaks, so that they are doubled, and answers
# of earlier turns begin with them. Templates that write the content as it is (Qwen3.8, LFM2.5, Nemotron 3) get the tags
# as letters. TRL's template for DeepSeek R1's distilled models writes the closing itself: there a thought is opened by
# letters and closed by a token. Where the template does not name the tags (Qwen2.5) nothing changes, and nowhere where
# the thinking is in the field reasoning_content.
# Why it matters: who turns it on for safety asks, or trains, in other tokens than before, on rows without any attack,
# and nothing is raised. A model that learns <think> in letters thinks without the token that parsers and budgets count.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0 tokenizers==0.23.3 jinja2==3.1.6 \
    2>/dev/null
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps trl==1.16.0 2>/dev/null  # for its templates
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - 2>/dev/null <<'PYTHON' | tee "$work/seen"
from importlib.util import find_spec
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

letters = Tokenizer(models.BPE({sign: i for i, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
letters.pre_tokenizer, letters.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, bos_token="<|im_start|>", eos_token="<|im_end|>")
marks = [AddedToken(tag, special=False, normalized=False) for tag in ("<think>", "</think>")]  # as Qwen3 has them
tokenizer.add_tokens(marks)


def read(rows, **options):
    """What follows the first question, tokens that are no single byte in square brackets."""
    ids = tokenizer.apply_chat_template(rows, return_dict=False, **options)
    shown = "".join(f"[{one}]" if len(one) > 1 else one for one in tokenizer.convert_ids_to_tokens(ids))
    return repr(letters.decoder.decode([shown]).split("much?")[1])


asked = {"role": "user", "content": "How much?"}
tags = {"role": "assistant", "content": "<think>\n40 + 2\n</think>\n\n42"}
field = {"role": "assistant", "content": "42", "reasoning_content": "40 + 2"}
later = {"role": "user", "content": "And?"}
for name, rows in (
    ("qwen2_5", [asked, tags]),
    ("qwen3", [asked, tags]),
    ("qwen3", [asked, tags, later]),
    ("qwen3_6", [asked, tags]),
    ("glm4moe", [asked, tags]),
    ("qwen3_8", [asked, tags]),
    ("lfm2_2_5", [asked, tags]),
    ("nemotron_3_nano", [asked, tags]),
    ("deepseek_r1_distill_training", [asked, tags]),
):
    tokenizer.chat_template = (Path(find_spec("trl").origin).parent / "chat_templates" / f"{name}.jinja").read_text()
    plain, sanitized = read(rows), read(rows, sanitize_control_tokens=True)
    fields = [field if row is tags else row for row in rows]
    same = read(fields) == read(fields, sanitize_control_tokens=True)
    print(f"{name}{' (an earlier turn)' * (later in rows)}: by field {'the same' if same else 'altered'}, by tags")
    print(f"  {plain}\n  {'the same' if plain == sanitized else sanitized}")
PYTHON
diff "$work/seen" - <<'SEEN'
qwen2_5: by field the same, by tags
  '[<|im_end|>]\n[<|im_start|>]assistant\n[<think>]\n40 + 2\n[</think>]\n\n42[<|im_end|>]\n'
  the same
qwen3: by field the same, by tags
  '[<|im_end|>]\n[<|im_start|>]assistant\n[<think>]\n40 + 2\n[</think>]\n\n42[<|im_end|>]\n'
  '[<|im_end|>]\n[<|im_start|>]assistant\n[<think>]\n\n40 + 2\n\n[</think>]\n\n\n\n42[<|im_end|>]\n'
qwen3 (an earlier turn): by field the same, by tags
  '[<|im_end|>]\n[<|im_start|>]assistant\n42[<|im_end|>]\n[<|im_start|>]user\nAnd?[<|im_end|>]\n'
  '[<|im_end|>]\n[<|im_start|>]assistant\n\n\n42[<|im_end|>]\n[<|im_start|>]user\nAnd?[<|im_end|>]\n'
qwen3_6: by field the same, by tags
  '[<|im_end|>]\n[<|im_start|>]assistant\n[<think>]\n40 + 2\n[</think>]\n\n42[<|im_end|>]\n'
  '[<|im_end|>]\n[<|im_start|>]assistant\n[<think>]\n\n40 + 2\n\n[</think>]\n\n\n\n42[<|im_end|>]\n'
glm4moe: by field the same, by tags
  '<|assistant|>\n[<think>]40 + 2[</think>]\n42'
  '<|assistant|>\n[<think>]\n40 + 2\n[</think>]\n\n\n42'
qwen3_8: by field the same, by tags
  '[<|im_end|>]\n[<|im_start|>]assistant\n[<think>]\n\n[</think>]\n\n[<think>]\n40 + 2\n[</think>]\n\n42[<|im_end|>]\n'
  '[<|im_end|>]\n[<|im_start|>]assistant\n[<think>]\n\n[</think>]\n\n<think>\n40 + 2\n</think>\n\n42[<|im_end|>]\n'
lfm2_2_5: by field the same, by tags
  '[<|im_end|>]\n[<|im_start|>]assistant\n[<think>]\n40 + 2\n[</think>]\n\n42[<|im_end|>]\n'
  '[<|im_end|>]\n[<|im_start|>]assistant\n<think>\n40 + 2\n</think>\n\n42[<|im_end|>]\n'
nemotron_3_nano: by field the same, by tags
  '[<|im_end|>]\n[<|im_start|>]assistant\n[<think>]\n40 + 2\n[</think>]\n\n42[<|im_end|>]\n'
  '[<|im_end|>]\n[<|im_start|>]assistant\n<think>\n40 + 2\n</think>\n\n42[<|im_end|>]\n'
deepseek_r1_distill_training: by field the same, by tags
  '<｜Assistant｜>[<think>]\n40 + 2\n[</think>]\n\n42<｜end▁of▁sentence｜>'
  '<｜Assistant｜><think>\n40 + 2\n[</think>]\n\n42<｜end▁of▁sentence｜>'
SEEN
