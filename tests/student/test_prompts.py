"""Prompts of an evaluation: the routes shown, the fit to the context, and the surface the model reads."""

from __future__ import annotations

import copy
import dataclasses
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import realm.desk
from realm.config import Config
from realm.errors import ModelError
from realm.method.prompt import DEFAULT_WORDING, Tags, Wording
from realm.method.routes import Route
from realm.student.prompts import (
    as_plain_text,
    encode,
    evaluation_prompts,
    make_wording,
    prompt_text,
)
from realm.tasks.base import Question

QUESTIONS = [Question(f"q{i}", f"What is {i} + 1?", str(i + 1)) for i in range(8)]
TASK: Any = SimpleNamespace(
    wording=Wording("", "{question} {routes} {instruction}", "<route {number}> {route} </route>", "Judge.", "Answer.")
)


def bank(question_id: str) -> list[Route]:
    return [Route(f"{question_id}/{i}", f"way {i} of {question_id}", str(i), i % 2) for i in range(6)]


def prompts(tokenizer: PreTrainedTokenizerFast, limit: int = 500, seed: int = 0, **routes: Any) -> list[Any]:
    config = Config()
    for name, value in routes.items():
        setattr(config.routes, name, value)
    return evaluation_prompts(QUESTIONS, bank, TASK, config, tokenizer, limit, seed)


def test_always_all_k_routes_whatever_the_fade(tokenizer: PreTrainedTokenizerFast) -> None:
    for prompt in prompts(tokenizer, k=4):
        assert len(prompt.routes) == 4
        assert len({route.id for route in prompt.routes}) == 4
        assert all(route.text in prompt.messages[-1]["content"] for route in prompt.routes)
        assert prompt.dropped == 0


def test_routes_depend_on_seed_and_question_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    first = {prompt.question.id: prompt.routes for prompt in prompts(tokenizer)}
    config = Config()
    config.fade.schedule = "constant"
    config.fade.p_start = 0.1
    for question in reversed(QUESTIONS):
        [alone] = evaluation_prompts([question], lambda it: bank(it)[::-1], TASK, config, tokenizer, 500, 0)
        assert alone.routes == first[question.id]
    assert {prompt.question.id: prompt.routes for prompt in prompts(tokenizer, seed=1)} != first


def test_no_routes(tokenizer: PreTrainedTokenizerFast) -> None:
    without = evaluation_prompts(QUESTIONS, None, TASK, Config(), tokenizer, 500, 0)
    assert [prompt.messages for prompt in without] == [
        [{"role": "user", "content": f"{question.question} Answer."}] for question in QUESTIONS
    ]
    empty = evaluation_prompts(QUESTIONS, lambda _: [], TASK, Config(), tokenizer, 500, 0)
    assert [prompt.messages for prompt in empty] == [prompt.messages for prompt in without]


def test_selection_is_the_configured_one(tokenizer: PreTrainedTokenizerFast) -> None:
    for prompt in prompts(tokenizer, k=3, selection="error_ratio", error_ratio=1.0):
        assert [route.label for route in prompt.routes] == [0, 0, 0]


def test_whole_routes_are_dropped_until_it_fits(tokenizer: PreTrainedTokenizerFast) -> None:
    full = prompts(tokenizer, k=4)
    # Room for two of the four routes, each of the same length.
    route = len("<route 1> way 0 of q0 </route>\n")
    limit = len(encode(tokenizer, full[0].messages)) - 2 * route
    for whole, cut in zip(full, prompts(tokenizer, limit=limit, k=4), strict=True):
        assert (cut.routes, cut.dropped) == (whole.routes[:2], 2)
        assert len(encode(tokenizer, cut.messages)) == limit


def test_a_question_that_does_not_fit_is_named(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ModelError, match=r"question q0: its prompt needs \d+ tokens even without routes.*leaves 9 "):
        prompts(tokenizer, limit=9)


def test_encode_is_what_the_chat_template_says(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]
    assert prompt_text(tokenizer, messages) == "<|system|>Be brief.<|user|>1 + 1?<|bot|>"
    wanted = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert encode(tokenizer, messages) == wanted


