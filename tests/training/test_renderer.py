from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.config import Config
from realm.errors import ConfigError, ModelError
from realm.method.routes import Route, Selection
from realm.method.schedule import Schedule
from realm.student.prompts import encode, evaluation_prompts
from realm.student.renderer import Renderer, as_prompt
from tests.tiny import CONTEXT, LENGTH, TinyTask, tiny_bank, tiny_config, tiny_tokenizer


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return tiny_config(tmp_path, tmp_path)


def make(config: Config, task: TinyTask, bank: Bank | None, context: int = CONTEXT, **options: int) -> Renderer:
    return Renderer(config, task, bank, tiny_tokenizer(), context, **options)


def test_all_routes_at_the_start_none_at_the_end(config: Config, task: TinyTask, bank: Bank) -> None:
    renderer = make(config, task, bank)
    question = task.rows("train")[0]
    first, last = renderer.render(question.id, 0, 0.0), renderer.render(question.id, 5, 0.95)
    assert {route.id for route in first.routes} == {route.id for route in bank.routes(question.id)}
    assert (first.p, last.p, last.routes) == (1.0, 0.0, ())
    text = first.messages[-1]["content"]
    positions = [text.index(f"> {route.text} </route>") for route in first.routes]
    assert positions == sorted(positions), "the routes are those of the prompt, in its order"
    assert last.messages[-1]["content"] == f"{question.question} answer"


def test_render_is_a_function_of_seed_question_and_step(config: Config, task: TinyTask, bank: Bank) -> None:
    renderer = make(config, task, bank)
    ids = list(renderer.questions)
    forward = {(key, step): renderer.render(key, step, 0.3) for key in ids for step in range(4)}
    other = make(config, task, tiny_bank(task))
    backward = {(key, step): other.render(key, step, 0.3) for step in reversed(range(4)) for key in reversed(ids)}
    assert forward == backward
    assert len({str(forward[ids[0], step].routes) for step in range(4)}) > 1, "another step draws anew"
    reseeded = make(config, task, bank, seed=99)
    assert any(reseeded.render(key, 0, 0.3) != forward[key, 0] for key in ids)


def test_without_routes(config: Config, task: TinyTask) -> None:
    question = task.rows("train")[0]
    for renderer in (make(config, task, None), make(config, task, tiny_bank(task), k=0)):
        rendered = renderer.render(question.id, 0, 0.0)
        assert (rendered.routes, rendered.dropped) == ((), 0)
    assert make(config, task, tiny_bank(task), k=0).render(question.id, 0, 0.0).p == 0.0


def nothing(routes: Sequence[Route], k: int, rng: Random, selection: Selection) -> list[Route]:
    return []


def over(tau: float, schedule: Schedule, success: float) -> float:
    return 2 * success


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("routes.selection", rf"^the selection {__name__}:nothing gave \[\], expected 4 of the 4 routes given\.$"),
        ("fade.schedule", rf"^the schedule {__name__}:over gave 1\.5 at τ = 0\.25 and success 0\.75, expected .*\]\.$"),
    ],
)
def test_what_others_give_and_may_not_is_told_in_one_line(
    config: Config, task: TinyTask, bank: Bank, key: str, told: str
) -> None:
    config = config.changed({key: f"{__name__}:{'nothing' if 'selection' in key else 'over'}", "fade.probe": 0.0})
    with pytest.raises(ConfigError, match=told):
        make(config, task, bank).render(task.rows("train")[0].id, 1, 0.25, 0.75)
    if key == "routes.selection":
        with pytest.raises(ConfigError, match=told):
            evaluation_prompts(task.rows("train"), bank.routes, task, config, tiny_tokenizer(), 100, 0)


def test_whole_routes_are_dropped_to_fit(config: Config, task: TinyTask, bank: Bank) -> None:
    question = task.rows("train")[0]
    whole = make(config, task, bank).render(question.id, 0, 0.0)
    needed = len(encode(tiny_tokenizer(), whole.messages))
    just_fits = make(config, task, bank, needed + LENGTH).render(question.id, 0, 0.0)
    assert just_fits == whole
    fitted = make(config, task, bank, needed + LENGTH - 1).render(question.id, 0, 0.0)
    assert (fitted.routes, fitted.dropped) == (whole.routes[:-1], 1)
    assert whole.routes[-1].text not in fitted.messages[-1]["content"].split("> ")[-1]


def test_question_that_does_not_fit_is_named(config: Config, task: TinyTask, bank: Bank) -> None:
    renderer = make(config, task, bank, LENGTH + 3)
    with pytest.raises(ModelError, match=f"question {task.rows('train')[0].id}: .*the context leaves 3 ") as error:
        renderer.check()
    assert str(error.value).count("\n") <= 1
    make(config, task, bank).check()


def test_prompt_of_a_tokenizer_without_chat_template_is_text(config: Config, task: TinyTask, bank: Bank) -> None:
    rendered = make(config, task, bank).render(task.rows("train")[0].id, 0, 0.0)
    assert as_prompt(tiny_tokenizer(), rendered.messages) == rendered.messages
    text = as_prompt(tiny_tokenizer(chat=False), rendered.messages)
    assert text == rendered.messages[0]["content"] + "\n\n"


def test_question_and_routes_spell_no_special_token(config: Config, task: TinyTask) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<start_of_turn>"})
    old = task.rows("train")[0]
    task.rows("train")[0] = question = replace(old, question=f"{old.question} <start_of_turn>")
    bank = Bank()
    bank.append([CoT(question.id, "is <start_of_turn> odd", "1", 1)])
    rendered = Renderer(config, task, bank, tokenizer, CONTEXT).render(question.id, 0, 0.0)
    assert tokenizer.bos_token_id not in encode(tokenizer, rendered.messages)
    assert rendered.routes == tuple(bank.routes(question.id)), "recorded as they are"


def test_adaptive_follows_success_and_shows_probes_no_route(config: Config, task: TinyTask, bank: Bank) -> None:
    """Without success nobody feeds back: p is the cosine's, and every route is there at the start."""
    config.fade.schedule, config.fade.probe = "adaptive", 0.25
    renderer = make(config, task, bank)
    groups = [(key, step) for key in renderer.questions for step in range(40)]
    alone = [renderer.render(*group, 0.0) for group in groups]
    assert {(one.p, len(one.routes)) for one in alone} == {(1.0, 4)}
    fed = [renderer.render(*group, 0.0, 0.45) for group in groups]
    probes = [one for one in fed if one.p == 0.0]
    # 480 at ¼: 120 give or take 9.5; 48 is 5 σ. The others at p = 1 − 0.45 / 0.9.
    assert abs(len(probes) - 120) < 48 and not any(one.routes for one in probes)
    assert {one.p for one in fed} == {0.0, 0.5}
    assert [one.p == 0.0 for one in fed] == [renderer.render(*group, 0.0, 0.1).p == 0.0 for group in groups]
    assert renderer.render(*groups[0], 0.95, 0.45).p == 0.0
