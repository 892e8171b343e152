"""Generation: the loop says what the model says to each prompt alone, ends where it should, and leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from realm.config import Config
from realm.errors import ConfigError, ModelError, ResourceError
from realm.method.seeds import derive
from realm.student import generate as module
from realm.student.generate import Generation, completion_text, end_tokens, stop_of
from realm.student.log_probs import log_probs
from realm.student.prompts import encode
from realm.student.sampling import greedy, quantile, stopping
from tests.student.chosen import assert_chosen
from tests.tiny import word_tokenizer

Build = Callable[..., PreTrainedModel]


def ask(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": text}] for text in texts]


def generate(model: Any, tokenizer: Any, prompts: Any, **how: Any) -> list[list[Generation]]:
    return module.generate(model, tokenizer, [encode(tokenizer, prompt) for prompt in prompts], **how)


PROMPTS = ask("short", "a rather longer question, it is", "mid one", "x", "another question of some length")


def mistral(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Attention that slides: its cache is none of ours, and it is shorter than the prompts."""
    torch.manual_seed(1)
    config = MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        sliding_window=8,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return MistralForCausalLM(config).eval()


def gpt2(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Positions that are learned: they must be counted from the prompt's first token, not from the padding's."""
    torch.manual_seed(2)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, initializer_range=0.3)
    return GPT2LMHeadModel(config).eval()


def said(
    monkeypatch: pytest.MonkeyPatch, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, **arguments: Any
) -> list[list[Generation]]:
    """What `generate` says to the prompts. Each of its tokens is the one that prompt, seed and sample alone choose."""
    samples, limit = arguments["samples"], arguments["max_new_tokens"]
    rows: dict[tuple[int, ...], list[list[int]]] = {}

    def decode(model: PreTrainedModel, prompts: list[list[int]], *args: Any, **more: Any) -> list[list[int]]:
        found = original(model, prompts, *args, **more)
        rows.update({tuple(ids): found[i * samples : (i + 1) * samples] for i, ids in enumerate(prompts)})
        return found

    original = module.decode
    with monkeypatch.context() as patch:
        patch.setattr(module, "decode", decode)
        told = generate(model, tokenizer, PROMPTS, **arguments)
    for i, prompt in enumerate(PROMPTS):
        ids = encode(tokenizer, prompt)
        for j, tokens in enumerate(rows[tuple(ids)]):
            end = tokens[-1] == tokenizer.eos_token_id
            text = completion_text(tokenizer, tokens, end_tokens(model, tokenizer))
            assert told[i][j] == Generation(text, len(tokens), not end)
            assert tokenizer.eos_token_id not in tokens[:-1] and (end or len(tokens) == limit)
            if arguments["temperature"] is None:
                assert_chosen(model, ids, tokens)
            else:
                source = torch.Generator().manual_seed(derive(arguments["seed"], "generate", i, j))
                draws = torch.rand(limit, generator=source)
                assert_chosen(model, ids, tokens, draws, arguments["temperature"])
    return told


@pytest.mark.parametrize("kind", ["qwen3", "mistral", "gpt2"])
@pytest.mark.parametrize("temperature", [None, 1.5])
def test_each_token_is_the_one_that_its_text_alone_chooses(
    kind: str,
    temperature: float | None,
    tokenizer: PreTrainedTokenizerFast,
    new_model: Build,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = {"qwen3": new_model, "mistral": lambda: mistral(tokenizer), "gpt2": lambda: gpt2(tokenizer)}[kind]()
    # Make the end likely, so that rows leave the batch one by one.
    head: Any = model.get_output_embeddings()
    head.bias = torch.nn.Parameter(torch.zeros(len(tokenizer)))
    with torch.no_grad():
        head.bias[tokenizer.eos_token_id] = 3.0
    samples = 1 if temperature is None else 4
    arguments: dict[str, Any] = {"max_new_tokens": 80, "samples": samples, "temperature": temperature, "seed": 3}
    found = said(monkeypatch, model, tokenizer, batch_size=12, **arguments)
    if temperature is not None:
        lengths = {item.tokens for group in found for item in group}
        assert len(lengths) > 5, "rows must end at different steps for this test to mean anything"


@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
@pytest.mark.parametrize("temperature", [None, 1.5])
def test_the_likelihood_is_the_models_own_and_changes_nothing(
    kind: str, temperature: float | None, tokenizer: PreTrainedTokenizerFast, new_model: Build
) -> None:
    model = new_model() if kind == "qwen3" else gpt2(tokenizer)
    samples = 1 if temperature is None else 3
    arguments: dict[str, Any] = {"max_new_tokens": 12, "batch_size": 6, "samples": samples, "temperature": temperature}
    plain = generate(model, tokenizer, PROMPTS, **arguments)
    asked = generate(model, tokenizer, PROMPTS, **arguments, likelihood=True)
    assert [one.ids for group in asked for one in group] == [one.ids for group in plain for one in group]
    assert all(one.log_prob is None for group in plain for one in group)
    for prompt, group in zip(PROMPTS, asked, strict=True):
        rows = [(encode(tokenizer, prompt), list(one.ids)) for one in group]
        for one, found in zip(group, log_probs(model, rows, pad=0), strict=True):
            chosen = found[torch.arange(len(one.ids)), list(one.ids)]
            assert one.log_prob == pytest.approx(float(chosen.mean()), abs=1e-4)


def test_sampling_depends_on_the_seed_and_not_on_the_batch(
    tokenizer: PreTrainedTokenizerFast, new_model: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sample(batch_size: int, seed: int) -> list[list[Generation]]:
        arguments: dict[str, Any] = {"max_new_tokens": 10, "samples": 3, "temperature": 1.0, "seed": seed}
        return said(monkeypatch, new_model(), tokenizer, batch_size=batch_size, **arguments)

    for batch_size in (64, 1, 4):
        sample(batch_size, 1)
    assert sample(64, 1) == sample(64, 1) != sample(64, 2)
    assert all(len({item.text for item in group}) > 1 for group in sample(64, 1))


def test_temperature_sharpens(tokenizer: PreTrainedTokenizerFast, new_model: Build) -> None:
    arguments: dict[str, Any] = {"max_new_tokens": 5, "batch_size": 8}
    greedy = generate(new_model(), tokenizer, PROMPTS, **arguments)
    cold = generate(new_model(), tokenizer, PROMPTS, **arguments, samples=2, temperature=1e-4)
    assert cold == [[group[0], group[0]] for group in greedy]


@pytest.mark.parametrize("seed", range(3))
def test_the_stop_temperature_moves_one_token_against_all_others(seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(4, 11, generator=source) + torch.tensor([[-40.0], [0.0], [7.0], [40.0]])
    before, kept = scores.clone(), torch.arange(11) != 5
    own, last = scores.softmax(-1)[:, 5], torch.zeros(4)
    rest = scores[:, kept].softmax(-1)
    for temperature in (0.2, 0.7, 1.0, 1.6, 9.0):
        given: list[torch.Tensor] = []

        def pick(changed: torch.Tensor, rows: torch.Tensor, step: int, into: list[torch.Tensor] = given) -> Any:
            into.append(changed.softmax(-1))
            return greedy(changed, rows, step)

        chosen = stopping(pick, 5, temperature)(scores, torch.arange(4), 0)
        (found,) = given
        torch.testing.assert_close(found[:, 5], own ** (1 / temperature) / (own ** (1 / temperature) + 1 - own))
        torch.testing.assert_close(found[:, kept] / found[:, kept].sum(1, keepdim=True), rest)
        assert (found[:, 5] > last).all() and torch.equal(chosen, found.argmax(-1))
        last = found[:, 5]
    assert torch.equal(scores, before), "the model's own scores stay as they are"


@pytest.mark.parametrize("kind", ["qwen3", "mistral"])
def test_a_lower_stop_temperature_makes_thinking_longer(
    kind: str, tokenizer: PreTrainedTokenizerFast, new_model: Build
) -> None:
    """Sampled, in our own loop and where the cache is none of ours; greedy, where it closes at once or never."""
    model = new_model() if kind == "qwen3" else mistral(tokenizer)
    how: dict[str, Any] = {"max_new_tokens": 12, "batch_size": 64}
    many = {**how, "samples": 8, "temperature": 1.5, "seed": 3}
    ((first, *_),) = generate(model, tokenizer, PROMPTS[:1], **how, likelihood=True)
    token = first.ids[0]

    def thinking(stop: tuple[int, float] | None, **how: Any) -> float:
        found = generate(model, tokenizer, PROMPTS, stop=stop, **how)
        lengths = [[*one.ids, token].index(token) for row in found for one in row]
        return sum(lengths) / len(lengths)

    lengths = [thinking((token, temperature), **many) for temperature in (0.1, 1.0, 50.0)]
    assert lengths[0] > lengths[1] > lengths[2] and thinking(None, **many) == lengths[1]
    assert generate(model, tokenizer, PROMPTS[:1], **how, stop=(token, 1e6))[0][0].ids[0] == token
    assert token not in generate(model, tokenizer, PROMPTS[:1], **how, stop=(token, 1e-3))[0][0].ids
    never = min({*range(20)} - {*first.ids})
    same = generate(model, tokenizer, PROMPTS[:1], **how, stop=(never, 0.5), likelihood=True)[0][0]
    assert same == first, "the likelihood is the model's own all the same"


def test_where_the_closing_tag_is_no_token_it_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    def asked(temperature: float | None, words: Any, tag: str = "think") -> Any:
        changes = {"evaluation.stop_temperature": temperature, "prompt.think_tag": tag}
        return stop_of(Config().changed(changes), word_tokenizer(words, special=2))

    words = ["<|pad|>", "<|end|>", "<think>", "</think>", "</", ">", "why"]
    assert asked(0.5, words) == (3, 0.5)
    assert asked(None, words) is None and asked(1.0, words) is None
    assert asked(1.0, words, "why") is None, "neutral, whatever the tokenizer"
    with pytest.raises(
        ConfigError, match=r"evaluation\.stop_temperature: expected a tokenizer with </why> as one token"
    ):
        asked(0.5, words, "why")
    with pytest.raises(ConfigError, match=r"stop_temperature: .* greater than 0"):
        asked(0.0, words)
    with pytest.raises(ConfigError, match="with </think> as one token"):
        stop_of(Config().changed({"evaluation.stop_temperature": 0.5}), tokenizer)  # of characters


def test_spoilt_weights_are_told_and_not_sampled_from(tokenizer: PreTrainedTokenizerFast, new_model: Build) -> None:
    model = new_model()
    torch.nn.init.constant_(next(model.parameters()), float("nan"))
    with pytest.raises(ModelError, match="a probability of the next token is not a finite number"):
        generate(model, tokenizer, PROMPTS, max_new_tokens=4, batch_size=8, samples=2, temperature=1.0)


def test_quantile_never_picks_an_impossible_token() -> None:
    # The draw u picks the first token whose cumulated probability exceeds u.
    probabilities = torch.tensor([[0.0, 0.25, 0.5, 0.25, 0.0]]).repeat(6, 1)
    draws = torch.tensor([0.0, 0.2, 0.25, 0.7, 0.75, 1.0])
    assert quantile(probabilities, draws).tolist() == [1, 1, 2, 2, 3, 3]


def test_length_limit_is_reported_as_truncation(tokenizer: PreTrainedTokenizerFast, new_model: Build) -> None:
    model = new_model()
    [[cut]] = generate(model, tokenizer, ask("question"), max_new_tokens=4, batch_size=1)
    assert (cut.tokens, cut.truncated) == (4, True)
    # A model whose every token ends the completion.
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.lm_head.bias = torch.nn.Parameter(torch.eye(len(tokenizer))[tokenizer.eos_token_id])
    assert generate(model, tokenizer, ask("question"), max_new_tokens=4, batch_size=1) == [[Generation("", 1, False)]]
    # One token is enough where it is the end.
    assert generate(model, tokenizer, ask("question"), max_new_tokens=1, batch_size=1) == [[Generation("", 1, False)]]


def test_every_end_token_of_the_model_ends(tokenizer: PreTrainedTokenizerFast, new_model: Build) -> None:
    model = new_model()
    [[first]] = generate(model, tokenizer, ask("question"), max_new_tokens=6, batch_size=1)
    stop = tokenizer(first.text[2], add_special_tokens=False)["input_ids"]
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, *stop]
    [[second]] = generate(model, tokenizer, ask("question"), max_new_tokens=6, batch_size=1)
    assert not second.truncated
    assert first.text.startswith(second.text)
    assert second.tokens == first.text.index(first.text[2]) + 1


def test_the_directory_s_generation_settings_do_not_apply(tokenizer: PreTrainedTokenizerFast, new_model: Build) -> None:
    model = new_model()
    plain = generate(model, tokenizer, PROMPTS, max_new_tokens=12, batch_size=8)
    model.generation_config.repetition_penalty = 50.0
    model.generation_config.do_sample = True
    assert generate(model, tokenizer, PROMPTS, max_new_tokens=12, batch_size=8) == plain


def test_leaves_no_trace(tokenizer: PreTrainedTokenizerFast, new_model: Build) -> None:
    model = new_model().train()
    side, pad = tokenizer.padding_side, tokenizer.pad_token
    state = torch.get_rng_state()
    generate(model, tokenizer, PROMPTS, max_new_tokens=3, batch_size=2, samples=2, temperature=1.0)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert (tokenizer.padding_side, tokenizer.pad_token) == (side, pad)
    model.eval()
    generate(model, tokenizer, PROMPTS, max_new_tokens=3, batch_size=2)
    assert not model.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_progress_counts_prompts(tokenizer: PreTrainedTokenizerFast, new_model: Build) -> None:
    seen: list[tuple[int, int]] = []
    generate(
        new_model(),
        tokenizer,
        PROMPTS,
        max_new_tokens=2,
        batch_size=4,
        samples=2,
        temperature=1.0,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_no_prompts(tokenizer: PreTrainedTokenizerFast, new_model: Build) -> None:
    assert generate(new_model(), tokenizer, [], max_new_tokens=2, batch_size=4) == []


def test_out_of_memory_names_the_setting(
    tokenizer: PreTrainedTokenizerFast, new_model: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, "decode", full)
    model = new_model().train()
    with pytest.raises(ResourceError, match=r"evaluation\.batch_size"):
        generate(model, tokenizer, PROMPTS, max_new_tokens=2, batch_size=4)
    assert model.training


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["<think>", "a", "</think>", "<|end|>"], "<think> a </think>"),
        (["a", "<|user|>", "b", "<|also|>"], "a <|user|> b"),
        (["a", "<|pad|>", "b"], "a b"),
        (["<|end|>"], ""),
        ([], ""),
    ],
    ids=["tags-that-are-special", "a-turn-that-is-none", "padding", "nothing-but-an-end", "nothing"],
)
def test_only_ends_and_padding_are_cut_from_what_a_completion_says(words: list[str], read: str) -> None:
    names = ["<|pad|>", "<|end|>", "<|also|>", "<|user|>", "<think>", "</think>", "a", "b"]
    assert completion_text(word_tokenizer(names, special=6), [names.index(word) for word in words], {1, 2}) == read
