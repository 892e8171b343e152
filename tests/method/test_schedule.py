from __future__ import annotations

import math
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.method.schedule import SCHEDULES, Schedule, fade, is_probe, moving_average

# With the defaults hold 0 and fade_end 0.9: x = τ / 0.9, and cosine p = ½ (1 + cos πx).
#   τ 0.225 -> x ¼ -> ½ (1 + √½) = 0.8535534     τ 0.3 -> x ⅓ -> ½ (1 + ½) = 0.75
#   τ 0.45  -> x ½ -> ½                          τ 0.6 -> x ⅔ -> ½ (1 − ½) = 0.25
COSINE = [(0.0, 1.0), (0.225, 0.8535534), (0.3, 0.75), (0.45, 0.5), (0.6, 0.25), (0.9, 0.0), (0.95, 0.0), (1.0, 0.0)]
# p_start 0.8, p_end 0.2, hold 0.2, fade_end 0.8: x = (τ − 0.2) / 0.6.
#   cosine at τ 0.4: x ⅓ -> 0.2 + 0.6 · 0.75 = 0.65;  linear at τ 0.35: x ¼ -> 0.8 − 0.6 · ¼ = 0.65
SHIFTED = {"p_start": 0.8, "p_end": 0.2, "hold": 0.2, "fade_end": 0.8}
# step with 4 stairs from 1 to 0 until τ 0.8: drops of ¼ at τ 0.2, 0.4, 0.6 and 0.8.
STEP = [
    (0.0, 1.0),
    (0.19, 1.0),
    (0.2, 0.75),
    (0.39, 0.75),
    (0.4, 0.5),
    (0.6, 0.25),
    (0.79, 0.25),
    (0.8, 0.0),
    (1.0, 0.0),
]


@pytest.mark.parametrize(("tau", "p"), COSINE)
def test_cosine(tau: float, p: float) -> None:
    assert Schedule().p(tau) == pytest.approx(p, abs=1e-7)


@pytest.mark.parametrize(
    ("kind", "tau", "p"),
    [
        ("cosine", 0.1, 0.8),
        ("cosine", 0.4, 0.65),
        ("cosine", 0.5, 0.5),
        ("cosine", 0.9, 0.2),
        ("linear", 0.2, 0.8),
        ("linear", 0.35, 0.65),
        ("linear", 0.5, 0.5),
        ("linear", 1.0, 0.2),
        ("constant", 0.0, 0.8),
        ("constant", 1.0, 0.8),
    ],
)
def test_hold_fade_end_and_both_ends_of_p(kind: str, tau: float, p: float) -> None:
    assert Schedule(kind=kind, **SHIFTED).p(tau) == pytest.approx(p)  # type: ignore[arg-type]


@pytest.mark.parametrize(("tau", "p"), STEP)
def test_step_stands_on_its_stairs(tau: float, p: float) -> None:
    assert Schedule(kind="step", fade_end=0.8, stairs=4).p(tau) == p


def test_step_is_not_shifted_by_rounding() -> None:
    # Ten stairs until τ 0.9: the i-th drop is at τ = 0.09 i, which in floating point is often a hair below.
    schedule = Schedule(kind="step", stairs=10)
    assert [schedule.p(0.09 * i) for i in range(11)] == pytest.approx([1 - i / 10 for i in range(11)])


@given(
    st.sampled_from(["cosine", "linear", "step", "constant"]),
    st.floats(0, 1),
    st.floats(0, 1),
    st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda pair: pair[0] < pair[1]),
    st.floats(-1, 2),
    st.floats(-1, 2),
)
def test_p_stays_between_its_ends_and_never_turns_back(
    kind: str, p_start: float, p_end: float, span: tuple[float, float], one: float, other: float
) -> None:
    schedule = Schedule(kind=kind, p_start=p_start, p_end=p_end, hold=span[0], fade_end=span[1])  # type: ignore[arg-type]
    early, late = schedule.p(min(one, other)), schedule.p(max(one, other))
    assert min(p_start, p_end) - 1e-12 <= early <= max(p_start, p_end) + 1e-12
    assert (late - early) * (p_end - p_start) >= -1e-12
    assert schedule.p(0.0 if span[0] >= 0 else span[0]) == p_start
    assert schedule.p(-5) == schedule.p(0)
    assert schedule.p(7) == schedule.p(1) == (p_start if kind == "constant" else p_end)


