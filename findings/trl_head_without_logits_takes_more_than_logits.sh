#!/usr/bin/env bash
# TRL 1.16.0's head that makes no logits (add_fused_lm_head, of SFT, GRPO and DPO) takes more memory on a CPU than the
# logits do: 1.8 times as much for a vocabulary of 49,152 tokens (SmolLM2), 2.7 times for 32,768.
#
# One would guess: what is there to spare the (tokens, vocabulary) tensor of logits needs less than a model's own loss,
# which makes that tensor and its gradient.
# What happens: a tile is 4,096 tokens wide and 32,768 words of the vocabulary. Without Triton, on a CPU, each tile is
# folded in plain torch, with half a dozen tensors of that size alive at once, in both passes. Two thirds of the logits
# several times over are more than the logits themselves; only from some 90,000 words on is it less. The width is a
# private constant and no setting.
# Why it matters: small students with small vocabularies are what is trained on CPUs, and the head is most of their step:
# an update that would fit by the plain loss is killed for memory. A tile of 2,048 words takes an eighth.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 2>/dev/null
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 trl==1.16.0 \
    accelerate==1.15.0 numpy 2>/dev/null
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - 2>/dev/null <<'PYTHON' | tee "$work/seen"
import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import LlamaConfig, LlamaForCausalLM
from trl.trainer import utils


class Peak(TorchDispatchMode):
    """The most bytes of tensors that were made within and alive at once."""

    def __init__(self):
        super().__init__()
        self.alive, self.known, self.most = 0, set(), 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for one in tree_leaves(found):
            if isinstance(one, torch.Tensor) and (place := (s := one.untyped_storage())._cdata) not in self.known:
                self.known.add(place)
                self.alive += s.nbytes()
                weakref.finalize(s, self.forget, place, s.nbytes())
        self.most = max(self.most, self.alive)
        return found

    def forget(self, place, size):
        self.known.discard(place)
        self.alive -= size


def peak(model, **options):
    with Peak() as mode:
        model(**options).loss.backward()
    model.zero_grad()
    return mode.most


print("vocabulary  tokens  of the plain loss's peak: without logits, and with tiles of 2,048 words")
for words in (32768, 49152, 151936):
    model = LlamaForCausalLM(LlamaConfig(vocab_size=words, hidden_size=64, intermediate_size=64, num_hidden_layers=1,
                                         num_attention_heads=1, num_key_value_heads=1))
    utils.add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    ids = torch.randint(words, (1, 1025), generator=torch.Generator().manual_seed(0))
    plain = peak(model, input_ids=ids, labels=ids, use_cache=False)
    shares = []
    for width in (32768, 2048):
        utils._CHUNKED_LOGPROB_CHUNK_SIZE = width
        shares.append(f"{peak(model, input_ids=ids, labels=ids, fused_lm_head=True) / plain:.1f}")
    print(f"{words:10}  {1024:6}  ", *shares)
PYTHON
diff "$work/seen" - <<'SEEN'
vocabulary  tokens  of the plain loss's peak: without logits, and with tiles of 2,048 words
     32768    1024   2.7 0.2
     49152    1024   1.8 0.2
    151936    1024   0.6 0.1
SEEN
