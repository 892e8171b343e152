"""Completions are those that transformers' `generate` would sample, and a function of seed, step and row alone."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel

from realm.method.seeds import derive
from realm.student.decode import decode
from realm.training import rollout
from realm.training.rollout import foreign_settings, resolved, roll_out, sampling
from tests.student.chosen import assert_chosen
from tests.training.decoders import FAMILIES, VOCABULARY, decoder

PROMPTS = [[5, 6, 7, 8, 9]] * 3 + [[10, 11]] * 2 + [[12, 13, 14]]


def settings(**options: Any) -> GenerationConfig:
    """As TRL makes them."""
    fixed = {"do_sample": True, "max_new_tokens": 12, "pad_token_id": 0, "eos_token_id": [1], "top_k": 0}
    return GenerationConfig(**{**fixed, **options}, disable_compile=True)


def generated(model: PreTrainedModel, config: GenerationConfig) -> list[list[int]]:
    """What TRL makes of `generate`: left padding, and nothing after the end."""
    width = max(map(len, PROMPTS))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in PROMPTS])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in PROMPTS])
    with torch.no_grad():
        rows = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)[:, width:].tolist()
    ends = set(config.eos_token_id)
    return [row[: next((i + 1 for i, token in enumerate(row) if token in ends), len(row))] for row in rows]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("ends", [[1], [1, *range(20, 40)]], ids=["one-end", "many-ends"])
def test_greedy_is_generates(family: str, ends: list[int]) -> None:
    model = decoder(family)
    config = settings(do_sample=False, eos_token_id=ends)
    found = roll_out(model, PROMPTS, config, seed=0, step=0)
    assert found == generated(model, config)
    assert len(ends) == 1 or len({len(row) for row in found}) > 1, "rows must have ended at different times"


def test_greedy_with_lora_is_generates() -> None:
    model = get_peft_model(
        decoder("qwen3"), LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    config = settings(do_sample=False)
    found = roll_out(model, PROMPTS, config, seed=0, step=0)
    assert found == generated(model, config)
    with model.disable_adapter():
        assert found != generated(model, config)


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0.6}, {"top_k": 5}, {"top_p": 0.7}, {"min_p": 0.1}, {"temperature": 1.3, "top_p": 0.9}],
    ids=str,
)
def test_scores_are_warped_as_generate_does(options: dict[str, Any]) -> None:
    """The very numbers: transformers' own list for these settings, on the same scores."""
    assert_warped_alike(decoder("qwen3"), settings(**options))


@pytest.mark.parametrize("own", [{"min_p": 0.3}, {"top_k": 3}, {"top_p": 0.5, "temperature": 0.7}, {}], ids=str)
def test_what_trl_leaves_open_is_the_models_own_setting(own: dict[str, Any]) -> None:
    """As `generate` has it: the file generation_config.json first, then transformers' defaults (top_k 50)."""
    model = decoder("qwen3")
    for name, value in own.items():
        setattr(model.generation_config, name, value)
    open_settings = settings(top_k=None, top_p=None, temperature=None, min_p=None)
    assert foreign_settings(open_settings, model) is None
    assert_warped_alike(model, open_settings)
    # What TRL states wins.
    stated = settings(top_k=0, top_p=1.0, temperature=1.0, min_p=0.0)
    assert {name: getattr(resolved(stated, model), name) for name in ("top_k", "top_p", "temperature", "min_p")} == {
        "top_k": 0, "top_p": 1.0, "temperature": 1.0, "min_p": 0.0,
    }  # fmt: skip


def test_a_completion_follows_the_models_own_min_p() -> None:
    """So high a min_p leaves nothing but the likeliest token: sampling is greedy."""
    model = decoder("qwen3")
    greedy = roll_out(model, PROMPTS, settings(do_sample=False), seed=0, step=0)
    assert roll_out(model, PROMPTS, settings(), seed=0, step=0) != greedy
    model.generation_config.min_p = 1.0
    assert roll_out(model, PROMPTS, settings(), seed=0, step=0) == greedy
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"]))
    assert roll_out(adapted, PROMPTS, settings(), seed=0, step=0) == greedy


def assert_warped_alike(model: PreTrainedModel, config: GenerationConfig) -> None:
    theirs: LogitsProcessorList = model._get_logits_processor(
        generation_config=model._prepare_generation_config(config)[0],
        input_ids_seq_length=3,
        encoder_input_ids=torch.zeros(4, 3, dtype=torch.long),
        prefix_allowed_tokens_fn=None,
        logits_processor=LogitsProcessorList(),
    )
    scores = torch.randn(4, VOCABULARY, generator=torch.Generator().manual_seed(0)) * 3
    ids = torch.zeros(4, 3, dtype=torch.long)
    torch.testing.assert_close(
        sampling(resolved(config, model)).warpers()(ids, scores), theirs(ids, scores), atol=0, rtol=0
    )


