"""Log-probabilities, entropies and gradients with shared prompts are those of the plain forward."""

from collections.abc import Callable
from statistics import fmean
from typing import Any

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    Lfm2Config,
    Lfm2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from realm.training.shared_prefix import causal_model, shared_outputs, take_apart, unfit
from tests.training.decoders import DEVICE, FAMILIES, SIZES, decoder, micro_batch

Scores = tuple[torch.Tensor, torch.Tensor]


def plain(model: Any, ids: torch.Tensor, mask: torch.Tensor, completion: int) -> Scores:
    """As `GRPOTrainer._get_per_token_logps_and_entropies` has it."""
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :-completion] = -100
    outputs = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    return outputs.log_probs[:, -completion:], outputs.entropy[:, -completion:]


def shared(model: Any, ids: torch.Tensor, mask: torch.Tensor, completion: int) -> Scores:
    outputs = shared_outputs(model, model, take_apart(ids, mask, completion))
    rest = (0, completion - outputs.log_probs.shape[1])
    return torch.nn.functional.pad(outputs.log_probs, rest), torch.nn.functional.pad(outputs.entropy, rest)


def gradients(model: Any, scores: Scores) -> dict[str, torch.Tensor]:
    """Of a loss in which every log-probability and every entropy has a weight of its own."""
    model.zero_grad()
    weights = torch.randn(scores[0].shape, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    ((scores[0] * weights).sum() + (scores[1] * weights.flip(0)).sum()).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(model: Any, ids: torch.Tensor, mask: torch.Tensor, completion: int) -> None:
    """float32: log-probabilities and entropies within 2e-5, each gradient within 2e-5 of its norm."""
    wanted = plain(model, ids, mask, completion)
    found = shared(model, ids, mask, completion)
    for tensor, other in zip(found, wanted, strict=True):
        assert not bool(tensor[mask[:, -completion:] == 0].any()), "padding is zero"
        torch.testing.assert_close(tensor, other, atol=2e-5, rtol=2e-5)
    before, after = gradients(model, wanted), gradients(model, found)
    assert before.keys() == after.keys() and len(before) > 4
    for name, gradient in before.items():
        assert (after[name] - gradient).norm() <= 2e-5 * gradient.norm() + 1e-7, name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("prompts", "group", "mixed"),
    [
        ([9], 1, False),
        ([15, 22], 2, True),
        ([40], 4, False),
        ([23, 7, 31], 3, False),
        ([23, 7, 31, 1, 2], 4, True),
        ([18, 33], 8, False),
        ([30, 12], 16, True),
    ],
    ids=["one-row", "pairs", "one-group", "ragged", "ragged-and-broken-up", "groups-of-8", "groups-of-16"],
)
def test_shared_is_plain(family: str, prompts: list[int], group: int, mixed: bool) -> None:
    assert_same(decoder(family), *micro_batch(prompts, group, 12, mixed=mixed), 12)


def test_completions_of_one_token() -> None:
    assert_same(decoder("qwen3"), *micro_batch([8, 5], 3, 1), 1)


def test_eager_attention() -> None:
    model = decoder("llama")
    model.set_attn_implementation("eager")
    assert_same(model, *micro_batch([23, 7], 4, 9, mixed=True), 9)


