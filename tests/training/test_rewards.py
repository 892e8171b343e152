from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from realm.method.completion import REASONS
from realm.method.routes import Route
from realm.tasks.base import Question
from realm.tasks.verify import Verdict
from realm.tasks.workers import Claim, VerifierPool
from realm.training.rewards import RouteReward
from tests.tiny import TinyTask, pool, tiny_config, tiny_trainer

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


def test_without_routes_a_right_answer_is_worth_as_much(reward: RouteReward, task: TinyTask) -> None:
    one = ask(task, "1")
    good = "<think> x </think> <answer> 1 </answer>"
    rewards, logged = call(reward, [one] * 4, [good] * 4, [()] * 4)
    assert rewards == pytest.approx([1.6] * 4)
    assert "scoring" not in logged and "same_err" not in logged, "nothing was shown that could be scored or copied"


def test_programs_are_paid_by_their_results_and_those_without_one_are_counted(tmp_path: Path, task: TinyTask) -> None:
    config = tiny_config(tmp_path, tmp_path)
    config.prompt.execute = True
    one = ask(task, "1")
    thoughts = ["answer = 3 % 2", "answer = 4 % 2", "answer = open('x')", "odd"]
    texts = [f"<think> {thought} </think> <answer> 1 </answer>" for thought in thoughts]
    with pool() as judge:
        tooled = RouteReward(config, {row.id: row for row in task.rows("train")}, judge)
        rewards, logged = call(tooled, [one] * 4, texts, [()] * 4)
    assert rewards == pytest.approx([1.6, 0.1, 0.0, 1.6])
    assert logged["parse/program_failed"] == 0.25


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


@pytest.fixture
def failing(tmp_path: Path, task: TinyTask, monkeypatch: pytest.MonkeyPatch) -> RouteReward:
    """Answer 1 is right, 2 times out, 3 breaks the verifier, 4 is unreadable and so wrong."""
    reasons = {"1": "", "2": "timeout", "3": "error: ValueError", "4": "unreadable"}

    def verify(pairs: Sequence[Claim]) -> list[Verdict]:
        assert {pair[2:] for pair in pairs} <= {(one.question, one.kind) for one in task.rows("train")}
        return [Verdict(not reasons[pair[0] or ""], reasons[pair[0] or ""]) for pair in pairs]

    judge = pool()
    monkeypatch.setattr(judge, "verify", verify)
    questions = {question.id: question for question in task.rows("train")}
    return RouteReward(tiny_config(tmp_path, tmp_path), questions, judge)


def said(*answers: int) -> list[str]:
    return [f"<think> x </think> <answer> {answer} </answer>" for answer in answers]


def test_an_answer_the_verifier_failed_on_is_left_out_and_counted(failing: RouteReward, task: TinyTask) -> None:
    rewards, logged = call(failing, [ask(task, "1")] * 4, said(1, 2, 3, 4), [()] * 4)
    assert rewards == [pytest.approx(1.6), None, None, pytest.approx(0.1)]
    assert logged["verifier_failures"] == 0.5
    assert logged["unreadable_answers"] == 0.25
    assert [item.verdict for item in failing.groups[0].scored] == ["", "timeout", "error: ValueError", "unreadable"]
    assert (logged["accuracy"], logged["accuracy_without_routes"]) == (0.5, 0.5), "of those that were judged"
    assert logged["reward_format"] + logged["reward_answer"] + logged["reward_scores"] == pytest.approx(1.7 / 2)
    assert [item.paid for item in failing.groups[0].scored] == rewards
    # Neither right nor wrong: it copied nobody's mistake.
    _, logged = call(failing, [ask(task, "1")] * 4, said(1, 2, 3, 2), [ROUTES] * 4)
    assert "same_err" not in logged


def test_where_the_verifier_fails_on_everything_nothing_is_said_of_answers(
    failing: RouteReward, task: TinyTask
) -> None:
    rewards, logged = call(failing, [ask(task, "1")] * 4, said(2, 2, 3, 3), [()] * 4)
    assert rewards == [None] * 4
    assert logged["verifier_failures"] == 1.0
    assert not {"accuracy", "accuracy_without_routes", "reward_answer"} & logged.keys()


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_seam_none_is_no_reward_and_no_advantage(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, student: Path, scale: str
) -> None:
    """TRL with one reward function: the baseline is that of the other members, and a group of one has none."""
    given = [1.0, None, 0.0, 0.0, 0.5, None, None, None, None, None, None, None, 0.3, 0.3, None, 0.3]
    config = tiny_config(tmp_path, student, rl={"steps": 1, "scale_rewards": scale})
    trainer = tiny_trainer(config, tmp_path)
    monkeypatch.setattr(RouteReward, "__call__", lambda self, **_: given)
    batches = []
    original = trainer._compute_loss
    trainer._compute_loss = lambda model, inputs: batches.append(inputs) or original(model, inputs)  # type: ignore[method-assign,func-returns-value]
    trainer.train()
    found = batches[0]["advantages"].tolist()
    assert [advantage == 0 for advantage in found] == [False, True, False, False] + [True] * 12
    assert sum(found[:4]) == pytest.approx(0, abs=1e-5) and found[2] == found[3] < 0 < found[0]
    if scale == "none":
        assert found[0] == pytest.approx(2 / 3)
    assert trainer.state.log_history[0]["reward"] == pytest.approx((1 + 0.5 + 0.9) / 7)
    assert trainer.state.log_history[0]["zero_spread_groups"] == 0.75, "nothing is learned from any but the first"
    assert "returned None" not in caplog.text, "TRL would print prompts and completions"


def test_a_kind_is_paid_and_compared_by_its_own_verifier(tmp_path: Path) -> None:
    asked = [Question(kind, "a sum", "18", kind=kind) for kind in ("sum", "other")]
    routes = (Route("a", "", "17", 0), Route("b", "", "18", 1))
    with VerifierPool('{"default": "exact", "sum": "number"}') as by_kind:
        made = RouteReward(tiny_config(tmp_path, tmp_path), {one.id: one for one in asked}, by_kind)
        rewards, logged = call(made, ["sum", "other"], ["<answer> 18.0 </answer>"] * 2, [()] * 2)
        assert rewards == [1.5, 0.0] and logged["accuracy"] == 0.5
        _, logged = call(made, ["sum", "other"], ["<answer> 17.0 </answer>"] * 2, [routes] * 2)
    assert logged["same_err"] == 0.5, "17.0 is a route's number, and not its text"
