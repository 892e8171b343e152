#!/usr/bin/env bash
# peft 0.21.2 with transformers 5.23.0: LoRA on "all-linear" of a Phi-3.5-MoE cannot be run, that of a Mixtral can.
#
# One would guess: "all-linear" adapts the plain linear layers of a decoder, the head left out, and whatever it returns
# can be trained; what it cannot adapt it refuses when the adapters are made, as it does for Mamba.
# What happens: the router of PhimoeForCausalLM is a subclass of nn.Linear whose forward gives three tensors. It is
# adapted without a word, and the first forward fails with an AttributeError about a tuple. Mixtral's router (gate) is
# adapted too, but by its weight, as its stacked experts are, and runs; the experts of Phi-3.5-MoE get no adapter.
# Why it matters: the failure comes after everything is loaded, at the first step of a training that may have waited for
# hours; a check of the arguments alone does not find it, a forward of a few tokens does.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 2>/dev/null
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 peft==0.21.2 \
    numpy 2>/dev/null
"$work/venv/bin/python" - 2>/dev/null <<'PYTHON' | tee "$work/seen"
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, MixtralConfig, PhimoeConfig

SIZES = dict(
    vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
    num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2, max_position_embeddings=64,
)
for config in (MixtralConfig(**SIZES), PhimoeConfig(**SIZES, input_jitter_noise=0.0, router_jitter_noise=0.0)):
    for targets in ("all-linear", ["q_proj", "v_proj"]):
        torch.manual_seed(0)
        model = get_peft_model(AutoModelForCausalLM.from_config(config), LoraConfig(target_modules=targets))
        names = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if hasattr(module, "lora_A")}
        try:
            said = tuple(model(input_ids=torch.tensor([[3, 4, 5]])).logits.shape)
        except AttributeError as error:
            said = f"AttributeError: {error}"
        print(config.model_type, targets, sorted(names), said)
PYTHON
diff "$work/seen" - <<'SEEN'
mixtral all-linear ['base_layer', 'experts', 'gate', 'k_proj', 'o_proj', 'q_proj', 'v_proj'] (1, 3, 64)
mixtral ['q_proj', 'v_proj'] ['q_proj', 'v_proj'] (1, 3, 64)
phimoe all-linear ['k_proj', 'o_proj', 'q_proj', 'router', 'v_proj'] AttributeError: 'tuple' object has no attribute 'dtype'
phimoe ['q_proj', 'v_proj'] ['q_proj', 'v_proj'] (1, 3, 64)
SEEN
