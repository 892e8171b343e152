"""What batches teach the schedule and the sampler, and how it is kept."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState

from realm.config import Config
from realm.errors import ResourceError
from realm.method.completion import parse
from realm.method.reward import Reward
from realm.method.routes import Route
from realm.student.scoring import Scored
from realm.tasks.base import Question
from realm.training import feedback as module
from realm.training.feedback import Feedback, make_feedback
from realm.training.rewards import Group
from tests.tiny import TinyTask, tiny_config
from tests.training.two_kinds import TwoKinds

QUESTIONS = {question.id: question for question in TwoKinds().rows("train")}
EASY, HARD = ([q for q in QUESTIONS.values() if q.kind == kind] for kind in ("easy", "hard"))
SHOWN = (Route("r", "", "1", 1),)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The highest reward is 1.6; a value of yesterday counts as much as one of today."""
    config = tiny_config(tmp_path, tmp_path, rl={"sampler": "dynamic", "sampler_memory": 0.5})
    config.fade.schedule, config.fade.per, config.fade.memory = "adaptive", "kind", 0.5
    return config


def make(config: Config) -> Feedback:
    found = make_feedback(config, QUESTIONS, 3, k=4)
    assert found is not None
    return found


def group(question: Question, right: Sequence[bool], routes: tuple[Route, ...] = (), failed: int = 0) -> Group:
    """Right completions earn all there is, wrong ones a quarter of it; the last `failed` were judged by nobody."""
    scored = tuple(
        Scored(
            "",
            parse("", 0),
            correct,
            Reward(1.6 if correct else 0.4, 0.0, 0.0, 0.0, 0.0),
            verifier_failed=number >= len(right) - failed,
        )
        for number, correct in enumerate(right)
    )
    return Group(question, "", routes, 0.0, 0, scored, (False,) * len(scored))


def learn(feedback: Feedback, *groups: Group) -> None:
    feedback.learn(feedback.count(groups))


def test_success_is_that_of_groups_without_routes(config: Config) -> None:
    feedback = make(config)
    assert feedback.success(EASY[0].id) == feedback.success(HARD[0].id) == 0.0, "never seen"
    assert "route_free_success" not in feedback.figures()
    learn(
        feedback,
        group(EASY[0], [True, True, True, False]),
        group(EASY[1], [False] * 4, SHOWN),
        group(HARD[0], [True, False, False, False]),
    )
    assert [feedback.success(q.id) for q in (EASY[2], HARD[1])] == [0.75, 0.25]
    assert feedback.route_free_success == feedback.figures()["route_free_success"] == 0.5
    learn(feedback, group(EASY[0], [False] * 4), group(HARD[0], [True] * 4, SHOWN))
    assert [feedback.success(q.id) for q in (EASY[2], HARD[1])] == [0.375, 0.25], "hard: none without routes"
    assert feedback.route_free_success == 0.25


def test_what_nobody_could_judge_counts_for_nothing(config: Config) -> None:
    feedback = make(config)
    learn(feedback, group(EASY[0], [True, True, False, False], failed=2))
    assert feedback.success(EASY[0].id) == 1.0
    before = feedback.weights()
    learn(feedback, group(HARD[0], [False] * 4, failed=4))
    assert feedback.weights() == before and feedback.success(HARD[0].id) == 0.0


@pytest.mark.parametrize(("per", "keys"), [("global", 1), ("kind", 2), ("difficulty", 3)])
def test_keys_of_success(config: Config, per: Any, keys: int) -> None:
    config.fade.per = per
    feedback = make(config)
    assert len(feedback.count([])) == 2 * keys + 2 * 2
    odd = next(q for q in EASY if q.difficulty == 1)
    learn(feedback, group(odd, [True] * 4))
    known = {q.id for q in QUESTIONS.values() if feedback.success(q.id) == 1.0}
    assert known == {
        q.id
        for q in QUESTIONS.values()
        if per == "global" or (q.kind if per == "kind" else q.difficulty) == (odd.kind if per == "kind" else 1)
    }


def test_counts_of_parts_add_up_to_those_of_the_whole(config: Config) -> None:
    """A group that is cut over two processes, and rewards whose sum depends on their order in floating point."""
    feedback = make(config)
    right = [True, False, True, True, False, False, True, False]
    whole = feedback.count([group(EASY[0], right), group(HARD[0], right[::-1], SHOWN)])
    parts = [
        feedback.count([group(EASY[0], right[:3])]),
        feedback.count([group(EASY[0], right[3:]), group(HARD[0], right[::-1], SHOWN)]),
    ]
    assert [sum(pair) for pair in zip(*parts, strict=True)] == whole
    assert all(isinstance(number, int) for number in whole)