@pytest.mark.parametrize(
    "bad",
    [
        {"p_start": 1.5},
        {"p_end": -0.1},
        {"p_start": math.nan},
        {"hold": 0.9},
        {"hold": 0.5, "fade_end": 0.2},
        {"stairs": 0},
        {"kind": "sudden"},
        {"floor": -0.1},
        {"target": 0.0},
        {"target": math.nan},
    ],
)
def test_impossible_schedules_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match=r"p must be|hold|stairs|schedule|target"):
        Schedule(**bad)


# With the defaults floor 0.1, target 0.9, fade_end 0.9, and the cosine's 0.8535534 at τ 0.225 and 0.25 at τ 0.6:
@pytest.mark.parametrize(
    ("tau", "success", "p"),
    [
        (0.225, 0.0, 0.8535534),  # nothing achieved: the cosine
        (0.225, 0.09, 0.8535534),  # 1 − 0.09 / 0.9 = 0.9 is above it still
        (0.225, 0.45, 0.5),  # 1 − 0.45 / 0.9
        (0.225, 0.72, 0.2),
        (0.225, 0.9, 0.1),  # the target: the floor
        (0.225, 1.0, 0.1),
        (0.6, 0.45, 0.25),  # the cosine caps 0.5
        (0.85, 1.0, 0.0075961),  # the cosine, ½ (1 + cos(π · 0.85 / 0.9)), is below the floor
        (0.9, 0.0, 0.0),  # the deadline
        (0.9, 1.0, 0.0),
    ],
)
def test_adaptive(tau: float, success: float, p: float) -> None:
    assert Schedule(kind="adaptive").p(tau, success) == pytest.approx(p, abs=1e-7)


def test_adaptive_counts_down_from_p_start_and_ends_at_p_end() -> None:
    schedule = Schedule(kind="adaptive", p_start=0.8, p_end=0.3, floor=0.2, target=0.5, fade_end=0.6)
    assert [schedule.p(0.1, success) for success in (0.25, 0.5)] == pytest.approx([0.4, 0.2])
    assert [schedule.p(tau, 0.5) for tau in (0.599, 0.6, 1.0)] == [0.2, 0.3, 0.3]