def test_batch_whose_longest_completion_is_shorter_than_the_batch_is_wide() -> None:
    ids, mask = micro_batch([20, 9], 4, 8)
    mask[:, -3:] = 0
    assert take_apart(ids, mask, 8).inputs.shape == (8, 5)
    assert_same(decoder("qwen3"), ids, mask, 8)


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_is_as_near_to_float32_as_the_plain_path(family: str) -> None:
    """Both round on their way; neither may be further from the float32 values than 1.5 times the other, and 2 %."""
    ids, mask = micro_batch([40, 25, 33], 4, 12)
    exact = decoder(family, temperature=1.0)
    rounded = decoder(family, temperature=1.0).to(torch.bfloat16)
    truth = plain(exact, ids, mask, 12)
    truth_gradients = gradients(exact, truth)
    errors, gradient_errors = [], []
    for path in (plain, shared):
        scores = path(rounded, ids, mask, 12)
        errors.append(float((scores[0] - truth[0]).detach()[mask[:, -12:] == 1].abs().mean()))
        found = gradients(rounded, scores)
        gradient_errors.append({n: float((found[n] - g).norm() / g.norm()) for n, g in truth_gradients.items()})
    assert errors[1] <= 1.5 * errors[0] + 0.02
    theirs, ours = gradient_errors
    assert fmean(ours.values()) <= 1.5 * fmean(theirs.values()) + 0.02
    # A single parameter's error is a matter of luck on both paths; none may be lost in it.
    for name, error in ours.items():
        assert error <= 2 * theirs[name] + 0.1, name


def largest_kept(work: Callable[[], torch.Tensor]) -> int:
    """Numbers in the largest tensor that is kept for the backward pass of what `work` returns."""
    sizes = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        work().backward()
    return max(sizes)


def test_no_logits_are_kept() -> None:
    """Rows x completion x vocabulary is the largest tensor of a forward by far, where there is one."""
    model = decoder("qwen3", vocab_size=4000)
    ids, mask = micro_batch([23, 31], 8, 12)
    logits = 16 * 12 * 4000

    def with_logits() -> torch.Tensor:
        return model(input_ids=ids, attention_mask=mask).logits[:, -12:].log_softmax(-1).sum()

    assert largest_kept(with_logits) >= logits
    # The embedding, which is the head too, has 4000 x 32.
    assert largest_kept(lambda: shared(model, ids, mask, 12)[0].sum()) <= 4000 * 32 < logits / 5


def test_autocast() -> None:
    model = decoder("qwen3", temperature=1.0)
    ids, mask = micro_batch([40, 25], 4, 12)
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        wanted, found = plain(model, ids, mask, 12), shared(model, ids, mask, 12)
    assert float((wanted[0] - found[0]).detach().abs().mean()) < 0.03
    before, after = gradients(model, wanted), gradients(model, found)
    assert all(gradient.dtype == torch.float32 for gradient in after.values())
    mean = sum(float((after[name] - g).norm() / g.norm()) for name, g in before.items()) / len(before)
    assert mean < 0.05


@pytest.mark.parametrize("family", ["qwen3", "gemma"])
def test_lora(family: str) -> None:
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    model = get_peft_model(decoder(family), config)
    assert unfit(model) is None and causal_model(model) is not model
    assert_same(model, *micro_batch([23, 7, 31], 4, 12, mixed=True), 12)


def test_softcapping_and_logit_scale_of_the_head() -> None:
    """Read from the configuration by TRL's head, which both paths share."""
    model = decoder("llama")
    ids = torch.tensor([[2, 3]], device=DEVICE)
    outputs = model(input_ids=ids, labels=ids, fused_lm_head=True)
    LlamaConfig.final_logit_softcapping, LlamaConfig.logit_scale = 3.0, 0.5
    try:
        model = decoder("llama")
    finally:
        del LlamaConfig.final_logit_softcapping, LlamaConfig.logit_scale
    capped = model(input_ids=ids, labels=ids, fused_lm_head=True)
    assert not torch.allclose(outputs.log_probs, capped.log_probs)
    assert_same(model, *micro_batch([23, 7], 4, 9), 9)