def test_the_hard_kind_is_asked_more(config: Config) -> None:
    feedback = make(config)
    assert feedback.weights() == {"easy": 0.5, "hard": 0.5}
    learn(feedback, group(EASY[0], [True] * 4, SHOWN), group(HARD[0], [False] * 4, SHOWN))
    # Rewards 1 and 0.4 / 1.6 = ¼ of the highest, distances 0 and ¾, e^1.5 = 4.4816891: 0.05 + 0.9 · 0.8175745
    assert feedback.weights()["hard"] == pytest.approx(0.7858170, abs=1e-6)
    assert feedback.figures()["domain_weights/hard"] == feedback.weights()["hard"]
    batch = make(config).ask(0)
    assert len(batch) == 16 and batch == [key for key in batch[::4] for _ in range(4)], "four groups of four"
    asked = [key for generation in range(250) for key in feedback.ask(generation)[::4]]
    # 1000 draws: 786 give or take 13; 65 is 5 σ.
    assert abs(sum(QUESTIONS[key].kind == "hard" for key in asked) - 786) < 65


def test_every_question_of_a_kind_is_asked_before_any_again(config: Config) -> None:
    feedback = make(config)
    asked = [key for generation in range(30) for key in feedback.ask(generation)[::4]]
    for kind in (EASY, HARD):
        ids = [q.id for q in kind]
        of_kind = [key for key in asked if key in ids]
        laps = [of_kind[start : start + len(ids)] for start in range(0, len(of_kind), len(ids))]
        assert len(laps) > 2
        assert all(sorted(lap) == sorted(ids) for lap in laps[:-1])
        assert len({tuple(lap) for lap in laps[:-1]}) > 1, "in another order"
    assert max(Counter(asked).values()) > min(Counter(asked).values()), "hard ones more often: they are fewer"
    again, other = make(config), Feedback(config, QUESTIONS, 4, adaptive=True, dynamic=True)
    assert [key for generation in range(30) for key in again.ask(generation)[::4]] == asked
    assert [key for generation in range(30) for key in other.ask(generation)[::4]] != asked


def test_feedback_is_made_where_something_depends_on_it(config: Config) -> None:
    both = make(config)
    assert both.adaptive and both.dynamic
    without_routes = make_feedback(config, QUESTIONS, 3, k=0)
    assert without_routes is not None and not without_routes.adaptive
    assert without_routes.success(EASY[0].id) is None and "route_free_success" not in without_routes.figures()
    config.training.rl.sampler = "even"
    assert make_feedback(config, QUESTIONS, 3, k=0) is None
    only_fade = make(config)
    assert not any(name.startswith("domain") for name in only_fade.figures())
    config.fade.schedule = "cosine"
    assert make_feedback(config, QUESTIONS, 3, k=4) is None


def test_one_kind_is_said_once_and_asked_evenly(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    module._say.cache_clear()
    config.fade.schedule = "cosine"
    one_kind = {question.id: question for question in TinyTask().rows("train")}
    with caplog.at_level(logging.WARNING):
        assert make_feedback(config, one_kind, 3, k=4) is None
        assert make_feedback(config, one_kind, 3, k=4) is None
    assert [record.message.split(":")[0] for record in caplog.records] == ["training.rl.sampler"]


class Arguments:
    def __init__(self, folder: Path) -> None:
        self.output_dir = str(folder)


def save(feedback: Feedback, folder: Path, step: int) -> tuple[Any, TrainerState]:
    arguments, state = Arguments(folder), TrainerState(global_step=step)
    (folder / f"checkpoint-{step}").mkdir(exist_ok=True)
    feedback.on_save(arguments, state, TrainerControl())  # type: ignore[arg-type]
    return arguments, state


def test_a_checkpoint_brings_everything_back(config: Config, tmp_path: Path) -> None:
    feedback = make(config)
    learn(feedback, group(EASY[0], [True, False, False]), group(HARD[1], [False, True], SHOWN))
    asked = feedback.ask(0)
    arguments, state = save(feedback, tmp_path, 1)
    resumed = make(config)
    resumed.on_train_begin(arguments, state, TrainerControl())
    assert resumed.success(EASY[0].id) == 1 / 3 and resumed.figures() == feedback.figures()
    assert resumed.ask(1) == feedback.ask(1) != asked
    fresh = make(config)
    fresh.on_train_begin(arguments, TrainerState(), TrainerControl())
    assert fresh.figures() == make(config).figures(), "nothing is taken where nothing is resumed"


@pytest.mark.parametrize(
    "content",
    [None, "", "[]", "null", '{"success": {}}', '{"success": 1, "rewards": 2, "asked": 3}', "kinds"],
)
def test_a_checkpoint_without_a_state_is_refused(config: Config, tmp_path: Path, content: str | None) -> None:
    arguments, state = save(make(config), tmp_path, 2)
    file = tmp_path / "checkpoint-2" / "feedback.json"
    if content is None:
        file.unlink()
    elif content == "kinds":
        found = json.loads(file.read_text())
        file.write_text(json.dumps({**found, "asked": {"easy": 0, "new": 0}}))
    else:
        file.write_text(content)
    with pytest.raises(ResourceError, match=r"feedback\.json: expected .* anew"):
        make(config).on_train_begin(arguments, state, TrainerControl())
