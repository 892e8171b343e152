"""What is owed: shares, keys, bounds and estimates are pure functions of the configuration."""

from __future__ import annotations

import hashlib
import itertools
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.config import load_config
from realm.desk.task import DeskTask
from realm.sections import TeacherConfig
from realm.teacher.collect import make_plan
from realm.teacher.plan import Source, deal, measure, preview, survey
from tests.teacher.fake_teacher import PRICED, FakeTeacher, Sums, make_config, plan_of, settings

SHARES = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 9), min_size=1).filter(lambda x: any(x.values()))


@given(SHARES, st.integers(0, 60))
def test_every_teacher_is_near_its_share_at_any_number_of_samples(shares: dict[str, int], samples: int) -> None:
    dealt = deal(shares, samples)
    total = sum(shares.values())
    for length in range(samples + 1):
        for name, share in shares.items():
            assert abs(sum(who == name for who, _ in dealt[:length]) - length * share / total) < len(shares)
    for name, share in shares.items():
        own = [number for who, number in dealt if who == name]
        assert own == list(range(len(own)))
        assert share > 0 or not own
    whole = deal(shares, total)
    assert all(sum(who == name for who, _ in whole) == share for name, share in shares.items())


@given(SHARES, st.integers(0, 30), st.integers(0, 30))
def test_more_samples_keep_the_earlier_ones(shares: dict[str, int], few: int, more: int) -> None:
    assert deal(shares, few + more)[:few] == deal(shares, few)


def test_the_order_of_the_configuration_breaks_ties() -> None:
    assert deal({"b": 1, "a": 1}, 3) == [("b", 0), ("a", 0), ("b", 1)]
    assert [who for who, _ in deal({"big": 3, "small": 1}, 4)] == ["big", "big", "small", "big"]


def test_the_key_is_the_hash_of_everything_that_decides_the_text() -> None:
    task, config = Sums(3), make_config("bank.samples=2")
    teacher = FakeTeacher()
    jobs = list(plan_of(config, task, {teacher: settings()}).jobs(Source(teacher, settings())))
    assert [(job.question.id, job.number) for job in jobs] == list(itertools.product(("q0", "q1", "q2"), (0, 1)))
    for job in jobs:
        content = [job.question.id, job.question.question, "fake", {"temperature": 1}, job.messages, job.number]
        assert job.key == hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    teacher.parameters = {"temperature": 2}
    other = {job.key for job in plan_of(config, task, {teacher: settings()}).jobs(Source(teacher, settings()))}
    assert other.isdisjoint(job.key for job in jobs)


def test_the_keys_of_the_scripted_teacher_stay() -> None:
    # Banks in use were collected under these.
    plan = make_plan(load_config(None, ["bank.samples=4"]), DeskTask(max_train=40, max_test=10))
    keys = [job.key for job in itertools.islice(plan.jobs(plan.sources[0]), 3)]
    assert keys == ["eedab7d9964fd282", "ca62a35b49d8c136", "922106ea858268fd"]


def test_what_the_bank_has_is_not_owed_and_more_samples_are() -> None:
    task, teacher = Sums(4), FakeTeacher()
    few, more = (plan_of(make_config(f"bank.samples={n}"), task, {teacher: settings()}) for n in (2, 5))
    source = few.sources[0]
    present = {job.key for job in few.jobs(source)}
    assert present < {job.key for job in more.jobs(source)}
    owed = list(more.jobs(source, present))
    assert [job.number for job in owed] == [2, 3, 4] * 4
    assert survey(more, present, {})[0].samples == 12


def test_jobs_are_made_one_at_a_time() -> None:
    class Endless(list):  # type: ignore[type-arg]
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield Sums(1).questions[0]
            raise AssertionError("looked further than asked")

    task, teacher = Sums(1), FakeTeacher()
    plan = plan_of(make_config(), task, {teacher: settings()})
    plan.questions = Endless()
    assert next(plan.jobs(plan.sources[0])).question.id == "q0"


def test_every_try_has_the_randomness_of_the_sample() -> None:
    task, teacher = Sums(1), FakeTeacher()
    plan = plan_of(make_config("guidance.probability=0.5", "bank.samples=3"), task, {teacher: settings()})
    for job in plan.jobs(plan.sources[0]):
        first, second = (plan.ask(plan.sources[0], job).source.random() for _ in range(2))
        assert first == second


def test_bound_and_cost() -> None:
    source = Source(FakeTeacher(), settings(max_tokens=50, price=PRICED))
    messages = [{"role": "system", "content": "é€"}, {"role": "user", "content": "abc\ud800"}]
    assert measure(messages) == (2, 5 + 4)
    assert source.bound(messages) == (9 + 2 * 64, 50)
    assert source.cost(10, 3) == Decimal("0.016")
    assert source.currency == "USD"
    assert Source(FakeTeacher(), settings()).cost(10, 3) is None
    local = FakeTeacher()
    local.costs = "time"
    assert Source(local, TeacherConfig(kind="transformers", model="m")).cost(10, 3) == 0


@given(st.text(max_size=50))
def test_any_text_can_be_measured(text: str) -> None:
    assert measure([{"role": "user", "content": text}])[1] >= len(text)


def test_the_estimate_says_about_and_at_most() -> None:
    task, teacher = Sums(3), FakeTeacher()
    plan = plan_of(make_config("bank.samples=2"), task, {teacher: settings(max_tokens=10, price=PRICED)})
    (unknown,) = survey(plan, (), {})
    assert (unknown.samples, unknown.guided, unknown.prompt) == (6, 0, 6 * 2)  # "0 + 1?": 6 bytes, two tokens
    assert unknown.prompt_most == 6 * (6 + 64)
    assert (unknown.completion, unknown.completion_most) == (None, 60)
    assert unknown.cost() == (None, Decimal("0.42") + Decimal("0.12"))
    (known,) = survey(plan, (), {"fake": 2.5})
    assert known.completion == 15
    assert known.cost()[0] == Decimal("0.012") + Decimal("0.030")


@pytest.mark.parametrize(("probability", "guided"), [(0, 0), (0.5, 2), (1, 4)])
def test_samples_to_look_at_are_of_both_kinds_where_there_are_both(probability: float, guided: int) -> None:
    task, teachers = Sums(40), {FakeTeacher(name=name): settings() for name in ("one", "two")}
    config = make_config(f"guidance.probability={probability}", "bank.samples=2")
    found = preview(plan_of(config, task, teachers), 4)
    assert [source.name for source, _ in found] == ["one", "two"] * 2
    assert sum(bool(job.comments) for _, job in found) == guided
    assert len(preview(plan_of(config, Sums(1), teachers), 9)) == 2
