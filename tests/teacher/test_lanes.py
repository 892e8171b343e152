"""A teacher's samples on their way: retries when they are due, fresh ones otherwise, never too many asleep."""

from __future__ import annotations

from realm.teacher.lanes import Lane, Try
from realm.teacher.pacing import Pace
from tests.teacher.fake_teacher import FakeTeacher, Sums, make_config, plan_of, settings


def make_lane(sleepers: int = 2, batch: int = 1, count: int = 6) -> Lane:
    teacher = FakeTeacher(batch=batch, concurrent=batch == 1)
    plan = plan_of(make_config(), Sums(count), {teacher: settings()})
    (source,) = plan.sources
    pace = Pace(8, 20)
    pace.answered(0.0)
    return Lane(source, plan.jobs(source), pace, sleepers)


def names(tries: list[Try]) -> list[str]:
    return [tried.job.question.id for tried in tries]


def test_a_retry_comes_when_it_is_due_and_before_fresh_samples() -> None:
    lane = make_lane()
    (first,) = lane.take(0.0)
    lane.sleep(first, 5.0)
    assert names(lane.take(1.0)) == ["q1"]
    (again,) = lane.take(5.0)
    assert (names([again]), again.failed) == (["q0"], 1)
    assert names(lane.take(6.0)) == ["q2"]


def test_no_fresh_sample_is_begun_while_many_wait() -> None:
    lane = make_lane(sleepers=2)
    for _ in range(2):
        lane.sleep(lane.take(0.0)[0], 5.0)
    assert lane.take(1.0) == []
    assert lane.due() == 5.0
    assert names(lane.take(5.0)) == ["q0"]
    assert names(lane.take(1.0)) == ["q2"]


def test_what_is_put_back_comes_first_and_in_its_order() -> None:
    lane = make_lane(batch=3)
    tries = lane.take(0.0)
    lane.put_back(tries[1:])
    assert names(lane.take(0.0)) == ["q1", "q2", "q3"]
    lane.put_back([Try(tried.job, alone=True) for tried in tries[:2]])
    assert [names(lane.take(0.0)) for _ in range(4)] == [["q0"], ["q1"], ["q4", "q5"], []]
    assert lane.due() is None


def test_a_closed_gate_holds_everything() -> None:
    lane = make_lane()
    lane.pace.gate = 7.0
    assert not lane.free(6.9)
    assert lane.free(7.0)
    assert lane.due() == 7.0
