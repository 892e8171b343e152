"""What each recipe is: its stages, what it fixes, and what its examples teach."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.config import Config, dump_config, load_config
from realm.errors import ConfigError, DataError
from realm.files import read_jsonl
from realm.method.completion import parse
from realm.recipes import RECIPES, plan
from realm.run import RunFolder
from realm.sections import TrainingConfig
from realm.student.renderer import Renderer
from realm.traces.examples import Example
from realm.training.prepare import prepare
from realm.training.recipes import of_teachers
from tests.tiny import CONTEXT, TinyTask, go, sft_examples, tiny_config, tiny_tokenizer


def configured(folder: Path, recipe: str, **more: Any) -> Config:
    return tiny_config(folder, Path("unused"), recipe=recipe, **more)


def taught(config: Config, task: TinyTask, bank: Bank) -> list[Example]:
    renderer = Renderer(config, task, bank, tiny_tokenizer(), CONTEXT, k=plan(config)[0].k)
    return sft_examples(config, renderer, task, bank)


def test_every_recipe_has_a_file_of_its_own() -> None:
    for name, recipe in RECIPES.items():
        module = import_module(f"realm.recipes.{re.sub('[-+]', '_', name)}")
        assert module.RECIPE is recipe and recipe.name == name and f"`{name}`" in (module.__doc__ or "")


@pytest.mark.parametrize(
    ("recipe", "stages"),
    [
        ("sft", [("sft", 0, 4, 0)]),
        ("rft", [("sft", 0, 4, 0)]),
        ("grpo", [("rl", 0, 6, 0)]),
        ("mrpv", [("rl", 0, 6, 3)]),
        ("synthesizer", [("sft", 0, 4, 3)]),
        ("synthesizer-rl", [("rl", 0, 6, 3)]),
        ("instructors", [("sft", 0, 4, 0), ("sft", 1, 4, 0)]),
        ("instructors-contrast", [("sft", 0, 4, 0), ("sft", 1, 4, 0)]),
        ("sft+grpo", [("sft", 0, 4, 0), ("rl", 0, 6, 0), ("sft", 1, 4, 0), ("rl", 1, 6, 0)]),
        ("redistill", [("sft", 0, 4, 0), ("rl", 0, 6, 0), ("sft", 1, 4, 0), ("rl", 1, 6, 0), ("sft", 2, 4, 0)]),
        ("redistill-zero", [("rl", 0, 6, 0), ("sft", 1, 4, 0)]),
        ("redistill-reader", [("sft", 0, 4, 0)]),
        ("realm-zero", [("rl", 0, 6, 3)]),
        ("realm-r1", [("sft", 0, 4, 3), ("rl", 0, 6, 3), ("sft", 1, 4, 3), ("rl", 1, 6, 3)]),
    ],
)
def test_stages(tmp_path: Path, recipe: str, stages: list[tuple[str, int, int, int]]) -> None:
    config = configured(tmp_path, recipe, rounds=2, sft={"steps": 4}, rl={"steps": 6})
    k = config.routes.k
    wanted = [(kind, round_, steps, k if shown else 0) for kind, round_, steps, shown in stages]
    assert [(stage.kind, stage.round, stage.steps, stage.k) for stage in plan(config)] == wanted


def test_what_a_recipe_fixes_holds_and_shows_in_the_resolved_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("training: {recipe: mrpv}\nfade: {schedule: linear, hold: 0.2}\n")
    config = load_config(file)
    assert (config.fade.schedule, config.fade.hold) == ("constant", 0.2)
    file.write_text(dump_config(config))
    assert load_config(file) == config
    assert load_config(None, ["training.recipe=realm-zero"]).fade.schedule == "cosine"
    with pytest.raises(ConfigError, match=r"fade: .*found 3"):
        load_config(None, ["training.recipe=mrpv", "fade=3"])


def test_sft_teaches_wrong_cots_too_and_rft_the_distinct_right_ones(tmp_path: Path, task: TinyTask, bank: Bank) -> None:
    every = taught(configured(tmp_path, "sft"), task, bank)
    assert {example.taught.label for example in every} == {0, 1}
    assert all(parse(example.completion, 0).answer == example.taught.answer for example in every)
    right = taught(configured(tmp_path, "rft"), task, bank)
    assert {example.taught.label for example in right} == {1}
    positives = {
        (cot.question_id, cot.text) for question in task.rows("train") for cot in bank.cots(question.id) if cot.label
    }
    assert {(example.question_id, example.taught.text) for example in right} == positives
    assert len({example.taught.id for example in right}) == len(positives), "of CoTs that read alike one is taught"
    assert not any(example.routes for example in [*every, *right])


def test_the_synthesizer_reads_routes_and_judges_none(tmp_path: Path, task: TinyTask, bank: Bank) -> None:
    config = configured(tmp_path, "synthesizer")
    found = taught(config, task, bank)
    assert all(example.routes and "<scores>" not in example.completion for example in found)
    assert all("judge" not in example.messages[-1]["content"] for example in found)


def test_sft_recipes_need_a_bank(tmp_path: Path, task: TinyTask, student: Path) -> None:
    with pytest.raises(DataError, match="the recipe rft is taught by CoTs, but there is no bank"):
        prepare(tiny_config(tmp_path, student, recipe="rft"), task, None)


@pytest.mark.parametrize("recipe", ["sft", "rft", "mrpv", "synthesizer", "synthesizer-rl", "sft+grpo"])
def test_every_baseline_runs_and_leaves_a_model_and_its_cost(
    tmp_path: Path, student: Path, task: TinyTask, bank: Bank, recipe: str
) -> None:
    config = tiny_config(tmp_path, student, recipe=recipe, sft={"steps": 2}, rl={"steps": 2}, eval_questions=2)
    run = go(config)
    assert (run.path / "model" / "model.safetensors").is_file()
    cost = run.meta.cost
    assert cost is not None
    assert cost.steps == sum(stage.steps for stage in plan(config))
    assert cost.completions == (32 if any(stage.kind == "rl" for stage in plan(config)) else 0)
    assert cost.teacher_tokens == sum(
        len(tiny_tokenizer()(cot.text)["input_ids"])
        for question in task.rows("train")
        for cot in bank.cots(question.id)
    )
    if recipe.startswith("synthesizer"):
        evaluations = read_jsonl(run.path / "evaluations.jsonl")
        assert all(row["scoring_accuracy"] is None for row in evaluations), "nobody is asked to judge"


def test_a_recipe_leaves_nothing_of_itself_to_the_next(tmp_path: Path) -> None:
    """A run's resolved configuration holds what its recipe fixed; taken for another recipe it must not."""
    file = tmp_path / "config.yaml"
    for recipe in ("synthesizer", "mrpv", "instructors"):
        file.write_text(dump_config(load_config(None, [f"training.recipe={recipe}"])))
        assert load_config(file, ["training.recipe=realm-r1"]) == load_config(None, ["training.recipe=realm-r1"])
    assert not load_config(file, ["training.recipe=realm-r1", "prompt.judge=false"]).prompt.judge