def test_take_apart() -> None:
    pad, one, two = [0, 0], [5, 6, 7], [8]
    ids = torch.tensor([[*one, 11, 12], [*pad, *two, 13, 0], [*one, 14, 15], [*pad, *two, 16, 17]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 0], [1] * 5, [0, 0, 1, 1, 1]])
    batch = take_apart(ids, mask, 2)
    assert batch.owner.tolist() == [0, 1, 0, 1]
    assert batch.lengths.tolist() == [2, 0]
    assert batch.prefixes[0].tolist() == [5, 6]
    assert batch.inputs.tolist() == [[7, 11], [8, 13], [7, 14], [8, 16]]
    assert batch.labels.tolist() == [[11, 12], [13, -100], [14, 15], [16, 17]]
    assert batch.positions().tolist() == [[2, 3], [0, 1], [2, 3], [0, 1]]
    mask_ = batch.mask()
    assert mask_ is not None and mask_.tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]] * 2
    assert (batch.forwarded, batch.plain) == (4 + 8, 20)


def test_prompts_that_differ_in_nothing_but_padding_are_told_apart() -> None:
    """The padding token may be a token of the prompt."""
    ids = torch.tensor([[0, 5, 6, 9], [0, 5, 6, 9]])
    mask = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1]])
    assert take_apart(ids, mask, 1).owner.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("prompts", "group", "completion", "pays"),
    [([100], 8, 20, True), ([100], 2, 20, True), ([100], 1, 20, False), ([5], 8, 100, False), ([1], 8, 5, False)],
)
def test_it_is_used_where_it_pays(prompts: list[int], group: int, completion: int, pays: bool) -> None:
    assert take_apart(*micro_batch(prompts, group, completion), completion).pays is pays


SMALL = {name: value for name, value in SIZES.items() if name != "initializer_range"}


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: Gemma2ForCausalLM(Gemma2Config(**SMALL)), "sliding"),
        (lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SMALL)), "sliding"),
        (lambda: MistralForCausalLM(MistralConfig(**SMALL, sliding_window=16)), "sliding"),
        (lambda: decoder("smollm3", use_sliding_window=True, sliding_window=16), "sliding"),
        (lambda: decoder("qwen3", use_sliding_window=True, sliding_window=16, max_window_layers=1), "sliding"),
        (lambda: GPT2LMHeadModel(GPT2Config(vocab_size=61, n_embd=16, n_layer=2, n_head=2)), "absolute"),
        (lambda: MambaForCausalLM(MambaConfig(vocab_size=61, hidden_size=16, num_hidden_layers=2)), "cache"),
        (
            lambda: Qwen3NextForCausalLM(
                Qwen3NextConfig(**SMALL, num_experts=2, num_experts_per_tok=1, moe_intermediate_size=8,
                                shared_expert_intermediate_size=8, linear_num_key_heads=2, linear_num_value_heads=2,
                                linear_key_head_dim=8, linear_value_head_dim=8)
            ),
            "recurrent",
        ),
        (
            lambda: Lfm2ForCausalLM(Lfm2Config(**SMALL, layer_types=["conv", "full_attention"] * 2)), "recurrent",
        ),
        (lambda: T5ForConditionalGeneration(T5Config(d_model=16, d_ff=16, num_layers=1, num_heads=2)), "no decoder"),
        (
            lambda: LlamaForCausalLM(
                LlamaConfig(**SMALL, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4})
            ),
            "rotary",
        ),
        (
            lambda: get_peft_model(
                decoder("qwen3"), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
            ),
            "virtual",
        ),
    ],
    ids=["gemma2", "gemma3", "mistral", "smollm3", "qwen3", "gpt2", "mamba", "qwen3-next", "lfm2", "t5",
         "dynamic-rope", "prompt-tuning"],
)  # fmt: skip
def test_unfit_models_are_recognised(model: Any, reason: str) -> None:
    assert reason in str(unfit(model()))


@pytest.mark.parametrize("family", FAMILIES)
def test_fit_models_are_recognised(family: str) -> None:
    assert unfit(decoder(family)) is None


def test_the_model_is_left_as_it_was() -> None:
    model = decoder("qwen3")
    with pytest.raises(ZeroDivisionError):
        shared_outputs(lambda **_: 1 / 0, model, take_apart(*micro_batch([9], 2, 3), 3))
    assert "forward" not in vars(model.base_model)