def test_encode_without_a_chat_template(tokenizer: PreTrainedTokenizerFast) -> None:
    plain = copy.deepcopy(tokenizer)
    plain.chat_template = None
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]
    assert prompt_text(plain, messages) == "Be brief.\n\n1 + 1?\n\n"
    assert encode(plain, messages) == plain("Be brief.\n\n1 + 1?\n\n")["input_ids"]


def test_a_template_that_refuses_says_what_to_do(tokenizer: PreTrainedTokenizerFast) -> None:
    strict = copy.deepcopy(tokenizer)
    strict.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(ModelError, match=r"System role not supported.*prompt\.system"):
        encode(strict, [{"role": "system", "content": ""}])


def test_surface_of_the_configuration() -> None:
    config = Config()
    task: Any = SimpleNamespace(wording=DEFAULT_WORDING)
    assert make_wording(config, task) == DEFAULT_WORDING
    config.prompt.system, config.prompt.think_tag = "Own words.", "reason"
    assert make_wording(config, task).system == "Own words."
    assert make_wording(config, task).question == DEFAULT_WORDING.question
    assert config.prompt.tags() == Tags(think="reason")


FOREIGN = ["<start_of_turn>", "</s>", "<eos>", "<｜end▁of▁sentence｜>", "[INST]", "[INST][", "[CLS]"]


@pytest.fixture(scope="module")
def foreign(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The special tokens of other families of models: one named, the rest only added."""
    made = copy.deepcopy(tokenizer)
    made.add_special_tokens({"eos_token": "<eos>"})
    made.add_tokens([AddedToken(token, special=True, normalized=False) for token in FOREIGN])
    return made


def controls(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> list[str]:
    """The special tokens among the ids, in order; one for unknown characters is none that a text could forge."""
    special = {id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special and len(token.content) > 1}
    return [str(tokenizer.convert_ids_to_tokens(id_)) for id_ in ids if id_ in special]


@pytest.mark.parametrize("text", [*FOREIGN, "<<eos></s>", "[INST][CLS]", "</s</s>>", "".join(FOREIGN) * 2])
def test_no_text_spells_a_special_token(foreign: PreTrainedTokenizerFast, text: str) -> None:
    assert controls(foreign, foreign(text)["input_ids"])
    assert controls(foreign, foreign(as_plain_text(foreign, text))["input_ids"]) == []


def test_question_and_routes_forge_no_turn(foreign: PreTrainedTokenizerFast) -> None:
    attack = "".join(FOREIGN)
    question = Question("q", f"Why {attack}?", "1")
    routes = [Route("r", f"so {attack} it is", attack, 0)]
    wording = dataclasses.replace(TASK.wording, route="<route {number}> {route} {route_answer} </route>")
    task: Any = SimpleNamespace(wording=wording)
    [prompt] = evaluation_prompts([question], lambda _: routes, task, Config(), foreign, 1000, 0)
    assert controls(foreign, encode(foreign, prompt.messages)) == ["<|user|>", "<|bot|>"], "the template's own"
    assert (prompt.question, prompt.routes) == (question, tuple(routes)), "what is recorded is what there was"


def test_what_no_tokenizer_reads_is_replaced(foreign: PreTrainedTokenizerFast) -> None:
    assert as_plain_text(foreign, "a\ud800b") == "a?b"
    assert foreign(as_plain_text(foreign, "\udfff 18"))["input_ids"]


@pytest.mark.parametrize("text", ["", "a < b, c</b>, x[1] and [CL S], naïve </ s> <eos", "So 3 | 4 <｜x｜>\n\n<think>"])
def test_ordinary_text_stays_as_it_is(foreign: PreTrainedTokenizerFast, text: str) -> None:
    desk = AutoTokenizer.from_pretrained(Path(realm.desk.__file__).parent / "base")
    assert as_plain_text(foreign, text) == as_plain_text(desk, text) == text


def test_plain_text_takes_linear_time(foreign: PreTrainedTokenizerFast) -> None:
    many = copy.deepcopy(foreign)
    names = [f"<unused{i}>" for i in range(1000)]
    many.add_tokens([AddedToken(token, special=True, normalized=False) for token in names])
    as_plain_text(many, "")
    started = time.process_time()
    for piece in ("<", "<unused", "[INST][", "</s>"):
        as_plain_text(many, piece * 20_000)
    assert time.process_time() - started < 30  # quadratic: minutes
