"""EAAI, enabling autonomy via asymptotic induction: how likely external CoTs are shown as training goes on.

Source: arXiv 2508.12387 (the cosine fade); the other kinds and the granularities are this project's choices. `adaptive`
closes a loop: what recent groups without routes achieved decides how likely the next ones are shown any.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from realm.method import seeds

T = TypeVar("T")

Kind = Literal["cosine", "linear", "step", "constant", "adaptive"]
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

    Raises `ValueError` for p or `floor` outside [0, 1], `target` outside (0, 1], `hold` not below `fade_end`, no
    stairs, or an unknown kind.
    """

    kind: Kind = "cosine"
    p_start: float = 1.0
    p_end: float = 0.0
    hold: float = 0.0
    fade_end: float = 0.9
    stairs: int = 4
    floor: float = 0.1
    target: float = 0.9

    def __post_init__(self) -> None:
        if self.kind not in ("cosine", "linear", "step", "constant", "adaptive"):
            raise ValueError(f"unknown schedule {self.kind!r}; expected cosine, linear, step, constant or adaptive")
        if not (0.0 <= self.p_start <= 1.0 and 0.0 <= self.p_end <= 1.0):
            raise ValueError(f"p must be in [0, 1], found p_start {self.p_start} and p_end {self.p_end}")
        if not self.hold < self.fade_end:
            raise ValueError(f"hold ({self.hold}) must be below fade_end ({self.fade_end})")
        if self.stairs < 1:
            raise ValueError(f"stairs must be at least 1, found {self.stairs}")
        if not (0.0 <= self.floor <= 1.0 and 0.0 < self.target <= 1.0):
            raise ValueError(f"expected floor in [0, 1] and target in (0, 1], found {self.floor} and {self.target}")

    def p(self, tau: float, success: float = 0.0) -> float:
        """p(τ) in [0, 1]; τ is clipped to [0, 1].

        Only `adaptive` reads `success`; where nothing is known of it yet (0) p is the cosine's.
        """
        tau = min(max(tau, 0.0), 1.0)
        x = min(max((tau - self.hold) / (self.fade_end - self.hold), 0.0), 1.0)
        if self.kind == "constant":
            left = 1.0
        elif self.kind == "linear":
            left = 1.0 - x
        elif self.kind == "step":
            # 1e-9: a τ that stands on the edge of a stair belongs to the lower one in spite of rounding.
            left = 1.0 - math.floor(x * self.stairs + 1e-9) / self.stairs
        else:
            left = 0.5 * (1.0 + math.cos(math.pi * x))
        # The convex form is exact at both ends: no p of 0.9999999 that now and then drops a route at τ = 0.
        p = left * self.p_start + (1.0 - left) * self.p_end
        if self.kind == "adaptive" and tau < self.fade_end:
            missing = 1.0 - min(max(success / self.target, 0.0), 1.0)
            p = min(p, max(self.floor, self.p_start * missing))
        return p


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
