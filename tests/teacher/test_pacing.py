"""When to try again, how many at a time, and when to stop: bookkeeping without a clock of its own."""

from __future__ import annotations

import random

import pytest

from realm.teacher.base import Failure
from realm.teacher.pacing import LONGEST, Pace, backoff


def failure(reason: str = "500", **more: object) -> Failure:
    return Failure(reason, f"it said {reason}", **more)  # type: ignore[arg-type]


def started(ceiling: int = 16, give_up_after: int = 20) -> Pace:
    pace = Pace(ceiling, give_up_after)
    pace.answered(0.0)
    return pace


def test_backoff_grows_with_full_jitter_up_to_its_cap() -> None:
    source = random.Random(0)
    for tries in (1, 2, 5, 8, 100):
        most = min(LONGEST, 0.5 * 2 ** min(tries - 1, 30))
        drawn = [backoff(tries, source) for _ in range(500)]
        assert 0 <= min(drawn) < 0.1 * most
        assert 0.9 * most < max(drawn) <= most
    assert [Pace(1, 9, seed=3).wait(4, failure()) for _ in range(2)].count(Pace(1, 9, seed=3).wait(4, failure())) == 2


def test_nothing_leaves_before_the_server_wants_it() -> None:
    pace = started()
    asked = failure("429", retry_after=90.0)
    assert pace.failed(asked, sent=0.0, now=1.0) == ""
    assert pace.gate == 91.0
    assert all(90.0 <= pace.wait(tries, asked) <= 90.5 for tries in range(1, 9))
    pace.failed(failure("429", retry_after=2.0), sent=1.0, now=2.0)
    assert pace.gate == 91.0  # a shorter wait does not undo a longer one


def test_one_request_at_a_time_until_the_first_answer() -> None:
    pace = Pace(16, 20)
    assert pace.window == 1
    pace.failed(failure(), sent=0.0, now=1.0)
    assert pace.window == 1
    pace.answered(0.0)
    assert pace.window == 16


@pytest.mark.parametrize("reason", ["connection", "timeout", "content_type"])
def test_where_nothing_answers_three_tries_are_made(reason: str) -> None:
    pace = Pace(16, 20)
    told = [pace.failed(failure(reason), sent=float(n), now=n + 0.5) for n in range(3)]
    assert told[:2] == ["", ""]
    assert told[2] == f"no answer in 3 tries: it said {reason}"


def test_a_busy_server_is_no_missing_one() -> None:
    pace = Pace(16, 20)
    told = [pace.failed(failure(("503", "connection")[n % 2]), sent=float(n), now=n + 0.5) for n in range(19)]
    assert set(told) == {""}
    assert pace.failed(failure("503"), sent=19.0, now=19.5).startswith("20 requests failed with no answer between them")


def test_an_endpoint_that_refuses_everything_is_left_alone() -> None:
    refused = failure("400", kind="request")
    pace = Pace(16, 20)
    told = [pace.failed(refused, sent=float(n), now=n + 0.5) for n in range(5)]
    assert told == ["", "", "", "", "the endpoint refuses every request: it said 400"]
    pace = started(give_up_after=7)
    told = [pace.failed(refused, sent=float(n), now=n + 0.5) for n in range(7)]
    assert told[:6] == [""] * 6
    assert told[6].startswith("7 requests failed with no answer between them (400: 7)")


def test_refusals_and_failures_are_counted_together_and_an_answer_ends_the_count() -> None:
    pace = started(give_up_after=6)
    mixed = [failure("400", kind="request"), failure("500")] * 3
    assert {pace.failed(one, sent=float(n), now=n + 0.5) for n, one in enumerate(mixed[:5])} == {""}
    pace.answered(5.0)
    told = [pace.failed(one, sent=6.0 + n, now=6.5 + n) for n, one in enumerate(mixed)]
    assert told[:5] == [""] * 5
    assert "(400: 3, 500: 3)" in told[5]


