from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.method.routes import Draw, Route, Selection, draw, select
from realm.method.schedule import Schedule


def bank(positives: int, negatives: int) -> list[Route]:
    return [Route(f"r{i}", f"text {i}", str(i), int(i < positives)) for i in range(positives + negatives)]


def n_negative(routes: list[Route]) -> int:
    return sum(route.label == 0 for route in routes)


STRATEGIES = ["random", "balanced", "error_ratio", "diverse", "disagreement"]


# positives, negatives in the bank, k, ratio -> negatives shown, routes shown
#   6+4, k 5, 0.4: 0.4 · 5 = 2 negatives                    6+4, k 4, 1.0: all 4 negative
#   6+1, k 5, 0.8: 4 wanted, 1 there, 4 positives fill up   1+6, k 5, 0.2: 1 wanted, but 1 positive leaves 4 negatives
#   2+2, k 9, 0.5: never more than the 4 there are          0+3, k 2, 0.0: no positive, 2 negatives fill up
GOLDEN = [
    (6, 4, 5, 0.4, 2, 5),
    (6, 4, 4, 1.0, 4, 4),
    (6, 4, 4, 0.0, 0, 4),
    (6, 1, 5, 0.8, 1, 5),
    (1, 6, 5, 0.2, 4, 5),
    (2, 2, 9, 0.5, 2, 4),
    (0, 3, 2, 0.0, 2, 2),
    (3, 3, 0, 0.5, 0, 0),
    (0, 0, 4, 0.5, 0, 0),
]


@pytest.mark.parametrize(("positives", "negatives", "k", "ratio", "wrong", "shown"), GOLDEN)
def test_error_ratio(positives: int, negatives: int, k: int, ratio: float, wrong: int, shown: int) -> None:
    for seed in range(20):
        chosen = select(bank(positives, negatives), Selection(k, "error_ratio", error_ratio=ratio), random.Random(seed))
        assert (n_negative(chosen), len(chosen)) == (wrong, shown)


def test_a_ratio_that_is_no_whole_number_holds_on_average() -> None:
    # 0.4 of 4 is 1.6: 1 or 2 negatives, 2 in 60 % of the draws. σ over 4000 draws = √(0.6 · 0.4 / 4000) = 0.0077.
    rng = random.Random(0)
    counts = [n_negative(select(bank(8, 8), Selection(4, "error_ratio", error_ratio=0.4), rng)) for _ in range(4000)]
    assert set(counts) == {1, 2}
    assert sum(counts) / 4000 == pytest.approx(1.6, abs=0.04)


def test_balanced_spreads_the_ratio_over_its_range() -> None:
    # Range 0.2 to 0.8 of k = 10: from 2 to 8 negatives, 5 on average. The ratio's σ is 10 · 0.6 / √12 = 1.73.
    rng = random.Random(0)
    selection = Selection(10, "balanced", error_range=(0.2, 0.8))
    counts = [n_negative(select(bank(20, 20), selection, rng)) for _ in range(2000)]
    assert set(counts) == set(range(2, 9))
    assert sum(counts) / 2000 == pytest.approx(5, abs=0.25)


def test_random_follows_the_bank() -> None:
    # 2 of 8 routes are negative: with k = 4 one negative on average.
    rng = random.Random(0)
    draws = [select(bank(6, 2), Selection(4), rng) for _ in range(2000)]
    assert sum(map(n_negative, draws)) / 2000 == pytest.approx(1, abs=0.07)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_place_can_hold_either_label(strategy: str) -> None:
    # Were the negatives always first, the student could read the labels off the order.
    rng = random.Random(0)
    draws = [select(bank(5, 5), Selection(4, strategy, error_ratio=0.5), rng) for _ in range(400)]  # type: ignore[arg-type]
    for place in range(4):
        assert 120 < sum(chosen[place].label for chosen in draws) < 280


@given(
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 20),
    st.sampled_from(STRATEGIES),
    st.floats(0, 1),
    st.integers(),
)
def test_select_takes_k_distinct_routes_or_all(
    positives: int, negatives: int, k: int, strategy: str, ratio: float, seed: int
) -> None:
    routes = bank(positives, negatives)
    chosen = select(routes, Selection(k, strategy, error_ratio=ratio), random.Random(seed))  # type: ignore[arg-type]
    assert len(chosen) == len(set(chosen)) == min(k, len(routes))
    assert set(chosen) <= set(routes)


