"""EAAI, enabling autonomy via asymptotic induction: how likely external CoTs are shown as training goes on.

Source: arXiv 2508.12387 (the cosine fade); the other kinds and the granularities are this project's choices. `adaptive`
closes a loop: what recent groups without routes achieved decides how likely the next ones are shown any.
"""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from realm.method import seeds
from realm.method.outside import share

T = TypeVar("T")

#: (τ in [0, 1], schedule) -> p in [0, 1]; one that follows what the student achieves has a third parameter `success`.
Kind = Callable[..., float]
Granularity = Literal["route", "question", "count"]


@dataclass(frozen=True)
class Schedule:
    """The probability p of external CoTs over training progress τ = step / total.

            p ^
        p_start |------.
                |       '.            linear, cosine: from p_start at `hold` to p_end at `fade_end`
                |         '.          step: `stairs` equal drops on the way, the last one at `fade_end`
          p_end |           '-----    constant: p_start throughout
                +------+----+----> τ
                     hold fade_end

    `adaptive`: the cosine is the most that p can be, `fade_end` the deadline from which p is p_end. Before it

        p(τ, success) = min(cosine(τ), max(floor, p_start · (1 − clip(success / target, 0, 1))))

    with `success` the share of right answers that recent groups without routes gave.

    `kind` is one of `SCHEDULES` by its name, or any other `Kind`, which reads of the rest what it likes.

    Raises `ValueError` for p or `floor` outside [0, 1], `target` outside (0, 1], `hold` not below `fade_end`, no
    stairs, or an unknown kind.
    """

    kind: str | Kind = "cosine"
    p_start: float = 1.0
    p_end: float = 0.0
    hold: float = 0.0
    fade_end: float = 0.9
    stairs: int = 4
    floor: float = 0.1
    target: float = 0.9

    def __post_init__(self) -> None:
        if isinstance(self.kind, str) and self.kind not in SCHEDULES:
            raise ValueError(f"unknown schedule {self.kind!r}; expected one of {', '.join(SCHEDULES)}")
        if not (0.0 <= self.p_start <= 1.0 and 0.0 <= self.p_end <= 1.0):
            raise ValueError(f"p must be in [0, 1], found p_start {self.p_start} and p_end {self.p_end}")
        if not self.hold < self.fade_end:
            raise ValueError(f"hold ({self.hold}) must be below fade_end ({self.fade_end})")
        if self.stairs < 1:
            raise ValueError(f"stairs must be at least 1, found {self.stairs}")
        if not (0.0 <= self.floor <= 1.0 and 0.0 < self.target <= 1.0):
            raise ValueError(f"expected floor in [0, 1] and target in (0, 1], found {self.floor} and {self.target}")

    @property
    def follows(self) -> bool:
        """Whether p depends on `success`."""
        return "success" in inspect.signature(self._kind).parameters

    def p(self, tau: float, success: float = 0.0) -> float:
        """p(τ) in [0, 1]; τ is clipped to [0, 1].

        Only `adaptive` reads `success`; where nothing is known of it yet (0) p is the cosine's.

        Raises `OutsideError`, a `ValueError`, where a kind gives anything else.
        """
        tau = min(max(tau, 0.0), 1.0)
        given = {"success": success} if self.follows else {}
        at = f"τ = {tau:g}" + (f" and success {success:g}" if given else "")
        return share(self._kind(tau, self, **given), "schedule", self._kind, at)

    @property
    def _kind(self) -> Kind:
        return SCHEDULES[self.kind] if isinstance(self.kind, str) else self.kind


def _between(schedule: Schedule, left: float) -> float:
    # The convex form is exact at both ends: no p of 0.9999999 that now and then drops a route at τ = 0.
    return left * schedule.p_start + (1.0 - left) * schedule.p_end


def _faded(tau: float, schedule: Schedule) -> float:
    """How much of the way from `hold` to `fade_end` is done, in [0, 1]."""
    return min(max((tau - schedule.hold) / (schedule.fade_end - schedule.hold), 0.0), 1.0)


def _cosine(tau: float, schedule: Schedule) -> float:
    return _between(schedule, 0.5 * (1.0 + math.cos(math.pi * _faded(tau, schedule))))


def _linear(tau: float, schedule: Schedule) -> float:
    return _between(schedule, 1.0 - _faded(tau, schedule))


def _step(tau: float, schedule: Schedule) -> float:
    # 1e-9: a τ that stands on the edge of a stair belongs to the lower one in spite of rounding.
    return _between(schedule, 1.0 - math.floor(_faded(tau, schedule) * schedule.stairs + 1e-9) / schedule.stairs)


def _constant(tau: float, schedule: Schedule) -> float:
    return schedule.p_start


def _adaptive(tau: float, schedule: Schedule, success: float) -> float:
    p = _cosine(tau, schedule)
    if tau >= schedule.fade_end:
        return p
    missing = 1.0 - min(max(success / schedule.target, 0.0), 1.0)
    return min(p, max(schedule.floor, schedule.p_start * missing))


#: The kinds of this package; `Schedule` says what each does.
SCHEDULES: dict[str, Kind] = {
    "cosine": _cosine,
    "linear": _linear,
    "step": _step,
    "constant": _constant,
    "adaptive": _adaptive,
}
#: Every route stays.
ALWAYS = Schedule("constant")


def moving_average(old: float | None, new: float, memory: float) -> float:
    """`memory` of the old value and the rest of the new one; the new one alone where there is no old one (None)."""
    return new if old is None else memory * old + (1.0 - memory) * new


def is_probe(share: float, *, seed: int, question_id: str, step: int) -> bool:
    """Whether the question's prompt at this step shows no route whatever p is, so that success without is measured.

    Drawn from (seed, question id, step) for all members of a group at once; true of `share` of the groups.
    """
    return seeds.rng(seed, "probe", question_id, step).random() < share


def fade(routes: Sequence[T], p: float, granularity: Granularity, rng: random.Random) -> list[T]:
    """The routes that stay in the prompt at probability p, in their order.

    `route`: each on its own with probability p. `question`: all with probability p, else none. `count`: k·p of them,
    rounded to the nearest whole number (halves up), which ones by lot.
    """
    if granularity == "route":
        return [route for route in routes if rng.random() < p]
    if granularity == "question":
        return list(routes) if rng.random() < p else []
    if granularity == "count":
        kept = rng.sample(range(len(routes)), math.floor(len(routes) * p + 0.5))
        return [routes[i] for i in sorted(kept)]
    raise ValueError(f"unknown granularity {granularity!r}; expected route, question or count")
