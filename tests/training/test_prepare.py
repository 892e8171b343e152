"""What a run starts with is made once, and the checks leave no trace in it."""

import dataclasses
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer

from realm.bank.store import Bank
from realm.errors import ConfigError, ModelError
from realm.method.prompt import Example
from realm.once import Once
from realm.recipes import RECIPES, plan
from realm.recipes.stage import Recipe, Stage
from realm.student.load import load
from realm.training.prepare import _check_stages, prepare
from realm.training.recipes import train
from tests.tiny import WORDS, TinyTask, go, pool, tiny_config, word_tokenizer


@pytest.mark.parametrize("lora", [0, 4])
def test_everything_is_made_once_before_the_first_step(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch, lora: int
) -> None:
    calls, before = Counter[str](), Counter[str]()

    def counted(place: str) -> None:
        module, _, name = place.rpartition(".")
        original = getattr(__import__(module, fromlist=[name]), name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(place, call)

    for place in ("student.load.load_model", "student.load.load_tokenizer", "training.estimate.load_outline"):
        counted(f"realm.{place}")
    for place in ("prepare.examples", "prepare.prompt_lengths", "sft.examples"):
        counted(f"realm.training.{place}")
    step = Trainer.training_step

    def first(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        before.update({} if before else calls)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "training_step", first)
    config = tiny_config(tmp_path, student, recipe="realm-r1", lora={"r": lora}, rl={"steps": 1}, sft={"steps": 1})
    go(config)
    names = ("load_model", "load_tokenizer", "load_outline", "examples", "prompt_lengths")
    assert before == dict.fromkeys(names, 1)


@pytest.mark.parametrize("lora", [{}, {"r": 4, "dropout": 0.5}])
def test_the_prepared_model_is_as_loaded(tmp_path: Path, student: Path, bank: Bank, lora: dict[str, Any]) -> None:
    config = tiny_config(tmp_path, student, recipe="realm-r1", lora=lora)
    states = random.getstate(), torch.random.get_rng_state()
    prepared = prepare(config, TinyTask(), bank)
    assert random.getstate() == states[0] and torch.equal(torch.random.get_rng_state(), states[1])
    model, fresh = prepared.model.take(), load(student)[0]
    assert model is not None and prepared.model.take() is None
    assert [type(module) for module in model.modules()] == [type(module) for module in fresh.modules()]
    assert vars(model).keys() == vars(fresh).keys() and model.training == fresh.training
    for (name, mine), (other, theirs) in zip(model.named_parameters(), fresh.named_parameters(), strict=True):
        assert name == other and torch.equal(mine, theirs) and mine.requires_grad == theirs.requires_grad
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


@pytest.mark.parametrize(
    ("recipe", "shown"), [("realm-zero", True), ("redistill-reader", True), ("realm-r1", False), ("sft", False)]
)
def test_a_bank_that_is_taught_first_shows_the_form_itself(
    tmp_path: Path, student: Path, bank: Bank, recipe: str, shown: bool
) -> None:
    shutil.copytree(student, tmp_path / "foreign")
    word_tokenizer([word.replace("<answer>", "<reply>") for word in WORDS], special=4).save_pretrained(
        tmp_path / "foreign"
    )
    example = Example("3 plus 4", "is odd", "1")
    task = TinyTask()
    task.wording = dataclasses.replace(task.wording, examples=(example,), without_routes="<answer>")
    config = tiny_config(tmp_path, tmp_path / "foreign", recipe=recipe)
    found = prepare(config, task, bank)
    wanted = [dataclasses.asdict(example)] if shown else "none"
    assert found.config.prompt.examples == wanted
    assert [*found.renderer.wording.examples] == ([example] if shown else [])
    given = config.changed({"prompt.examples": [dataclasses.asdict(example)]})
    assert prepare(given, task, bank).config.prompt.examples == [dataclasses.asdict(example)], "as it is asked for"


def test_what_does_not_fit_at_the_end_is_told_before_training(tmp_path: Path, student: Path) -> None:
    """Questions of the test, with the room that the evaluation gives to answers."""
    context = load(student)[0].config.max_position_embeddings
    config = tiny_config(tmp_path, student, recipe="grpo", eval_questions=0)
    with pytest.raises(ModelError, match="its prompt needs"):
        prepare(config.changed({"evaluation.max_completion_length": context - 4}), TinyTask(), None)


def test_a_stop_temperature_that_the_tokenizer_has_no_token_for_is_told_first(tmp_path: Path, student: Path) -> None:
    config = tiny_config(tmp_path, student, recipe="grpo")
    changed = config.changed({"evaluation.stop_temperature": 0.5, "prompt.think_tag": "why"})
    with pytest.raises(ConfigError, match=r"expected a tokenizer with </why> as one token"):
        prepare(changed, TinyTask(), None)


def test_a_model_from_which_no_stage_starts_is_let_go(tmp_path: Path, student: Path, bank: Bank) -> None:
    config = tiny_config(tmp_path, student, rl={"steps": 1})
    run = go(config)
    prepared = prepare(config, TinyTask(), bank)
    train(prepared, run=run, pool=pool(), resume=True)
    assert prepared.model.take() is None


def test_once() -> None:
    held = Once([1])
    assert held.take() == [1] and held.take() is None


def test_stages_whose_rows_would_not_follow_each_other_are_refused(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed run cuts off what comes behind the place where it goes on."""
    stages = [Stage("rl", 0, 2, 0), Stage("sft", 0, 2, 0, fresh=True)]
    monkeypatch.setitem(RECIPES, "turned", Recipe("turned", lambda _: stages))
    config = tiny_config(tmp_path, student, recipe="turned")
    with pytest.raises(ConfigError, match=r"in this order, found rl in round 0, sft in round 0; give later ones"):
        go(config)


@pytest.mark.parametrize("name", RECIPES)
def test_stages_of_every_recipe_follow_each_other(name: str, tmp_path: Path, student: Path) -> None:
    rounds = 2 if name in ("realm-r1", "sft+grpo", "instructors", "pairs", "redistill") else 1
    config = tiny_config(tmp_path, student, recipe=name, rounds=rounds)
    _check_stages(config, plan(config))