def test_unknown_selection_is_refused() -> None:
    with pytest.raises(ValueError, match="selection"):
        select(bank(2, 2), Selection(2, "best"), random.Random(0))  # type: ignore[arg-type]


FADING = Selection(schedule=Schedule())
SETTINGS: dict[str, Any] = {"tau": 0.45, "seed": 3, "question_id": "q1", "step": 7}


def test_draw_is_a_pure_function_of_seed_question_and_step() -> None:
    routes = bank(6, 6)
    first = draw(routes, FADING, **SETTINGS)
    random.seed(99)
    assert draw(routes, FADING, **SETTINGS) == first
    assert draw(routes[::-1], FADING, **SETTINGS) == first
    assert first.p == pytest.approx(0.5)
    for change in ({"seed": 4}, {"question_id": "q2"}, {"step": 8}):
        early = {**SETTINGS, "tau": 0.0}
        assert draw(routes, FADING, **{**early, **change}) != draw(routes, FADING, **early)


def test_draw_is_the_same_in_another_process() -> None:
    # Salted hashes or global random state would show here.
    program = (
        "from realm.method.routes import Route, Selection, draw\nfrom realm.method.schedule import Schedule\n"
        "routes = [Route(f'r{i}', '', '', i % 2) for i in range(12)]\n"
        "made = [draw(routes, Selection(4, 'balanced', schedule=Schedule()), tau=.3, seed=0,"
        " question_id='q', step=s) for s in range(30)]\n"
        "print([[route.id for route in one.routes] for one in made])"
    )
    runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True) for _ in "ab"]
    assert runs[0].stdout == runs[1].stdout != ""


@given(st.floats(0, 1), st.floats(0, 1), st.integers(-1, 50), st.sampled_from(["route", "question"]))
def test_a_higher_p_shows_at_least_the_same_routes(one: float, other: float, step: int, granularity: str) -> None:
    def shown(p: float) -> Draw:
        schedule = Schedule(kind="constant", p_start=p)
        selection = Selection(schedule=schedule, granularity=granularity)  # type: ignore[arg-type]
        return draw(bank(6, 6), selection, **{**SETTINGS, "step": step})

    assert set(shown(min(one, other)).routes) <= set(shown(max(one, other)).routes)


def test_draw_passes_the_error_ratio_on() -> None:
    drawn = draw(bank(6, 6), Selection(4, "error_ratio", error_ratio=1.0), **SETTINGS)
    assert [route.label for route in drawn.routes] == [0] * 4


def test_diverse_shows_no_copies_where_there_is_something_else() -> None:
    texts = ["we add and get four", "we add and get four", "count them one by one", "a table of all cases helps"]
    routes = [Route(f"r{i}", text, "4", i % 2) for i, text in enumerate(texts)]
    for step in range(30):
        diverse, settings = Selection(3, "diverse"), {**SETTINGS, "step": step}
        drawn = draw(routes, diverse, **settings)
        assert {route.text for route in drawn.routes} == set(texts)
        assert draw(routes[::-1], diverse, **settings) == drawn


def test_diverse_changes_from_step_to_step_and_shuffles() -> None:
    routes = [Route(f"r{i}", f"text of its own kind number {i} {i * 7}", str(i), i % 2) for i in range(6)]
    diverse = Selection(2, "diverse")
    orders = {tuple(route.id for route in select(routes, diverse, random.Random(seed))) for seed in range(80)}
    assert len(orders) > 10
    assert {one for one, _ in orders} == {route.id for route in routes}


def test_disagreement_shows_every_answer_before_any_twice() -> None:
    answers = ["7", "7", "7", " 7 ", "8", "9"]
    routes = [Route(str(number), "text", answer, 0) for number, answer in enumerate(answers)]
    seen = set()
    for seed in range(60):
        chosen = select(routes, Selection(4, "disagreement"), random.Random(seed))
        assert sorted(route.answer.strip() for route in chosen) == ["7", "7", "8", "9"]
        assert {route.answer for route in select(routes, Selection(3, "disagreement"), random.Random(seed))} >= {
            "8",
            "9",
        }
        seen.add(tuple(route.id for route in chosen))
    assert len(seen) > 20, "which routes of an answer, and in what order, is drawn by lot"
