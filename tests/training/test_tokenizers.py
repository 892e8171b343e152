"""Students whose tokenizers, templates and generation settings are as the world has them."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, FalconH1Config, FalconH1ForCausalLM, Qwen2Config, Qwen2ForCausalLM
from transformers.utils import chat_template_utils

from realm.bank.store import Bank
from realm.config import Config
from realm.errors import ConfigError, ModelError
from realm.files import read_jsonl
from realm.method.completion import parse
from realm.student.generate import completion_text
from realm.student.load import load, load_tokenizer
from realm.student.prompts import encode, encode_text, present, prompt_text
from realm.student.renderer import Renderer
from realm.traces.examples import tokenize
from realm.training.prepare import prepare
from realm.training.weighted import training_rows
from tests.tiny import CHAT_TEMPLATE, WORDS, TinyTask, figures, go, sft_examples, tiny_config, tiny_tokenizer

TAGS = [f"<{slash}{tag}>" for tag in ("think", "answer", "scores") for slash in ("", "/")]


def short(folder: Path, student: Path, **training: Any) -> Path:
    """The folder of a run of three steps of RL."""
    return go(tiny_config(folder, student, **{"recipe": "realm-r1", "rl": {"steps": 3}, **training})).path


def copied(student: Path, folder: Path, tokenizer: Any) -> Path:
    AutoModelForCausalLM.from_pretrained(student).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, student: Path) -> Path:
    return short(tmp_path_factory.mktemp("plain"), student)


@pytest.mark.parametrize("described", [False, True], ids=["plain", "tokenizer-that-describes-responses"])
def test_tags_that_are_special_tokens_are_seen(tmp_path: Path, student: Path, plain: Path, described: bool) -> None:
    """The ids are the same, so everything is: the run with the tags as plain text, row for row."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [AddedToken(tag, special=True, normalized=False) for tag in TAGS]}
    )
    if described:
        tokenizer.response_schema = {
            "type": "object",
            "properties": {
                "role": {"const": "assistant"},
                "content": {"type": "string", "x-regex": r"</think>(.*)$"},
                "thinking": {"type": "string", "x-regex": r"^(.*?)</think>"},
            },
        }
    special = short(tmp_path / "special", copied(student, tmp_path / "tags", tokenizer))
    assert set(TAGS) <= set(tokenizer.all_special_tokens)
    for file in ("metrics.jsonl", "evaluations.jsonl", "completions.jsonl"):
        assert figures(special, file) == figures(plain, file), file
    assert read_jsonl(special / "metrics.jsonl")[-1]["parse_failures"] < 0.5


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"do_sample": False, "temperature": 0.6, "top_p": 0.9}, {"do_sample": False}),
        ({"temperature": 0.6, "top_k": 5, "min_p": 0.1}, {}),
        ({"do_sample": False, "early_stopping": True, "length_penalty": 0.6, "num_beams": 1}, {}),
        ({"penalty_alpha": 0.6, "top_k": 4}, {"penalty_alpha": 0.6}),
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.9}, {"temperature": 0.6, "top_p": 0.9}),
    ],
    ids=["greedy", "unsaid", "no-beams", "contrastive", "sampled"],
)
@pytest.mark.parametrize("lora", [0, 4])
def test_generation_settings_that_do_not_count(
    tmp_path: Path, student: Path, settings: dict[str, Any], kept: dict[str, Any], lora: int
) -> None:
    """The trainer sets the padding token, and what has been changed transformers saves only where all of it counts."""
    folder = copied(student, tmp_path / "student", tiny_tokenizer())
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 1, **settings}))
    run = short(tmp_path, folder, recipe="realm-zero", rl={"steps": 1}, eval_questions=0, lora={"r": lora})
    found = json.loads((run / "model/generation_config.json").read_text())
    assert {name: found[name] for name in kept} == kept
    idle = settings.keys() - kept.keys() if not settings.get("do_sample") else set()
    assert not {name for name in idle - {"num_beams", "do_sample"} if found.get(name) is not None}


#: Weekdays are among the words of the tiny tokenizer.
DATED = "{% if strftime_now is defined %}is {{ strftime_now('%w') }} {% endif %}" + CHAT_TEMPLATE
#: As templates of reasoning models end a prompt.
OPENING = CHAT_TEMPLATE.replace("<|assistant|>{%", "<|assistant|> <think>\n{%")


def templated(student: Path, folder: Path, template: Any) -> Path:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return copied(student, folder, tokenizer)


class Tomorrow(datetime.datetime):
    @classmethod
    def now(cls, tz: Any = None) -> datetime.datetime:
        return datetime.datetime(2031, 7, 5, tzinfo=tz)  # a Saturday


