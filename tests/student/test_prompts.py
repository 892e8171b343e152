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
from realm.method.prompt import DEFAULT_WORDING, EXAMPLES, Example, Tags, Wording, messages
from realm.method.routes import Route
from realm.student.prompts import (
    encode,
    evaluation_prompts,
    make_wording,
    plain_text,
    presented,
    prompt_text,
    settled,
)
from realm.tasks.base import Question
from tests.tiny import tiny_tokenizer, word_tokenizer

NONE = Config.model_validate({"prompt": {"examples": "none"}})
QUESTIONS = [Question(f"q{i}", f"What is {i} + 1?", str(i + 1)) for i in range(8)]
TASK: Any = SimpleNamespace(
    wording=Wording("", "{question} {routes} {instruction}", "<route {number}> {route} </route>", "Judge.", "Answer.")
)


def bank(question_id: str) -> list[Route]:
    return [Route(f"{question_id}/{i}", f"way {i} of {question_id}", str(i), i % 2) for i in range(6)]


def prompts(tokenizer: PreTrainedTokenizerFast, limit: int = 500, seed: int = 0, **routes: Any) -> list[Any]:
    config = NONE.model_copy(deep=True)
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
    config = NONE.model_copy(deep=True)
    config.fade.schedule = "constant"
    config.fade.p_start = 0.1
    for question in reversed(QUESTIONS):
        [alone] = evaluation_prompts([question], lambda it: bank(it)[::-1], TASK, config, tokenizer, 500, 0)
        assert alone.routes == first[question.id]
    assert {prompt.question.id: prompt.routes for prompt in prompts(tokenizer, seed=1)} != first


def test_no_routes(tokenizer: PreTrainedTokenizerFast) -> None:
    without = evaluation_prompts(QUESTIONS, None, TASK, NONE, tokenizer, 500, 0)
    assert [prompt.messages for prompt in without] == [
        [{"role": "user", "content": f"{question.question} Answer."}] for question in QUESTIONS
    ]
    empty = evaluation_prompts(QUESTIONS, lambda _: [], TASK, NONE, tokenizer, 500, 0)
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


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[0]['content'] + 1 }}",
        "{{ 1 // (messages | length - 1) }}",
        "{{ messages[0]['content'].format(*[]) }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{{ messages[0].content.encode('\x1b[31m\nascii') }}",
    ],
)
def test_a_template_that_fails_is_told_in_one_line(tokenizer: PreTrainedTokenizerFast, template: str) -> None:
    failing = copy.deepcopy(tokenizer)
    failing.chat_template = template
    with pytest.raises(ModelError, match=r"chat template .*\((\w+Error): .*\)\. It .* mend") as found:
        encode(failing, [{"role": "user", "content": "{}"}])
    assert str(found.value).isprintable()


def test_surface_of_the_configuration(tokenizer: PreTrainedTokenizerFast) -> None:
    config = NONE.model_copy(deep=True)
    task: Any = SimpleNamespace(wording=DEFAULT_WORDING)
    assert make_wording(config, task, tokenizer) == DEFAULT_WORDING
    config.prompt.system, config.prompt.think_tag = "Own words.", "reason"
    assert make_wording(config, task, tokenizer).system == "Own words."
    assert make_wording(config, task, tokenizer).question == DEFAULT_WORDING.question
    assert config.prompt.tags() == Tags(think="reason")


def test_a_student_that_does_not_know_the_form_is_shown_examples(tokenizer: PreTrainedTokenizerFast) -> None:
    own = (Example("Two and two?", "2 + 2 = 4", "4"),)
    task: Any = SimpleNamespace(wording=DEFAULT_WORDING)
    worded: Any = SimpleNamespace(wording=dataclasses.replace(DEFAULT_WORDING, examples=own))

    def shown(task: Any = task, tokenizer: Any = tokenizer, **prompt: Any) -> tuple[Example, ...]:
        config = Config.model_validate({"prompt": prompt})
        found = make_wording(config, task, tokenizer).examples
        again = settled(config, task, tokenizer)
        assert make_wording(again, task, tiny_tokenizer()).examples == found, "written down, it no longer depends"
        assert again.model_dump() == Config.model_validate(again.model_dump()).model_dump()
        return found

    assert shown() == EXAMPLES and shown(worded) == own
    assert shown(tokenizer=tiny_tokenizer()) == () == shown(worded, tiny_tokenizer()), "made for the form"
    unknown = word_tokenizer(["<|pad|>", "<|end|>", "2"], special=2)
    assert shown(tokenizer=unknown) == EXAMPLES, "one token, of whatever it does not know"
    assert shown(execute=True) == (), "where programs are wanted"
    assert shown(examples="none") == () == shown(worded, examples="none") == shown(examples=[])
    given = [dataclasses.asdict(one) for one in own]
    assert shown(examples=given) == own == shown(tokenizer=tiny_tokenizer(), examples=given)


