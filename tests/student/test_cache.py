"""Decoding with prompts held once gives the scores of decoding with prompts repeated, and is what really happens."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from realm.student import cache
from realm.student.decode import decode
from realm.student.ways import taken, ways
from tests.training.decoders import FAMILIES

VOCABULARY, END, LENGTH = 41, 1, 12
PROMPTS = [[5, 6, 7, 8, 9, 10, 11], [12, 13], [14, 15, 16], [17, 18, 19, 20]]
REPEATS = [5, 1, 3, 2]


def model_of(family: str = "qwen3", **settings: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    model_class, config_class = FAMILIES[family]
    sizes = {
        "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "eos_token_id": END,
        "bos_token_id": None, "pad_token_id": 0, "initializer_range": 0.3,
    }  # fmt: skip
    if family != "smollm3":
        sizes["head_dim"] = 8
    model: PreTrainedModel = model_class(config_class(**{**sizes, **settings}))
    return model.eval()


def decoded(
    model: PreTrainedModel,
    prompts: list[list[int]] = PROMPTS,
    repeats: list[int] = REPEATS,
    given: list[list[int]] | None = None,
) -> tuple[list[list[int]], dict[tuple[int, int], torch.Tensor]]:
    """Rows that end one after the other, so that groups shrink and leave; and every score, by (row, step).

    `given`: the tokens to choose, whatever the scores: where two are nearly equal, rounding would choose.
    """
    scores: dict[tuple[int, int], torch.Tensor] = {}

    def pick(found: torch.Tensor, rows: torch.Tensor, step: int) -> torch.Tensor:
        scores.update({(row, step): score for row, score in zip(rows.tolist(), found, strict=True)})
        if given is not None:
            return torch.tensor([given[row][step] for row in rows.tolist()])
        # Not the likeliest: members of a group must differ.
        chosen = 2 + (found.argsort(-1)[torch.arange(len(rows)), -1 - rows % 3]) % (VOCABULARY - 2)
        ends = step == (3 + 5 * rows) % LENGTH
        return torch.where(ends, END, chosen)

    return decode(model, prompts, repeats, pad=0, ends={END}, max_new_tokens=LENGTH, pick=pick), scores


def repeated(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Any:
    """The same with a plain cache."""
    with monkeypatch.context() as patch:
        patch.setattr("realm.student.decode.shareable", lambda *_: False)
        return decoded(model, **more)


Scores = dict[tuple[int, int], torch.Tensor]


def assert_close(found: Scores, expected: Scores, atol: float = 2e-5, rtol: float = 1e-5) -> None:
    assert found.keys() == expected.keys()
    for place, score in found.items():
        torch.testing.assert_close(score, expected[place], atol=atol, rtol=rtol)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_scores_are_those_of_repeated_prompts(family: str, heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(family, num_key_value_heads=heads)
    tokens, scores = decoded(model)
    assert ways(model)[0] == taken(model) == "shared"
    expected = repeated(model, monkeypatch, given=tokens)[1]
    assert len({len(row) for row in tokens}) > 4, "rows must have ended at different times"
    assert_close(scores, expected)


@pytest.mark.parametrize(
    ("prompts", "repeats"), [([PROMPTS[0]], [4]), ([[3], [4]], [2, 2]), (PROMPTS[:2], [1, 6])], ids=str
)
def test_other_batches(prompts: list[list[int]], repeats: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """One group, prompts of one token, prompts without padding, a group of one."""
    model = model_of()
    tokens, scores = decoded(model, prompts, repeats)
    assert_close(scores, repeated(model, monkeypatch, prompts=prompts, repeats=repeats, given=tokens)[1])


def test_bfloat16_differs_by_rounding_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of().bfloat16()
    tokens, scores = decoded(model)
    assert ways(model)[0] == taken(model) == "shared"
    assert_close(scores, repeated(model, monkeypatch, given=tokens)[1], atol=0.15, rtol=0.05)


def test_a_forward_that_rounds_by_itself_is_held_to_its_own_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """In training accelerate wraps the forward of float32 weights: 16 bits inside, 32 handed on, no autocast around."""
    model = model_of(num_hidden_layers=16, initializer_range=0.05)
    forward = model.forward

    def wrapped(*args: Any, **options: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            found = forward(*args, **options)
        found.logits = found.logits.float()
        return found

    monkeypatch.setattr(model, "forward", wrapped)
    decoded(model)
    assert ways(model)[0] == taken(model) == "shared"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("repeats", [REPEATS, [1, 1, 1, 1]], ids=str)
def test_what_prompts_have_in_common_is_read_once(
    family: str, repeats: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(family, max_position_embeddings=128)
    prompts = [[2 + place % 31 for place in range(64)] + prompt for prompt in PROMPTS]
    read: list[tuple[int, ...]] = []
    seen = model.get_input_embeddings().register_forward_hook(lambda _, inputs, __: read.append(tuple(inputs[0].shape)))
    tokens, scores = decoded(model, prompts, repeats)
    seen.remove()
    assert read[:2] == [(1, 64), (4, max(map(len, PROMPTS)))]
    monkeypatch.setattr("realm.student.decode._COMMON", 65)
    assert_close(scores, decoded(model, prompts, repeats, tokens)[1])


@pytest.mark.parametrize("prompt", [[*range(2, 40), *range(2, 40)], [3]], ids=["equal prompts", "one token each"])
def test_prompts_that_end_within_what_they_have_in_common(prompt: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The last token of each is left to be read with the others: its scores choose the first token."""
    model = model_of(max_position_embeddings=128)
    prompts = [prompt, prompt[:70], [*prompt, 5]]
    tokens, scores = decoded(model, prompts, [1, 2, 1])
    monkeypatch.setattr("realm.student.decode._COMMON", 10_000)
    assert_close(scores, decoded(model, prompts, [1, 2, 1], tokens)[1])