def test_failures_of_one_moment_end_it_too_when_there_are_very_many() -> None:
    pace = started(ceiling=16, give_up_after=5)
    told = [pace.failed(failure(), sent=1.0, now=2.0 + n / 100) for n in range(51)]
    assert set(told[:50]) == {""}
    assert told[50].startswith("51 requests failed with no answer between them")
    limited = started(ceiling=16, give_up_after=5)
    assert {limited.failed(failure("429"), sent=1.0, now=2.0 + n / 100) for n in range(500)} == {""}


def test_what_left_before_an_answer_came_shows_nothing() -> None:
    pace = started(give_up_after=2)
    pace.answered(9.0)
    assert {pace.failed(failure(), sent=float(n), now=10.0) for n in range(9)} == {""}


def test_unreadable_answers_are_no_streak_unless_there_is_nothing_else() -> None:
    pace = started(ceiling=4, give_up_after=3)
    told = [pace.failed(failure("not_json"), sent=float(n), now=n + 0.5) for n in range(31)]
    assert set(told[:30]) == {""} and told[30]
    assert pace.window == 4


def test_failures_in_a_row_end_it_with_their_reasons() -> None:
    pace = started(give_up_after=4)
    for n in range(3):
        assert pace.failed(failure("500"), sent=float(n), now=n + 0.5) == ""
    pace.answered(3.0)
    reasons = enumerate(("500", "503", "500", "500"), start=10)
    told = [pace.failed(failure(reason), sent=float(n), now=n + 0.5) for n, reason in reasons]
    assert told[:3] == [""] * 3
    assert told[3] == "4 requests failed with no answer between them (500: 3, 503: 1); the last: it said 500"


def test_what_was_under_way_together_counts_once() -> None:
    pace = started(give_up_after=4)
    assert {pace.failed(failure(), sent=0.0, now=1.0 + n / 100) for n in range(16)} == {""}
    assert pace.failed(failure(), sent=2.0, now=3.0) == ""


def test_a_broken_endpoint_is_probed_with_growing_pauses() -> None:
    pace = started(give_up_after=8)
    now, gates = 0.0, []
    for _ in range(7):
        pace.failed(failure(), sent=now, now=now + 1)
        gates.append(max(0.0, pace.gate - now - 1))
        now = max(now + 2, pace.gate)
    assert gates == [0, 0, 0, 0.5, 1, 2, 4]
    assert pace.window == 1
    pace.answered(0.0)
    assert pace.window == 16


@pytest.mark.parametrize("reason", ["429", "timeout"])
def test_fewer_at_a_time_after_429_or_a_timeout_and_more_with_every_answer(reason: str) -> None:
    pace = started(ceiling=100)
    for n in range(30):
        pace.failed(failure(reason), sent=0.0, now=1.0 + n / 100)  # one burst, one step
    assert pace.window == 70
    pace.failed(failure(reason), sent=2.0, now=3.0)
    assert pace.window == 49
    for _ in range(2000):
        pace.answered(0.0)
    assert pace.window == 100
    for n in range(200):
        pace.failed(failure(reason), sent=4.0 + n, now=4.5 + n)
        assert pace.window >= 1


def test_a_server_that_answers_one_after_the_other_is_not_asked_for_more_than_it_can() -> None:
    """As Ollama does: first come first served, 14 to 26 s an answer; who waits for 120 s goes."""
    source, pace, now, begun, queue, answered, late = random.Random(0), started(), 0.0, 0.0, list[float](), 0, 0
    while answered < 200:
        queue += [now] * (pace.window - len(queue))
        ends, leaves = begun + source.uniform(14, 26), queue[0] + 120.0
        now = begun = max(now, min(ends, leaves))
        sent = queue.pop(0)
        if ends <= leaves:
            pace.answered(now)
            answered += 1
        else:
            assert pace.failed(failure("timeout"), sent, now) == ""
            late += 1
    assert late < 200