def test_examples_that_nobody_asked_for_take_half_of_a_prompt_at_most(tokenizer: PreTrainedTokenizerFast) -> None:
    task: Any = SimpleNamespace(wording=DEFAULT_WORDING)
    asked = messages("?", (), make_wording(Config(), task, tokenizer), Tags())
    room = 2 * len(encode(tokenizer, asked))
    for limit, shown in ((room, EXAMPLES), (room - 1, ())):
        assert make_wording(Config(), task, tokenizer, limit).examples == shown
        settings = settled(Config(), task, tokenizer, limit)
        assert make_wording(settings, task, tokenizer).examples == shown
        prompts = evaluation_prompts([Question("q", "?", "1")], None, task, Config(), tokenizer, limit, 0)
        assert len(prompts[0].messages) == 2 + 2 * len(shown)
    given = Config.model_validate({"prompt": {"examples": [dataclasses.asdict(one) for one in EXAMPLES]}})
    assert make_wording(given, task, tokenizer, room - 1).examples == EXAMPLES, "as they were asked for"


def test_who_is_shown_examples_is_told_the_form(tokenizer: PreTrainedTokenizerFast) -> None:
    """The desk's wording does not name it: its own student knows."""
    shown, known = (make_wording(Config(), TASK, one) for one in (tokenizer, tiny_tokenizer()))
    assert (shown.question, shown.without_routes) == (TASK.wording.question, DEFAULT_WORDING.without_routes)
    assert shown.with_routes == DEFAULT_WORDING.with_routes and known == TASK.wording
    for key, text in [
        ("without_routes", "Into <{answer}>."),
        ("without_routes", "Into <answer>."),
        ("system", "<{answer}>"),
    ]:
        own: Any = SimpleNamespace(wording=dataclasses.replace(TASK.wording, **{key: text}))
        found = make_wording(Config(), own, tokenizer)
        assert (getattr(found, key), found.with_routes) == (text, TASK.wording.with_routes)


def test_the_tokens_of_examples_count(tokenizer: PreTrainedTokenizerFast) -> None:
    def asked(config: Config, limit: int = 4000) -> Any:
        return evaluation_prompts(QUESTIONS[:1], bank, TASK, config, tokenizer, limit, 0)[0]

    given = Config.model_validate({"prompt": {"examples": [dataclasses.asdict(one) for one in EXAMPLES]}})
    plain, shown = asked(NONE), asked(given)
    assert shown.ids == encode(tokenizer, shown.messages) and len(shown.messages) == 1 + 2 * len(EXAMPLES)
    assert len(shown.ids) - len(plain.ids) > sum(len(one.question + one.think) for one in EXAMPLES)
    assert shown.dropped == 0 < asked(given, len(shown.ids) - 1).dropped
    with pytest.raises(ModelError, match=r"its prompt needs .* show no examples \(prompt\.examples none\), or leave"):
        asked(given, len(plain.ids))
    with pytest.raises(ModelError, match=r"max_completion_length\), or leave"):
        asked(NONE, 9)


@pytest.mark.parametrize(
    "examples",
    [
        "off",
        {"question": "?"},
        [{"question": "?", "answer": "4"}],
        [dict.fromkeys(("question", "think", "answer"), " ")],
        [dict.fromkeys(("question", "think", "answer"), 10)],
        [dict.fromkeys(("question", "think", "answer", "note"), "?")],
    ],
)
def test_half_an_example_is_none(examples: Any) -> None:
    with pytest.raises(ValueError, match=r"1 validation error(?s:.*)examples(?s:.*)expected auto, none, or a list of"):
        Config.model_validate({"prompt": {"examples": examples}})


