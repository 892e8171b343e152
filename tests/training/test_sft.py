from dataclasses import replace
from pathlib import Path

import pytest

from realm.bank.store import Bank
from realm.config import Config
from realm.errors import DataError
from realm.method.completion import parse
from realm.student.prompts import encode
from realm.student.renderer import Renderer
from realm.traces.examples import Example, tokenize
from realm.training.weighted import training_rows
from tests.tiny import CONTEXT, LENGTH, TinyTask, sft_examples, tiny_bank, tiny_config, tiny_tokenizer


def build(config: Config, task: TinyTask, bank: Bank, round_: int = 0, context: int = CONTEXT) -> list[Example]:
    return sft_examples(config, Renderer(config, task, bank, tiny_tokenizer(), context), task, bank, round_)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return tiny_config(tmp_path, tmp_path, recipe="realm-r1", sft={"steps": 30, "batch_size": 8})


def test_surface(config: Config, task: TinyTask, bank: Bank) -> None:
    """A right CoT is the thinking, its answer the gold, the labels of the routes shown the scores."""
    questions = {question.id: question for question in task.rows("train")}
    found = build(config, task, bank)
    assert len(found) == 240
    for example in found:
        completion = parse(example.completion, len(example.routes))
        assert completion.format_ok
        assert completion.think == example.taught.text
        assert completion.answer == questions[example.question_id].answer
        assert completion.scores == tuple(float(route.label) for route in example.routes)
        assert all(route.text in example.messages[-1]["content"] for route in example.routes)


@pytest.mark.parametrize("steps", [["bank", "right"], ["bank", "pam"], ["bank", "right", "explain"]])
def test_taught_cot_is_not_among_the_routes(config: Config, task: TinyTask, bank: Bank, steps: list[str]) -> None:
    """Whatever a step makes of its text."""
    config.training.sft.traces, config.training.rl.max_completion_length = steps, 60
    found = build(config, task, bank, context=CONTEXT + 60)
    for example in found:
        assert example.taught.id not in {route.id for route in example.routes}
    texts = {cot.id: cot.text for cot in bank.all()}
    assert any(example.taught.text != texts[example.taught.id] for example in found) == (steps[-1] != "right")


def test_routes_that_read_like_the_taught_cot_stay(config: Config, task: TinyTask, bank: Bank) -> None:
    """Otherwise a teacher whose right CoTs read alike would have mostly wrong ones shown, and scores taught by them."""
    for cot in bank.all():
        bank.append([replace(cot, id=f"{cot.id}/twin")])
    assert any(example.taught.text in {route.text for route in example.routes} for example in build(config, task, bank))


def test_number_of_routes(config: Config, task: TinyTask, bank: Bank) -> None:
    counts = [len(example.routes) for example in build(config, task, bank)]
    assert set(counts) == {0, 1, 2, 3}, "4 CoTs a question, of which one is taught"
    assert 0.4 < counts.count(0) / len(counts) < 0.6
    config.training.sft.empty_share = 1.0
    assert {len(example.routes) for example in build(config, task, bank)} == {0}


def test_guided_first(config: Config, task: TinyTask, bank: Bank) -> None:
    assert all(example.taught.guided for example in build(config, task, bank))
    config.training.sft.traces = ["bank", "right", "fits"]
    assert {example.taught.guided for example in build(config, task, bank)} == {True, False}
    unguided = Bank()
    unguided.append(replace(cot, guided=False) for cot in tiny_bank(task).all())
    config.training.sft.traces.append("guided_first")
    assert build(config, task, unguided), "unguided ones are taught where there are no others"


def test_examples_are_a_function_of_the_seed_and_the_round(config: Config, task: TinyTask, bank: Bank) -> None:
    first = build(config, task, bank)
    assert first == build(config, task, tiny_bank(task))
    assert first != build(config, task, bank, round_=1)
    config.run.seed = 4
    assert first != build(config, task, bank)


def test_only_the_completion_is_learned(config: Config, task: TinyTask, bank: Bank) -> None:
    tokenizer = tiny_tokenizer()
    renderer = Renderer(config, task, bank, tokenizer, CONTEXT)
    for example in build(config, task, bank)[:20]:
        row = training_rows(tokenize(renderer, [example]))[0][0]
        prompt = encode(tokenizer, example.messages)
        assert row["input_ids"][: len(prompt)] == prompt, "the prompt that RL shows"
        assert row["labels"][: len(prompt)] == [-100] * len(prompt)
        learned = row["labels"][len(prompt) :]
        assert row["input_ids"][len(prompt) :] == learned
        assert tokenizer.decode(learned[:-1]) == example.completion
        assert learned[-1] == tokenizer.eos_token_id


def test_prompts_are_fitted_and_scores_follow(config: Config, task: TinyTask, bank: Bank) -> None:
    context = 20 + LENGTH
    for example in build(config, task, bank, context=context):
        assert len(encode(tiny_tokenizer(), example.messages)) <= 20
        assert len(parse(example.completion, len(example.routes)).scores) == len(example.routes)


def test_nothing_to_teach(config: Config, task: TinyTask, bank: Bank) -> None:
    wrong = Bank()
    wrong.append(replace(cot, label=0) for cot in bank.all())
    with pytest.raises(DataError, match="nothing to teach"):
        build(config, task, wrong)
    config.training.rl.max_completion_length = 8
    with pytest.raises(DataError, match="max_completion_length = 8"):
        build(config, task, bank)


def test_a_taught_cot_spells_no_special_token(config: Config, task: TinyTask, bank: Bank) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"eos_token": "</s>"})
    spelled = Bank()
    spelled.append(replace(cot, text=f"{cot.text} </s>") for cot in bank.all())
    renderer = Renderer(config, task, spelled, tokenizer, CONTEXT)
    for example in sft_examples(config, renderer, task, spelled):
        assert training_rows(tokenize(renderer, [example]))[0][0]["input_ids"].count(tokenizer.eos_token_id) == 1, (
            "its own end alone"
        )
