"""What shapes the signal of RL: one group at a time, its rewards before they are normalised, its advantages after.

    reward + Σ shape.reward(group)   ->   normalised within the group   ->   shape.advantage(group, …), one by one

A shape is a function of the group and of its own options alone. `normalised` undoes a factor on all rewards of a group
(`training.rl.scale_rewards: group`): what is to weigh whole groups multiplies advantages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from realm.method.outside import called
from realm.traces.doors import a_number, given_back, where
from realm.training.rewards import Group


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Neutral; a shape overrides one of its methods, or both. Its fields are its options."""

    def reward(self, group: Group) -> Sequence[float]:
        """What is added to the reward of each completion; it counts for nothing where the verifier failed."""
        return [0.0] * len(group.scored)

    def advantage(self, group: Group, advantages: Sequence[float]) -> Sequence[float]:
        """The advantage of each completion, given that of the normalised rewards."""
        return advantages


def added(shapes: Sequence[Shape], groups: Iterable[Group]) -> list[float]:
    """What the shapes add to the reward of every completion of the groups, in their order.

    Raises:
        ConfigError: a shape gives something else.
    """
    parts = [[_numbers(shape, group, partial(shape.reward, group)) for shape in shapes] for group in groups]
    return [sum(row) for part in parts for row in zip(*part, strict=True)]


def shaped(shapes: Sequence[Shape], groups: Iterable[Group], advantages: Sequence[float]) -> list[float]:
    """The advantages of every completion of the groups, in their order, after all shapes.

    Raises:
        ConfigError: a shape gives something else.
    """
    found: list[float] = []
    for group in groups:
        own = list(advantages[len(found) : len(found) + len(group.scored)])
        for shape in shapes:
            own = _numbers(shape, group, partial(shape.advantage, group, own))
        found += own
    return found


def _numbers(shape: Shape, group: Group, make: Callable[[], Any]) -> list[float]:
    """One number a completion; none a token, as the update leaves out whole completions without an advantage."""
    what = f"one finite number for each of {len(group.scored)} completions"
    at = where("shapes", called(type(shape)))
    return given_back(at, make, what, a_number, group.scored)