SYSTEM = {"role": "system", "content": "Be brief."}
TURNS = [
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "content": "<think> 2 + 2 = 4 </think> <answer> 4 </answer>"},
    {"role": "user", "content": "1 + 1?"},
]
FOLDED = [{"role": "user", "content": "Be brief.\n\n2 + 2?"}, *TURNS[1:]]
JOINED = [{"role": "user", "content": f"Be brief.\n\n2 + 2?\n\n{TURNS[1]['content']}\n\n1 + 1?"}]
START = "{% for m in messages %}"
REFUSES = START + "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
END = "<|{{ m.role }}|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}"
THOUGHTLESS = END.replace("m.content", "m.content if m.role == 'user' else m.content.split('</think>')[-1]")


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        (START + END, [SYSTEM, *TURNS]),
        # Gemma 2
        (REFUSES + END, FOLDED),
        ("{% set messages = messages | rejectattr('role', 'eq', 'system') | list %}" + START + END, FOLDED),
        # and writes a system message of its own
        ("system: Hi {% set messages = messages | rejectattr('role', 'eq', 'system') | list %}" + START + END, FOLDED),
        # Gemma 3 puts it there itself
        (
            "{% set head = messages[0].content + '\n\n' %}{% for m in messages[1:] %}<|{{ m.role }}|>"
            "{{ head if loop.first }}{{ m.content | trim }}{% endfor %}<|bot|>",
            [SYSTEM, *TURNS],
        ),
        # Qwen 3, DeepSeek R1
        (START + THOUGHTLESS, JOINED),
        (
            START + "{% if m.role != 'user' %}{{ raise_exception('user messages only') }}{% endif %}" + END,
            JOINED,
        ),
    ],
)  # fmt: skip
def test_what_a_template_has_no_role_for_is_said_by_the_user(
    tokenizer: PreTrainedTokenizerFast, template: str, wanted: list[Any]
) -> None:
    made = copy.deepcopy(tokenizer)
    made.chat_template = template
    assert presented(made, [SYSTEM, *TURNS]) == wanted
    assert presented(made, wanted) == wanted, "once is enough"
    assert all(part["content"] in prompt_text(made, wanted) for part in wanted)
    (prompt,) = evaluation_prompts(QUESTIONS[:1], None, TASK, Config(), made, 4000, 0)
    assert prompt.ids == encode(made, prompt.messages) and EXAMPLES[0].think in prompt_text(made, prompt.messages)


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
    assert controls(foreign, foreign(plain_text(foreign)(text))["input_ids"]) == []


def test_question_and_routes_forge_no_turn(foreign: PreTrainedTokenizerFast) -> None:
    attack = "".join(FOREIGN)
    question = Question("q", f"Why {attack}?", "1")
    routes = [Route("r", f"so {attack} it is", attack, 0)]
    wording = dataclasses.replace(TASK.wording, route="<route {number}> {route} {route_answer} </route>")
    task: Any = SimpleNamespace(wording=wording)
    [prompt] = evaluation_prompts([question], lambda _: routes, task, NONE, foreign, 1000, 0)
    assert controls(foreign, encode(foreign, prompt.messages)) == ["<|user|>", "<|bot|>"], "the template's own"
    assert (prompt.question, prompt.routes) == (question, tuple(routes)), "what is recorded is what there was"


def test_no_example_forges_a_turn(foreign: PreTrainedTokenizerFast) -> None:
    """Its text stays in the configuration as it is given, which a run that goes on is compared with."""
    attack = "".join(FOREIGN)
    given = [{"question": f"Why {attack}?", "think": f"So {attack} it is {{k}}.", "answer": f"{{question}} {attack}"}]
    config = Config.model_validate({"prompt": {"examples": given}})
    [prompt] = evaluation_prompts([Question("q", "Why not?", "1")], None, TASK, config, foreign, 1000, 0)
    assert controls(foreign, prompt.ids) == ["<|user|>", "<|user|>", "<|bot|>"], "the template's own"
    said = prompt_text(foreign, prompt.messages)
    assert said.count("Why not?") == 1 and "{k}." in said and "{question} ‹" in said
    assert settled(config, TASK, foreign).prompt.examples == given


def test_what_no_tokenizer_reads_is_replaced(foreign: PreTrainedTokenizerFast) -> None:
    assert plain_text(foreign)("a\ud800b") == "a?b"
    assert foreign(plain_text(foreign)("\udfff 18"))["input_ids"]


@pytest.mark.parametrize("text", ["", "a < b, c</b>, x[1] and [CL S], naïve </ s> <eos", "So 3 | 4 <｜x｜>\n\n<think>"])
def test_ordinary_text_stays_as_it_is(foreign: PreTrainedTokenizerFast, text: str) -> None:
    desk = AutoTokenizer.from_pretrained(Path(realm.desk.__file__).parent / "base")
    assert plain_text(foreign)(text) == plain_text(desk)(text) == text


def test_plain_text_takes_linear_time(foreign: PreTrainedTokenizerFast) -> None:
    many = copy.deepcopy(foreign)
    names = [f"<unused{i}>" for i in range(1000)]
    many.add_tokens([AddedToken(token, special=True, normalized=False) for token in names])
    plain_text(many)("")
    started = time.process_time()
    for piece in ("<", "<unused", "[INST][", "</s>"):
        plain_text(many)(piece * 20_000)
    assert time.process_time() - started < 30  # quadratic: minutes