def test_a_run_s_prompts_are_the_same_on_every_day(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = templated(student, tmp_path / "student", DATED)
    today = short(tmp_path / "today", folder)
    assert "date: '2025-01-01'" in (today / "config.yaml").read_text()
    monkeypatch.setattr(chat_template_utils, "datetime", Tomorrow)
    asked = [{"role": "user", "content": "?"}]
    assert prompt_text(load_tokenizer(folder), asked).startswith("is 6 "), "the clock is what is held off"
    later = short(tmp_path / "later", folder)
    for file in ("metrics.jsonl", "evaluations.jsonl", "completions.jsonl"):
        assert figures(later, file) == figures(today, file), file
    assert {row["prompt"][:5] for row in read_jsonl(later / "completions.jsonl")} == {"is 3 "}
    settings = Config.model_validate({"model": {"date": datetime.date(2025, 1, 5)}}).model
    assert prompt_text(load_tokenizer(folder, settings), asked).startswith("is 0 ")


@pytest.mark.parametrize(
    "format", ["%d %b %Y", "%Y-%m-%d", "%A, %-d %B %y", "%H:%M:%S", "%I:%M %p", "%j %w %U", "100 %% on %D", "", "%"]
)
def test_the_template_s_clock_reads_as_the_real_one(format: str) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "\n {{ strftime_now('FORMAT') }}|{% macro m() %}{{ strftime_now('%d') }}{% endmacro %}{{ m() }}"
    )
    tokenizer.chat_template = tokenizer.chat_template.replace("FORMAT", format)
    present(tokenizer, Config.model_validate({"model": {"date": "2024-02-09"}}).model)
    day = datetime.datetime(2024, 2, 9, 12)
    assert prompt_text(tokenizer, [{"role": "user", "content": "?"}]) == f"\n {day.strftime(format)}|09"


@pytest.mark.parametrize("value", ["today", "2025-13-01", "", 5])
def test_a_date_is_a_day(value: Any) -> None:
    with pytest.raises(ValueError, match="expected a day as 2025-01-31"):
        Config.model_validate({"model": {"date": value}})


def test_a_template_that_opens_the_thinking_is_gone_on_with(tmp_path: Path, student: Path, bank: Bank) -> None:
    """The tag is read once, whether the template writes it or the student does; RL reads the same surface."""
    # Qwen 3 without thinking writes an empty one: what the student thinks all the same is its own.
    emptied = CHAT_TEMPLATE.replace("<|assistant|>{%", "<|assistant|> <think> </think> {%")
    for name, template, own in (("opening", OPENING, 0), ("silent", CHAT_TEMPLATE, 1), ("emptied", emptied, 1)):
        folder = templated(student, tmp_path / name, template)
        config = tiny_config(tmp_path, folder, recipe="realm-r1")
        tokenizer = load(folder)[1]
        renderer = Renderer(config, TinyTask(), bank, tokenizer, 128)
        for example in sft_examples(config, renderer, TinyTask(), bank):
            row = training_rows(tokenize(renderer, [example]))[0][0]
            said = tokenizer.decode(row["input_ids"]).split()
            assert said.count("<think>") == said.count("</think>") == 1 + (name == "emptied"), said
            assert example.completion.count("<think>") == own
            taught = [token for token in row["labels"] if token != -100]
            assert parse(completion_text(tokenizer, taught, {1}), len(example.routes)).format_ok
    run = short(tmp_path / "run", tmp_path / "opening", sft={"steps": 20})
    assert read_jsonl(run / "metrics.jsonl")[-1]["parse_failures"] < 0.5
    assert all(row["prompt"].endswith("<think>\n") for row in read_jsonl(run / "completions.jsonl"))


def test_a_tokenizer_that_ends_every_text_does_not_end_prompts(tmp_path: Path, plain_student: Path) -> None:
    tokenizer = tiny_tokenizer(chat=False)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|user|> $A <|end|>", special_tokens=[("<|user|>", 2), ("<|end|>", 1)]
    )
    assert tokenizer("odd")["input_ids"][-1] == tokenizer.eos_token_id
    ids = encode(tokenizer, [{"role": "user", "content": "odd"}])
    assert ids == tokenizer.convert_tokens_to_ids(["<|user|>", "odd"])
    assert encode_text(tokenizer, "odd <|end|>")[-1] == tokenizer.eos_token_id, "where the text itself says so"
    bare = tiny_tokenizer(chat=False)
    bare.backend_tokenizer.post_processor = TemplateProcessing(single="<|user|> $A", special_tokens=[("<|user|>", 2)])
    ended = short(tmp_path / "ended", copied(plain_student, tmp_path / "a", tokenizer))
    silent = short(tmp_path / "silent", copied(plain_student, tmp_path / "b", bare))
    for file in ("metrics.jsonl", "evaluations.jsonl"):
        assert figures(ended, file) == figures(silent, file), file