@given(
    st.tuples(*[st.floats(0, 1)] * 4, st.floats(0, 1, exclude_min=True)),
    st.floats(0.1, 1),
    st.floats(0, 1),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_adaptive_falls_with_success_and_never_passes_the_cosine(
    ends: tuple[float, float, float, float, float], fade_end: float, tau: float, success: tuple[float, float]
) -> None:
    p_start, p_end, floor, hold, target = ends
    options = {"p_start": p_start, "p_end": p_end, "hold": hold * fade_end * 0.99, "fade_end": fade_end}
    schedule, cosine = Schedule(kind="adaptive", floor=floor, target=target, **options), Schedule(**options)
    less, more = schedule.p(tau, min(success)), schedule.p(tau, max(success))
    assert 0 <= more <= less <= cosine.p(tau)
    if tau < fade_end:
        assert more >= min(floor, cosine.p(tau))
        assert schedule.p(tau, 0.0) == min(cosine.p(tau), max(floor, p_start))
    else:
        assert less == more == p_end


def test_a_kind_of_others_reads_what_it_likes() -> None:
    plain = Schedule(lambda tau, schedule: schedule.p_start * (1 - tau) ** schedule.stairs, p_start=0.5, stairs=2)
    assert [plain.p(tau, 0.9) for tau in (-1, 0, 0.5, 2)] == [0.5, 0.5, 0.125, 0.0] and not plain.follows
    following = Schedule(lambda tau, schedule, success: 1 - success)
    assert following.p(0.5, 0.75) == 0.25 and following.follows and following.p(0.5) == 1.0
    assert [kind for kind in SCHEDULES if Schedule(kind).follows] == ["adaptive"]


NO_SHARE = [math.nan, "1", None, 1.25, -0.5]


def too_much(tau: float, schedule: Schedule, success: float) -> object:
    return NO_SHARE[int(success)]


@pytest.mark.parametrize("which", range(len(NO_SHARE)))
def test_a_kind_of_others_that_gives_no_p_is_told_with_place_and_value(which: int) -> None:
    told = f"the schedule {__name__}:too_much gave {NO_SHARE[which]!r} at τ = 0.25 and success {which}, expected a"
    with pytest.raises(ValueError, match=re.escape(told)):
        Schedule(too_much).p(0.25, which)  # type: ignore[arg-type]


@given(st.sampled_from(["cosine", "linear", "step", "constant"]), st.floats(0, 1), st.floats(0, 1))
def test_only_adaptive_looks_at_success(kind: str, tau: float, success: float) -> None:
    schedule = Schedule(kind=kind)  # type: ignore[arg-type]
    assert schedule.p(tau, success) == schedule.p(tau)


def test_moving_average() -> None:
    # 0.5 first; then 0.8 · 0.5 + 0.2 · 1 = 0.6; then 0.8 · 0.6 + 0.2 · 0 = 0.48
    found: list[float] = []
    for value in (0.5, 1.0, 0.0):
        found.append(moving_average(found[-1] if found else None, value, 0.8))
    assert found == pytest.approx([0.5, 0.6, 0.48])
    assert moving_average(0.5, 0.25, 0.0) == 0.25


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_moving_average_stays_between_old_and_new(old: float, new: float, memory: float) -> None:
    assert min(old, new) - 1e-12 <= moving_average(old, new, memory) <= max(old, new) + 1e-12


def test_probes_are_that_share_of_the_groups_and_a_function_of_their_names() -> None:
    # 5000 groups at ¼: 1250 give or take 31 (√(5000 · ¼ · ¾)); 155 is 5 σ.
    names = [(f"q{number}", step) for number in range(100) for step in range(50)]

    def probes(share: float, seed: int = 0) -> list[bool]:
        return [is_probe(share, seed=seed, question_id=name, step=step) for name, step in names]

    found = probes(0.25)
    assert abs(sum(found) - 1250) < 155
    assert found == probes(0.25) != probes(0.25, seed=1)
    assert not any(probes(0.0)) and all(probes(1.0))


@pytest.mark.parametrize("granularity", ["route", "question", "count"])
@given(routes=st.lists(st.integers(), max_size=8), seed=st.integers())
def test_fade_shows_all_at_one_and_none_at_zero(granularity: str, routes: list[int], seed: int) -> None:
    assert fade(routes, 1.0, granularity, random.Random(seed)) == routes  # type: ignore[arg-type]
    assert fade(routes, 0.0, granularity, random.Random(seed)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("granularity", ["route", "question", "count"])
@given(n=st.integers(0, 8), p=st.floats(0, 1), seed=st.integers())
def test_fade_keeps_the_order(granularity: str, n: int, p: float, seed: int) -> None:
    kept = fade(range(n), p, granularity, random.Random(seed))  # type: ignore[arg-type]
    assert kept == sorted(set(kept))


# Count: k·p to the nearest, halves up. 4 · 0.3 = 1.2 -> 1; 4 · 0.375 = 1.5 -> 2; 4 · 0.6 = 2.4 -> 2; 1 · 0.5 -> 1;
# 3 · 0.1 = 0.3 -> 0; 5 · 0.9 = 4.5 -> 5.
@pytest.mark.parametrize(
    ("k", "p", "kept"), [(4, 0.3, 1), (4, 0.375, 2), (4, 0.6, 2), (1, 0.5, 1), (3, 0.1, 0), (5, 0.9, 5), (0, 0.5, 0)]
)
def test_count_is_rounded(k: int, p: float, kept: int) -> None:
    assert {len(fade(range(k), p, "count", random.Random(seed))) for seed in range(20)} == {kept}


def test_which_routes_stay_is_left_to_chance() -> None:
    # 4000 draws of 4 routes at p = ¼. Each route stays in 1000 of them give or take 27 (√(4000 · ¼ · ¾)); 140 is 5 σ.
    rng = random.Random(0)
    for granularity in ("route", "question", "count"):
        draws = [fade(range(4), 0.25, granularity, rng) for _ in range(4000)]
        sizes = {len(kept) for kept in draws}
        assert sizes == {"route": {0, 1, 2, 3, 4}, "question": {0, 4}, "count": {1}}[granularity]
        for route in range(4):
            assert abs(sum(route in kept for kept in draws) - 1000) < 140


def test_unknown_granularity_is_refused() -> None:
    with pytest.raises(ValueError, match="granularity"):
        fade([1], 0.5, "token", random.Random(0))  # type: ignore[arg-type]