@pytest.mark.parametrize(
    ("recipe", "value"), [("mrpv", "fade.schedule=linear"), ("rft", "training.sft.traces=[bank, fits]")]
)
def test_a_setting_against_the_recipe_is_refused(recipe: str, value: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"--set {re.escape(value)}: the recipe {recipe} fixes {value.partition('=')[0]} at"
    ):
        load_config(None, [f"training.recipe={recipe}", value])


def test_the_settings_hold_in_python_too() -> None:
    assert Config(training=TrainingConfig(recipe="mrpv")).fade.schedule == "constant"


def test_unusable_cots_teach_nobody(tmp_path: Path, task: TinyTask) -> None:
    bank, question = Bank(), task.rows("train")[0]
    made = [
        CoT(question.id, "a plus b", question.answer, 1, "tiny", sample=0, problem="cut"),
        CoT(question.id, "", "", 0, "tiny", sample=1, problem="empty"),
        CoT(question.id, "is odd", "1", None, "tiny", sample=2, reason="timeout"),
        CoT(question.id, "is even", question.answer, 1, "tiny", sample=3),
    ]
    bank.append(made)
    for recipe in ("sft", "rft", "realm-r1"):
        found = taught(configured(tmp_path, recipe), task, bank)
        assert {example.taught.id for example in found} == {made[3].id}


def test_a_synthesizer_is_always_shown_k_routes(tmp_path: Path, task: TinyTask, bank: Bank) -> None:
    config = configured(tmp_path, "synthesizer")
    config.routes.k = 3  # of four CoTs, of which one is taught
    assert {len(example.routes) for example in taught(config, task, bank)} == {3}


@pytest.mark.parametrize(
    ("recipe", "more", "said"),
    [
        ("rft", {"rounds": 2}, "training.rounds: the recipe rft does not repeat"),
        ("redistill-zero", {"rounds": 2}, "training.rounds: the recipe redistill-zero does not repeat"),
        ("preflexor", {"rounds": 3}, "training.rounds: the recipe preflexor does not repeat"),
        ("rft", {"sft": {"steps": 0}}, "training.sft.steps: the recipe rft is nothing but SFT"),
    ],
)
def test_what_a_recipe_cannot_do_is_refused(
    tmp_path: Path, student: Path, task: TinyTask, bank: Bank, recipe: str, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        prepare(tiny_config(tmp_path, student, recipe=recipe, **more), task, bank)


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_a_recipe_says_of_routes_is_what_its_stages_have(tmp_path: Path, recipe: str) -> None:
    assert RECIPES[recipe].shows_routes == any(stage.k for stage in plan(configured(tmp_path, recipe)))


def test_the_fair_rival_has_as_many_rounds_and_may_do_without_sft(tmp_path: Path) -> None:
    for more in ({"rounds": 2}, {"sft": {"steps": 0}}):
        mine, rival = (plan(configured(tmp_path, recipe, **more)) for recipe in ("realm-r1", "sft+grpo"))
        assert [(s.kind, s.round, s.steps) for s in mine] == [(s.kind, s.round, s.steps) for s in rival]


def test_what_cots_cost_is_told_where_prices_and_tokens_are_known(
    tmp_path: Path, task: TinyTask, student: Path
) -> None:
    teacher = {"kind": "openai", "model": "m", "price": {"input": 2, "output": 10, "currency": "EUR"}}
    config = tiny_config(tmp_path, student, recipe="sft").changed({"teachers": {"priced": teacher}, "routes.k": 1})

    def spent(teacher: str, prompt_tokens: int | None) -> dict[str, Any]:
        bank = Bank()
        for question in (*task.rows("train")[:2], task.rows("test")[0]):
            counted = {"prompt_tokens": prompt_tokens, "completion_tokens": 50}
            bank.append([CoT(question.id, "0 plus 0 is even", "0", 1, teacher, **counted)])
        return of_teachers(prepare(config, task, bank), RunFolder(tmp_path / "run"))

    known = {"teacher_tokens": 100, "teacher_cots": 2}  # of the training questions alone
    assert spent("priced", 100) == {**known, "teacher_cost": pytest.approx(2 * 700e-6), "currency": "EUR"}
    assert spent("priced", None) == known
    assert spent("somebody", 100) == known