def test_tokens_come_as_often_as_the_model_says() -> None:
    """First and second token of 4000 completions, by a chi-square test against the exact distribution."""
    model = decoder("llama")
    config = settings(max_new_tokens=2, eos_token_id=[VOCABULARY], temperature=1.2, top_p=0.9)
    count = 4000
    found = torch.tensor(roll_out(model, [PROMPTS[0]] * count, config, seed=1, step=0))
    warp = sampling(config).warpers()
    with torch.no_grad():
        first = warp(torch.empty(0), model(torch.tensor([PROMPTS[0]])).logits[:, -1]).softmax(-1)[0]
        after = [PROMPTS[0] + [token] for token in range(VOCABULARY)]
        second = warp(torch.empty(0), model(torch.tensor(after)).logits[:, -1]).softmax(-1)
    for tokens, expected in ((found[:, 0], first), (found[:, 1], first @ second)):
        observed = torch.bincount(tokens, minlength=VOCABULARY).double()
        assert not bool(observed[expected == 0].any()), "a token that top_p leaves out"
        likely = expected * count > 5
        statistic = float(((observed - expected * count)[likely] ** 2 / (expected * count)[likely]).sum())
        freedom = int(likely.sum()) - 1
        # Mean and standard deviation of chi-square; 5 of these are one false alarm in a million.
        assert statistic < freedom + 5 * (2 * freedom) ** 0.5


def assert_drawn(model: PreTrainedModel, found: list[list[int]], seed: int, step: int, first_row: int = 0) -> None:
    """Each token of the completions of PROMPTS[first_row:] is the one that its text and the row's draws choose."""
    for row, tokens in enumerate(found, first_row):
        draws = torch.rand(12, generator=torch.Generator().manual_seed(derive(seed, "rollout", step, row)))
        assert_chosen(model, PROMPTS[row], tokens, draws)


def test_draws_depend_on_seed_step_and_row_alone() -> None:
    model = decoder("qwen3")
    state = torch.random.get_rng_state()
    whole = roll_out(model, PROMPTS, settings(), seed=3, step=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert whole == roll_out(model, PROMPTS, settings(), seed=3, step=5)
    assert whole != roll_out(model, PROMPTS, settings(), seed=3, step=5, turn=1), "another batch of the step"
    assert_drawn(model, whole, seed=3, step=5)
    # Two processes, the first group cut in two.
    assert_drawn(model, roll_out(model, PROMPTS[:2], settings(), seed=3, step=5), seed=3, step=5)
    assert_drawn(model, roll_out(model, PROMPTS[2:], settings(), seed=3, step=5, first_row=2), 3, 5, first_row=2)
    assert whole != roll_out(model, PROMPTS, settings(), seed=4, step=5)
    assert whole != roll_out(model, PROMPTS, settings(), seed=3, step=6)
    assert len({tuple(row) for row in whole[:3]}) == 3, "members of a group differ"


def test_each_prompt_is_read_once_and_ended_rows_leave() -> None:
    model = decoder("qwen3")
    shapes: list[tuple[int, ...]] = []
    forward = model.forward

    def count(*args: Any, **kwargs: Any) -> Any:
        shapes.append(tuple(kwargs["input_ids"].shape))
        return forward(*args, **kwargs)

    config = settings(eos_token_id=list(range(1, 20)))
    roll_out(model, PROMPTS, config, seed=0, step=0)  # the first one is looked at
    model.forward = count  # type: ignore[method-assign]
    found = roll_out(model, PROMPTS, config, seed=0, step=0)
    lengths = [len(row) for row in found]
    assert shapes[0] == (3, 5), "three distinct prompts"
    assert len(set(lengths)) > 1
    assert shapes[1:] == [(sum(length > step for length in lengths), 1) for step in range(1, max(lengths))]


def test_completions_end_with_the_end() -> None:
    ends = list(range(1, 10))
    for row in roll_out(decoder("qwen3"), PROMPTS * 4, settings(eos_token_id=ends), seed=0, step=0):
        assert not set(row[:-1]) & set(ends)
        assert row[-1] in ends or len(row) == 12


def test_settings_that_are_not_followed_are_named() -> None:
    model = decoder("qwen3")
    assert foreign_settings(settings(repetition_penalty=1.0), model) is None
    assert "repetition_penalty: 1.1" in str(foreign_settings(settings(repetition_penalty=1.1), model))
    assert "cache_implementation: static" in str(foreign_settings(settings(cache_implementation="static"), model))
    model.generation_config.no_repeat_ngram_size = 2
    assert "no_repeat_ngram_size: 2" in str(foreign_settings(settings(), model))
    model.generation_config.typical_p = 0.5
    assert "typical_p: 0.5" in str(foreign_settings(settings(), model))


def test_other_rows_do_not_change_a_row() -> None:
    """Unequal numbers of completions a prompt; each row alone gives what it gives among others."""
    model = decoder("smollm3")
    assert_drawn(model, roll_out(model, PROMPTS, settings(), seed=3, step=0), seed=3, step=0)
    for i, prompt in enumerate(PROMPTS):
        assert_drawn(model, roll_out(model, [prompt], settings(), seed=3, step=0, first_row=i), 3, 0, first_row=i)


def test_rollout_uses_the_loop_of_evaluation() -> None:
    assert rollout.decode is decode
