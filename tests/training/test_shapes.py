"""Shapes: the right values on random groups, and what they may not do."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from trl.rewards import accuracy_rewards

from realm.errors import ConfigError
from realm.method.completion import parse
from realm.method.reward import Reward
from realm.plugins import trust
from realm.student.scoring import Scored
from realm.tasks.base import Question
from realm.traces.pipeline import instance
from realm.training.grpo import RouteTrainer, extras, grpo_settings
from realm.training.rewards import Group
from realm.training.shapes.base import Shape, added, shaped
from realm.training.shapes.mgpo import Mgpo
from tests.tiny import CONTEXT, tiny_config, tiny_trainer
from tests.training.dictated import completions

ROOM = 100


def group(right: list[bool], tokens: list[int] | None = None, texts: list[str] | None = None, **more: Any) -> Group:
    texts = texts or ["<answer> 1 </answer>"] * len(right)
    failed = more.pop("failed", [False] * len(right))
    scored = [
        Scored(text, parse(text, 0), one, Reward(0, 0, 0, 0, 0), verifier_failed=unknown)
        for text, one, unknown in zip(texts, right, failed, strict=True)
    ]
    question = Question("q", "1 plus 1", "2", **more)
    return Group(question, "", (), 0.0, 0, tuple(scored), (False,) * len(right), tuple(tokens or []), ROOM)


def drawn(seed: int, size: int = 8) -> tuple[list[bool], list[int]]:
    source = random.Random(seed)
    return [source.random() < 0.5 for _ in range(size)], [source.randint(1, ROOM) for _ in range(size)]


def shape(entry: Any) -> Shape:
    return instance("shapes", entry, Shape)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, 4.0])
def test_mgpo_weighs_groups_by_how_near_they_are_to_one_half(strength: float) -> None:
    one = shape({"mgpo": {"strength": strength}})
    values = [random.Random(strength).uniform(-2, 2) for _ in range(4)]

    def weights(right: list[bool], **more: Any) -> list[float]:
        found = one.advantage(group(right, **more), values)
        return [new / old for new, old in zip(found, values, strict=True)]

    assert weights([True, False, True, False]) == pytest.approx([1.0] * 4)
    assert weights([True] * 4) == weights([False] * 4) == pytest.approx([2**-strength] * 4)
    assert weights([True, False, False, False]) == pytest.approx([(0.5**0.25 * 1.5**0.75) ** -strength] * 4)
    assert weights([True, False, True, True], failed=[False, False, True, True]) == pytest.approx([1.0] * 4)
    assert weights([False] * 4, failed=[True] * 4) == [1.0] * 4, "nobody knows"


@pytest.mark.parametrize("seed", range(3))
def test_the_cosine_is_trl_s(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    right, tokens = drawn(seed)
    monkeypatch.setattr(accuracy_rewards, "accuracy_reward", lambda *_, **__: [float(one) for one in right])
    theirs = accuracy_rewards.get_cosine_scaled_reward(ROOM)
    wanted = theirs([[]] * 8, [""] * 8, [[0] * length for length in tokens])
    assert shape("cosine").reward(group(right, tokens)) == pytest.approx(wanted)
    half = shape({"cosine": {"weight": 0.5}}).reward(group(right, tokens))
    assert half == pytest.approx([one / 2 for one in wanted])


def test_overlong_is_punished_in_the_last_part_of_the_room() -> None:
    found = shape({"overlong": {"weight": 2.0, "share": 0.2}}).reward(group([True] * 5, [1, 80, 81, 90, 100]))
    assert found == pytest.approx([0, 0, -0.1, -1.0, -2.0])
    tiny = replace(group([True] * 2, [1, 2]), room=2)
    assert shape("overlong").reward(tiny) == [0.0, -1.0], "the last part has a token at least"


def test_a_right_completion_loses_by_its_excess_over_the_target_of_its_level() -> None:
    right, tokens = [True, True, True, True, False], [10, 20, 30, 90, 90]
    assert shape({"length": {"target": 20}}).reward(group(right, tokens)) == pytest.approx([0, 0, -0.1, -0.2, 0])
    levels = shape({"length": {"target": {1: 10, 2: 45}, "weight": 1.0}})
    assert levels.reward(group(right, tokens, difficulty=2)) == pytest.approx([0, 0, 0, -1.0, 0])
    assert levels.reward(group(right, tokens, difficulty=1)) == pytest.approx([0, -1, -1, -1, 0])
    assert levels.reward(group(right, tokens, difficulty=3)) == [0.0] * 5


def test_brier_takes_most_where_a_confidence_is_wrong_or_missing() -> None:
    texts = ["Confidence: 0.9", "confidence 90 %", "sure", "confidence: 0.5"]
    found = shape({"brier": {"weight": 2.0}}).reward(group([True, False, True, False], texts=texts))
    assert found == pytest.approx([-0.02, -1.62, -2.0, -0.5])
    assert shape("brier").reward(group([True, False], texts=texts[:2])) == pytest.approx([-0.005, -0.405])


def test_several_shapes_add_up_for_each_completion() -> None:
    shapes = [shape({"length": {"target": 20}}), shape("cosine"), Mgpo()]
    groups = [group(*drawn(seed, size)) for seed, size in ((1, 3), (2, 5))]
    each = [[one for each in groups for one in made.reward(each)] for made in shapes]
    assert added(shapes, groups) == pytest.approx([sum(column) for column in zip(*each, strict=True)])
    assert added([], groups) == []


@dataclass(frozen=True, kw_only=True)
class ByToken(Shape):
    def advantage(self, group: Group, advantages: Any) -> Any:
        return [[one, one] for one in advantages]


@dataclass(frozen=True, kw_only=True)
class Short(Shape):
    def reward(self, group: Group) -> list[float]:
        return [0.0]


def test_what_is_not_one_number_a_completion_is_refused_by_name() -> None:
    groups = [group([True, False], [1, 2])]
    with pytest.raises(
        ConfigError, match=r"training\.rl\.shapes: .*:ByToken: expected one finite number for each of 2"
    ):
        shaped([Mgpo(), ByToken()], groups, [1.0, -1.0])
    with pytest.raises(ConfigError, match=r"Short: expected one finite number .* found 1 for 2"):
        added([Short()], groups)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("length", "length: target: Field required"),
        ({"mgpo": {"strength": -1}}, "mgpo: strength: Input should be greater than or equal to 0"),
        ({"overlong": {"share": 0}}, "overlong: share: Input should be greater than 0"),
        ({"cosine": {"n": 1}}, "cosine: has no option n; it has weight, right, wrong"),
        ("realm.training.feedback:Feedback", "expected a subclass of realm.training.shapes.base.Shape, found <class"),
    ],
)
def test_options_are_checked_before_anything_starts(entry: Any, told: str) -> None:
    trust(entry)
    with pytest.raises(ConfigError) as caught:
        shape(entry)
    assert str(caught.value).startswith("training.rl.shapes: ") and told in str(caught.value)


def test_a_group_on_two_processes_is_refused(tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(tmp_path, student, rl={"shapes": ["mgpo"]})
    args = grpo_settings(config, output=str(tmp_path), seed=0, context=CONTEXT)
    assert len(extras(config, args)["shapes"]) == 1
    monkeypatch.setattr(type(args), "world_size", 8)
    with pytest.raises(ConfigError, match="8 processes with 2 completions each cut groups of 4 apart"):
        extras(config, args)


def batch(folder: Path, student: Path, **rl: Any) -> tuple[RouteTrainer, dict[str, Any]]:
    """A generated batch of given completions, and its trainer."""
    trainer = tiny_trainer(tiny_config(folder, student, rl={"steps": 3, **rl}), folder / "out")
    trainer.model.train()  # type: ignore[union-attr]
    rows = [row for row in list(trainer.train_dataset)[:4] for _ in range(4)]  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RouteTrainer, "_generate_single_turn", completions())
        return trainer, trainer._generate_and_score_completions(rows)


def test_shapes_change_rewards_before_and_advantages_after_they_are_normalised(tmp_path: Path, student: Path) -> None:
    trainer, plain = batch(tmp_path, student)
    neutral = [
        {"mgpo": {"strength": 0}},
        {"cosine": {"weight": 0}},
        {"brier": {"weight": 0}},
        {"overlong": {"weight": 0}},
    ]
    _, same = batch(tmp_path, student, shapes=neutral)
    assert torch.equal(same["advantages"], plain["advantages"]), "bit for bit"

    other, found = batch(
        tmp_path, student, shapes=[{"length": {"target": 9, "weight": 2.0}}, {"mgpo": {"strength": 3}}]
    )
    groups = trainer.reward_funcs[0].groups  # type: ignore[union-attr]
    more = [
        -2.0 * min(max(n / 9 - 1, 0), 1) if item.correct else 0.0
        for one in groups
        for item, n in zip(one.scored, one.tokens, strict=True)
    ]
    assert len(set(more)) > 1
    paid = torch.tensor([item.paid for one in groups for item in one.scored]) + torch.tensor(more)
    rewards = paid.view(-1, 4)
    wanted = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
    weights = torch.tensor([Mgpo(strength=3.0).advantage(one, [1.0] * 4) for one in groups])
    torch.testing.assert_close(found["advantages"].view(-1, 4), wanted * weights, atol=1e-5, rtol=1e-4)
    assert other._metrics["train"]["shaped"] == pytest.approx([sum(more) / len(more)])
    assert groups[0].tokens == tuple(plain["completion_mask"].sum(1).tolist()[:4])
