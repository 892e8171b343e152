from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny import TinyTask, pool, tiny_config

from realm.method.completion import REASONS
from realm.method.routes import Route
from realm.tasks.verify import Verdict
from realm.training.rewards import RouteReward

ROUTES = (Route("a", "is odd", "1", 1), Route("b", "is even", "0", 0))


@pytest.fixture
def reward(tmp_path: Path, task: TinyTask) -> RouteReward:
    questions = {question.id: question for question in task.rows("train")}
    return RouteReward(tiny_config(tmp_path, tmp_path), questions, pool())


def ask(task: TinyTask, gold: str) -> str:
    """The id of a training question with that answer."""
    return next(question.id for question in task.rows("train") if question.answer == gold)


def call(
    reward: RouteReward, ids: list[str], texts: list[str], routes: list[Any]
) -> tuple[list[float], dict[str, float]]:
    logged: dict[str, float] = {}
    n = len(texts)
    found = reward(
        prompts=["the prompt"] * n,
        completions=[[{"role": "assistant", "content": text}] for text in texts],
        completion_ids=[[1]] * n,
        question_id=ids,
        routes=routes,
        p=[0.5] * n,
        tau=[0.25] * n,
        dropped=[1] * n,
        trainer_state=None,
        log_metric=logged.__setitem__,
        log_extra=None,
    )
    return found, logged


def test_two_stages(reward: RouteReward, task: TinyTask) -> None:
    one = ask(task, "1")
    texts = [
        "<think> x </think> <answer> 1 </answer> <scores> 1, 0 </scores>",  # all right: .1 + 1 + .5
        "<think> x </think> <answer> 1 </answer> <scores> 0.5, 0.5 </scores>",  # unsure: .1 + 1 + .25
        "<think> x </think> <answer> 0 </answer> <scores> 1, 0 </scores>",  # wrong: .1 for the format alone
        "<answer> 1",  # right, nothing else: scores missing, maximally wrong
    ]
    rewards, logged = call(reward, [one] * 4, texts, [ROUTES] * 4)
    assert rewards == pytest.approx([1.6, 1.35, 0.1, 1.0])
    assert logged["reward_format"] == pytest.approx(0.075)
    assert logged["reward_answer"] == pytest.approx(0.75)
    assert logged["reward_scores"] == pytest.approx(0.75 / 4)
    assert logged["scoring"] == pytest.approx((1 + 0.5 + 1 + 0) / 4)
    assert logged["accuracy"] == 0.75
    assert logged["parse_failures"] == 0.25
    assert logged["parse/scores_missing"] == 0.25
    assert {f"parse/{reason}" for reason in REASONS} <= logged.keys(), "each reason every time, or means go wrong"
    assert logged["same_err"] == 1.0, "the one wrong answer is that of the wrong route"
    assert (logged["p"], logged["tau"], logged["routes_per_prompt"], logged["routes_dropped"]) == (0.5, 0.25, 2, 1)
    assert logged["zero_spread_groups"] == 0.0


def test_without_routes_a_right_answer_is_worth_as_much(reward: RouteReward, task: TinyTask) -> None:
    one = ask(task, "1")
    good = "<think> x </think> <answer> 1 </answer>"
    rewards, logged = call(reward, [one] * 4, [good] * 4, [()] * 4)
    assert rewards == pytest.approx([1.6] * 4)
    assert logged["zero_spread_groups"] == 1.0
    assert "scoring" not in logged and "same_err" not in logged, "nothing was shown that could be scored or copied"


def test_groups_are_neighbours_of_one_question(reward: RouteReward, task: TinyTask) -> None:
    """Also where a question follows itself: G = 4 completions make a group."""
    one, zero = ask(task, "1"), ask(task, "0")
    texts = ["<answer> 1 </answer>"] * 12
    call(reward, [one] * 8 + [zero] * 4, texts, [ROUTES] * 12)
    assert [(group.question.id, len(group.scored)) for group in reward.groups] == [(one, 4), (one, 4), (zero, 4)]
    assert [item.correct for item in reward.groups[2].scored] == [False] * 4


def test_hostile_completions_earn_nothing_and_raise_nothing(reward: RouteReward, task: TinyTask) -> None:
    one = ask(task, "1")
    texts = ["", "<answer>" * 1000, "</scores>\x00<answer>1</answer><answer>0</answer>", "NaN"]
    rewards, logged = call(reward, [one] * 4, texts, [ROUTES] * 4)
    assert rewards == [0.0] * 4
    assert logged["parse_failures"] == 1.0


def test_plain_text_completions(reward: RouteReward, task: TinyTask) -> None:
    """A model without chat template: TRL hands over strings, and without our trainer no extra columns."""
    found = reward(prompts=["p"], completions=["<think> x </think> <answer> 1 </answer>"], question_id=[ask(task, "1")])
    assert found == pytest.approx([1.6])


def test_an_answer_the_verifier_failed_on_earns_nothing_for_it_and_is_counted(
    tmp_path: Path, task: TinyTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = {"1": "", "2": "timeout", "3": "error: ValueError", "4": "unreadable"}

    def verify(pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        return [Verdict(not reasons[answer], reasons[answer]) for answer, _ in pairs]

    judge = pool()
    monkeypatch.setattr(judge, "verify", verify)
    questions = {question.id: question for question in task.rows("train")}
    reward = RouteReward(tiny_config(tmp_path, tmp_path), questions, judge)
    texts = [f"<think> x </think> <answer> {answer} </answer>" for answer in reasons]
    rewards, logged = call(reward, [ask(task, "1")] * 4, texts, [()] * 4)
    assert rewards == pytest.approx([1.6, 0.1, 0.1, 0.1])
    assert logged["verifier_failures"] == 0.5