def test_a_prompt_is_held_once_and_leaves_with_its_last_row(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[tuple[int, int]] = []
    attend = cache._attend

    def spy(module: Any, query: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
        layer = key.realm_layer
        assert len(layer.places.owner) == len(query) == len(key)
        held.append((len(layer.prompt_keys), len(query)))
        return attend(module, query, key, *args, **kwargs)

    monkeypatch.setitem(cache.AttentionInterface._global_mapping, cache._NAME, spy)
    decoded(model_of())
    assert held[0] == (len(PROMPTS), sum(REPEATS) - 1)  # one row ends with its first token
    assert held == sorted(held, reverse=True)
    assert held[-1][0] < len(PROMPTS)


def test_nothing_of_a_cache_outlives_its_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Any]] = []

    class Watched(cache.SharedCache):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.extend(weakref.ref(layer) for layer in self.layers)

    monkeypatch.setattr("realm.student.decode.SharedCache", Watched)
    gc.disable()  # so that a circle of references would show
    try:
        decoded(model_of())
        assert made and all(layer() is None for layer in made)
    finally:
        gc.enable()


def test_any_failure_takes_the_plain_path_and_the_models_own_attention_is_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_of()
    expected = decoded(model)[0]
    assert model.config._attn_implementation == "sdpa"
    monkeypatch.setattr(cache.SharedCache, "update", lambda *_: 1 / 0)
    assert decoded(model)[0] == decoded(model)[0] == expected
    assert model.config._attn_implementation == "sdpa"
    assert taken(model) == "batch"
    assert caplog.text.count("with their prompts repeated, which is slower: ZeroDivisionError") == 1


def test_what_picks_is_not_blamed_on_the_path() -> None:
    """Nor memory: the path would be given up for good."""
    model = model_of()
    for error in (ValueError("pick"), torch.OutOfMemoryError("CUDA out of memory"), KeyboardInterrupt()):

        def fail(*_: Any, error: BaseException = error) -> torch.Tensor:
            raise error

        with pytest.raises(type(error)):
            decode(model, PROMPTS, REPEATS, pad=0, ends={END}, max_new_tokens=LENGTH, pick=fail)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache.SharedCache, "update", fail)
        with pytest.raises(KeyboardInterrupt):
            decoded(model)
    assert ways(model)[0] == "shared"


def test_scores_that_differ_are_noticed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    model = model_of()
    expected = repeated(model, monkeypatch)[0]
    attend = cache._attend
    calls = []

    def wrong(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return attend(*args, **{**kwargs, "scaling": 0.05})

    monkeypatch.setitem(cache.AttentionInterface._global_mapping, cache._NAME, wrong)
    with caplog.at_level(logging.INFO, logger="realm"):
        assert decoded(model)[0] == expected
    assert "with their prompts repeated, which is slower: scores differ by" in caplog.text
    once = len(calls)
    assert once > 0
    assert decoded(model)[0] == expected
    assert len(calls) == once, "never again"


def test_what_it_does_not_know_takes_the_plain_path(caplog: pytest.LogCaptureFixture) -> None:
    eager = model_of(attn_implementation="eager")
    tokens, scores = decoded(model_of())
    assert_close(decoded(eager, given=tokens)[1], scores)
    assert taken(eager) == "batch"
    dropping = model_of(attention_dropout=0.5).train()
    decoded(dropping)
    assert "shared" not in ways(dropping)
    assert "shared prompts do not know (keys changed after the cache, dropout" in caplog.text