@pytest.mark.parametrize(
    ("template", "arguments", "told"),
    [
        ("{{ level }} " + CHAT_TEMPLATE, {"level": 3}, ""),
        ("{{ level }} " + CHAT_TEMPLATE, {"levels": 3}, "a chat template that does not read levels"),
        ("{{ level }} " + CHAT_TEMPLATE, {"messages": []}, "messages is set by realm itself"),
        ("{{ level }} " + CHAT_TEMPLATE, {"add_generation_prompt": False}, "add_generation_prompt is set by realm"),
        (None, {"level": 3}, "the model has no chat template"),
        ({"default": "{{ level }} " + CHAT_TEMPLATE, "tool": "x"}, {"level": 3}, ""),
    ],
)
def test_arguments_of_the_template(
    tmp_path: Path, student: Path, bank: Bank, template: Any, arguments: dict[str, Any], told: str
) -> None:
    folder = templated(student, tmp_path / "student", template)
    config = tiny_config(tmp_path, folder, recipe="realm-r1", rl={"steps": 1})
    config.model.template_arguments = arguments
    if told:
        with pytest.raises(ConfigError, match=told):
            prepare(config, TinyTask(), bank)
        return
    assert all(row["prompt"].startswith("3 ") for row in read_jsonl(go(config).path / "completions.jsonl"))


def own_tokenizer(folder: Path) -> Path:
    """A Qwen2 model with a tokenizer of another kind, for which transformers builds a splitting of words itself."""
    torch.manual_seed(0)
    Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=128, eos_token_id=1, bos_token_id=None, pad_token_id=0,
        )
    ).save_pretrained(folder)  # fmt: skip
    tiny_tokenizer().save_pretrained(folder)
    return folder


def test_a_tokenizer_that_transformers_reads_otherwise_is_told_of(
    tmp_path: Path, student: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = own_tokenizer(tmp_path / "student")
    stated = tiny_tokenizer()("3 plus 4")["input_ids"]
    assert load_tokenizer(folder)("3 plus 4")["input_ids"] != stated
    assert (
        "transformers reads text as a Qwen2Tokenizer does" in caplog.text and "model.tokenizer to file" in caplog.text
    )
    caplog.clear()
    load_tokenizer(folder)
    load_tokenizer(student)
    assert not caplog.text, "once a file, and for none that is read as it says"

    config = tiny_config(tmp_path, folder, recipe="realm-r1", rl={"steps": 1}, sft={"steps": 1})
    config.model.tokenizer = "file"
    run = go(config)
    assert "transformers reads text" not in caplog.text
    assert load_tokenizer(run.path / "model", config.model)("3 plus 4")["input_ids"] == stated


def test_a_tokenizer_file_that_is_not_there(tmp_path: Path, student: Path) -> None:
    folder = copied(student, tmp_path / "student", tiny_tokenizer())
    (folder / "tokenizer.json").unlink()
    settings = Config.model_validate({"model": {"tokenizer": "file"}}).model
    with pytest.raises(ModelError, match=r"there is no tokenizer\.json; set it to auto"):
        load_tokenizer(folder, settings)


def test_layers_that_peft_refuses(tmp_path: Path, bank: Bank) -> None:
    """Without targets: the message names those that can be adapted, and with them it trains."""
    folder = tmp_path / "student"
    FalconH1ForCausalLM(
        FalconH1Config(
            vocab_size=len(WORDS), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=1, head_dim=16, mamba_d_ssm=32, mamba_n_heads=2, mamba_d_head=16, mamba_d_state=8,
            mamba_n_groups=1, eos_token_id=1, pad_token_id=0, bos_token_id=None, max_position_embeddings=128,
        )
    ).save_pretrained(folder)  # fmt: skip
    tiny_tokenizer().save_pretrained(folder)
    with pytest.raises(ConfigError, match=r"it is empty, and not every layer .*'out_proj' is incompatible") as refused:
        prepare(tiny_config(tmp_path, folder, lora={"r": 4}), TinyTask(), bank)
    named = re.search(r"e\.g\. \[(.*)\]\.$", str(refused.value))
    assert named is not None
    targets = named[1].split(", ")
    assert "out_proj" not in targets and {"q_proj", "in_proj"} <= set(targets)
    prepare(tiny_config(tmp_path, folder, lora={"r": 4, "targets": targets}), TinyTask(), bank)
