"""Routes: which k of a question's N labelled CoTs are shown to the student at one step."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from realm.method import seeds
from realm.method.distance import farthest_point
from realm.method.outside import OutsideError, called
from realm.method.schedule import ALWAYS, Granularity, Schedule, fade


@dataclass(frozen=True)
class Route:
    """A CoT as it is placed in a prompt: its reasoning, its own final answer, its label (1 right, 0 wrong)."""

    id: str
    text: str
    answer: str
    label: int


@dataclass(frozen=True)
class Draw:
    """What one prompt shows: the routes left after fading, in prompt order, and the p they were faded with."""

    routes: tuple[Route, ...]
    p: float


#: What a prompt without routes shows.
NOTHING = Draw((), 0.0)


@dataclass(frozen=True)
class Selection:
    """Which routes of a question a prompt shows: `k` by `strategy`, then faded by `schedule`.

    `strategy` is one of `STRATEGIES` by its name, or any other `Strategy`. `error_ratio` and `error_range` are read by
    the strategies `error_ratio` and `balanced`.
    """

    k: int = 4
    strategy: str | Strategy = "random"
    error_ratio: float = 0.4
    error_range: tuple[float, float] = (0.2, 0.8)
    schedule: Schedule = ALWAYS
    granularity: Granularity = "route"


class Strategy(Protocol):
    """Chooses k of the routes, in the order in which the prompt shows them."""

    def __call__(self, routes: Sequence[Route], k: int, rng: random.Random, selection: Selection, /) -> list[Route]:
        """k different ones of the routes, which are at least as many and stand in the order of their ids, or, beside an
        example of SFT, in that of the bank.

        `rng`, a function of seed, question and step, is the only source of chance; an order that tells something of
        the labels would be learned.
        """
        ...


def select(routes: Sequence[Route], selection: Selection, rng: random.Random) -> list[Route]:
    """k of the routes without replacement, shuffled; all of them (shuffled) where there are fewer than k.

    Raises `ValueError` for a strategy that is none, or that chooses what it may not.

    `random`: every subset alike (the paper's choice). `error_ratio`: that share of the k is negative. `balanced`: the
    share is drawn evenly from `error_range` first. A share that is no whole number of routes is rounded up or down by
    lot so that it holds on average, and where one label is short the other fills its places. `diverse`: routes whose
    texts lie far from each other, so that redundant CoTs are not shown together (`distance.farthest_point`; labels do
    not count); the first is drawn by lot, so the choice changes from step to step. Of 16 routes of 250 words 4 are
    chosen in about 0.2 ms, and every text that is new takes 0.1 ms more. `disagreement`: as many different answers as
    possible, one route of each before a second of any, so that there is something to decide (labels do not count).
    """
    k, strategy = min(selection.k, len(routes)), selection.strategy
    if isinstance(strategy, str):
        if strategy not in STRATEGIES:
            raise ValueError(f"unknown selection {strategy!r}; expected one of {', '.join(STRATEGIES)}")
        strategy = STRATEGIES[strategy]
    chosen = strategy(routes, k, rng, selection)
    left = {id(route) for route in routes}
    if len(chosen) != k or {id(route) for route in chosen} - left or len(set(map(id, chosen))) != k:
        raise OutsideError(
            f"the selection {called(strategy)} gave {chosen!r:.80}, expected {k} of the {len(routes)} routes given"
        )
    return chosen


def _random(routes: Sequence[Route], k: int, rng: random.Random, selection: Selection) -> list[Route]:
    return rng.sample(routes, k)


def _diverse(routes: Sequence[Route], k: int, rng: random.Random, selection: Selection) -> list[Route]:
    chosen = [routes[index] for index in farthest_point([route.text for route in routes], k, rng)]
    # The first chosen is the farthest from nothing: its place in the prompt must not tell.
    rng.shuffle(chosen)
    return chosen


def _error_ratio(routes: Sequence[Route], k: int, rng: random.Random, selection: Selection) -> list[Route]:
    return _mixed(routes, k, rng, k * selection.error_ratio)


def _balanced(routes: Sequence[Route], k: int, rng: random.Random, selection: Selection) -> list[Route]:
    return _mixed(routes, k, rng, k * rng.uniform(*selection.error_range))


def _mixed(routes: Sequence[Route], k: int, rng: random.Random, wanted: float) -> list[Route]:
    """k routes, shuffled, `wanted` of them negative as far as there are as many."""
    negatives = [route for route in routes if route.label == 0]
    positives = [route for route in routes if route.label != 0]
    n_negative = math.floor(wanted) + (rng.random() < wanted - math.floor(wanted))
    n_negative = min(max(n_negative, k - len(positives)), len(negatives))
    chosen = rng.sample(negatives, n_negative) + rng.sample(positives, k - n_negative)
    rng.shuffle(chosen)
    return chosen


def _disagreeing(routes: Sequence[Route], k: int, rng: random.Random, selection: Selection) -> list[Route]:
    """k routes, shuffled: the answers take turns, in an order by lot, each with one of its routes by lot."""
    by_answer: dict[str, list[Route]] = {}
    for route in rng.sample(routes, len(routes)):
        by_answer.setdefault(" ".join(route.answer.casefold().split()), []).append(route)
    turns = [(turn, place, route) for place, held in enumerate(by_answer.values()) for turn, route in enumerate(held)]
    chosen = [route for _, _, route in sorted(turns, key=lambda item: item[:2])[:k]]
    rng.shuffle(chosen)
    return chosen


#: The strategies of this package; `select` says what each does.
STRATEGIES: dict[str, Strategy] = {
    "random": _random,
    "balanced": _balanced,
    "error_ratio": _error_ratio,
    "diverse": _diverse,
    "disagreement": _disagreeing,
}


def draw(
    routes: Sequence[Route],
    selection: Selection,
    *,
    seed: int,
    question_id: str,
    step: int,
    tau: float = 0.0,
    success: float = 0.0,
) -> Draw:
    """The routes of one question at one step: `select`, then `fade` with p(τ) (`adaptive`: p(τ, success)).

    A pure function of its arguments in which (seed, question_id, step) is the only source of chance: all members of
    a group, all processes and a resumed run see the same prompt. The order of `routes` does not matter (a bank that
    was filled in parallel has none), and the choice of the k does not depend on p: of two schedules, the one with
    the higher p shows every route that the other shows at that step (granularities route and question).
    """
    p = selection.schedule.p(tau, success)
    ordered = sorted(routes, key=lambda route: route.id)
    chosen = select(ordered, selection, seeds.rng(seed, "select", question_id, step))
    return Draw(tuple(fade(chosen, p, selection.granularity, seeds.rng(seed, "fade", question_id, step))), p)
