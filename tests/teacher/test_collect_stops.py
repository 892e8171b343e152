"""When a collection stops by itself, and what it keeps: hung requests, refusals, useless answers, waits, limits."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
from collections import Counter
from pathlib import Path

import pytest

from realm.errors import ConfigError, TeacherError
from realm.teacher.base import Ask, Failure, Reply
from realm.teacher.client import _out_of_files
from realm.teacher.collect import reserve_files
from realm.teacher.lanes import Tally
from tests.teacher.fake_teacher import FakeTeacher, Sums, gather, right, rows, settings


def stopped(path: Path, teacher: FakeTeacher, *overrides: str, count: int = 400) -> str:
    with pytest.raises(TeacherError) as caught:
        gather(path, teacher, *overrides, task=Sums(count))
    return str(caught.value)


def test_one_request_that_hangs_does_not_hide_that_all_others_fail(tmp_path: Path) -> None:
    class Hung(FakeTeacher):
        async def ask(self, asks: list[Ask]) -> list[Reply]:  # type: ignore[override]
            if len(self.order) == 3:
                self.order.append("hung")
                await asyncio.sleep(0.5)
                raise Failure("timeout", "no whole answer", billed=True)
            return await super().ask(asks)

    def behave(ask: Ask, number: int) -> Reply | Failure:
        return right(ask) if len(teacher.order) <= 3 else Failure("500", "broken")

    teacher = Hung(behave)
    message = stopped(tmp_path / "bank", teacher, "collect.concurrency=8", "collect.give_up_after=6")
    assert "requests failed with no answer between them (500: " in message
    assert len(teacher.order) < 100
    assert len(rows(tmp_path / "bank")) == 3


def test_two_questions_that_hang_are_named(tmp_path: Path) -> None:
    def behave(ask: Ask, number: int) -> Reply | Failure:
        hangs = ask.question.id in ("q3", "q7")
        return Failure("timeout", "no whole answer within 2 s", billed=True) if hangs else right(ask)

    teacher = FakeTeacher(behave)
    message = stopped(tmp_path / "bank", teacher, "collect.give_up_after=7", "collect.retries=9", count=20)
    assert re.search(
        r"All of them were for 2 questions: q\d \(timeout: \d\), q\d \(timeout: \d\)\. Everything", message
    )
    assert "For the rest --resume: raise collect.timeout, or take them out of the file of questions first" in message
    assert len(rows(tmp_path / "bank")) == 18


def test_an_endpoint_that_goes_away_is_blamed_on_no_question(tmp_path: Path) -> None:
    teacher = FakeTeacher(lambda ask, number: right(ask) if len(teacher.order) <= 3 else Failure("500", "broken"))
    message = stopped(tmp_path / "bank", teacher, "collect.concurrency=1", "collect.give_up_after=6")
    assert "All of them were" not in message


@pytest.mark.parametrize("other", ["400", "500"])
def test_samples_refused_in_a_row_end_it(tmp_path: Path, other: str) -> None:
    def behave(ask: Ask, number: int) -> Reply | Failure:
        if len(teacher.order) <= 3:
            return right(ask)
        if len(teacher.order) % 2:
            return Failure(other, "no", kind="request" if other == "400" else "transient")
        return Failure("400", "bad request", kind="request")

    teacher = FakeTeacher(behave)
    assert "400: " in stopped(tmp_path / "bank", teacher, "collect.give_up_after=8", "collect.concurrency=2")
    assert len(teacher.order) <= 3 + 8 * 2
    assert len(rows(tmp_path / "bank")) == 3


@pytest.mark.parametrize("first", [False, True])
def test_a_sample_that_is_denied_after_an_answer_costs_only_itself(tmp_path: Path, first: bool) -> None:
    def behave(ask: Ask, number: int) -> Reply | Failure:
        denied = len(teacher.order) == (1 if first else 5)
        return Failure("403", "moderated", kind="denied") if denied else right(ask)

    teacher = FakeTeacher(behave)
    if first:
        assert stopped(tmp_path / "bank", teacher) == "teachers.fake (http://there/v1): moderated."
        assert len(teacher.order) == 1
    else:
        tally = gather(tmp_path / "bank", teacher)
        assert (tally.done, tally.given_up) == (9, {"403": 1})


@pytest.mark.parametrize(
    ("problem", "setting"), [("cut", "sampling.max_tokens"), ("no_answer", "teachers.fake.prompt")]
)
def test_fifty_answers_of_which_none_is_usable_end_it(tmp_path: Path, problem: str, setting: str) -> None:
    def behave(ask: Ask, number: int) -> Reply:
        return Reply("I", "", "refused" if len(teacher.order) % 10 == 0 else problem, 7, 5)

    teacher = FakeTeacher(behave)
    message = stopped(tmp_path / "bank", teacher, "collect.concurrency=4", count=300)
    assert "answers is usable" in message and f"{problem}: " in message and setting in message
    kept = rows(tmp_path / "bank")
    assert 50 <= len(kept) == len(teacher.order) < 200
    assert {cot.problem for cot in kept} == {problem, "refused"}


def test_one_usable_answer_among_the_first_is_enough(tmp_path: Path) -> None:
    def behave(ask: Ask, number: int) -> Reply:
        return right(ask) if ask.question.id == "q30" else Reply("I", "", "cut", 7, 5)

    tally = gather(tmp_path / "bank", FakeTeacher(behave), task=Sums(200))
    assert (tally.done, tally.left, tally.problems) == (200, 0, {"cut": 199})


def test_samples_that_never_come_readable_do_not_end_it(tmp_path: Path) -> None:
    def behave(ask: Ask, number: int) -> Reply | Failure:
        bad = int(ask.question.id[1:]) % 3 == 1
        return Failure("not_json", "what?", billed=True, body="{") if bad else right(ask)

    teacher = FakeTeacher(behave)
    tally = gather(tmp_path / "bank", teacher, "collect.give_up_after=2", "collect.concurrency=2", task=Sums(60))
    assert (tally.done, tally.left, tally.problems) == (60, 0, {"malformed": 20})
    assert set(teacher.asked.values()) == {1, 3}


def test_only_unreadable_answers_count_towards_their_limit(tmp_path: Path) -> None:
    def behave(ask: Ask, number: int) -> Reply | Failure:
        if ask.question.id != "q4" or number == 5:
            return right(ask)
        return Failure("not_json", "what?", body="{") if number > 2 else Failure("500", "no")

    tally = gather(tmp_path / "bank", FakeTeacher(behave))
    assert (tally.done, tally.problems) == (10, {})


def test_the_failure_that_ends_it_is_kept_where_it_has_a_body(tmp_path: Path) -> None:
    def behave(ask: Ask, number: int) -> Reply | Failure:
        bad = len(teacher.order) > 3
        return Failure("not_json", "what?", billed=True, body="{") if bad else right(ask)

    teacher = FakeTeacher(behave)
    stopped(tmp_path / "bank", teacher, "collect.give_up_after=2", "collect.concurrency=1", "collect.retries=50")
    problems = Counter(cot.problem for cot in rows(tmp_path / "bank"))
    # 21 unreadable answers in a row: a third of them were the last try of their sample, or the one that ended it.
    assert problems[""] == 3 and problems["malformed"] >= 1
    assert len(teacher.order) == 3 + 21


def test_a_failure_of_one_teacher_waits_for_the_answers_of_the_others(tmp_path: Path) -> None:
    slow = FakeTeacher(name="slow", delay=1.0)
    broken = FakeTeacher(lambda ask, number: Failure("401", "no such key", kind="fatal"), name="broken", delay=0.02)
    with pytest.raises(TeacherError, match="no such key"):
        gather(tmp_path / "bank", {slow: settings(), broken: settings()}, "bank.samples=2", "collect.timeout=5")
    assert len(rows(tmp_path / "bank")) == len(slow.calls) == 1


def test_nobody_has_to_wait_after_such_a_failure(tmp_path: Path) -> None:
    slow = FakeTeacher(name="slow", delay=600)
    broken = FakeTeacher(lambda ask, number: Failure("401", "no such key", kind="fatal"), name="broken", delay=0.02)

    def watch(tally: Tally) -> None:
        if tally.note.startswith("stopping; one call under way, waited for 120 s at most (Ctrl-C: "):
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)

    with pytest.raises(TeacherError, match="no such key"):
        gather(tmp_path / "bank", {slow: settings(), broken: settings()}, "bank.samples=2", watch=watch)


def test_a_teacher_that_asks_to_wait_for_hours_is_left_and_the_others_go_on(tmp_path: Path) -> None:
    def limited(ask: Ask, number: int) -> Reply | Failure:
        return right(ask) if len(tired.order) <= 2 else Failure("429", "daily limit", retry_after=20_000)

    tired, other = FakeTeacher(limited, name="tired"), FakeTeacher(name="other")
    tally = gather(tmp_path / "bank", {tired: settings(), other: settings()}, "bank.samples=2", task=Sums(30))
    assert Counter(cot.teacher for cot in rows(tmp_path / "bank")) == {"tired": 2, "other": 30}
    assert tally.left == 28
    assert tally.closed == {"tired": "asks to wait for 5.6 h (daily limit)"}


def test_cots_with_a_problem_can_be_asked_for_again(tmp_path: Path) -> None:
    def behave(ask: Ask, number: int) -> Reply:
        return Reply("I", "", "cut", 7, 5) if ask.question.id in ("q2", "q5") else right(ask)

    gather(tmp_path / "bank", FakeTeacher(behave))
    assert gather(tmp_path / "bank", FakeTeacher(), again=("refused",)).owed == 0
    before = rows(tmp_path / "bank")
    tally = gather(tmp_path / "bank", FakeTeacher(), again=("cut",))
    assert (tally.owed, tally.done) == (2, 2)
    after = rows(tmp_path / "bank")
    assert after[:10] == before and len({cot.id for cot in after}) == 12
    assert {cot.question_id for cot in after[10:]} == {"q2", "q5"}
    for again in ((), ("cut",)):  # they were
        assert gather(tmp_path / "bank", FakeTeacher(), again=again).owed == 0


def test_every_request_may_have_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: given.append(limits))
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (128, 400))
    reserve_files(64)
    assert given == []
    reserve_files(200)
    assert given == [(400, 400)]
    with pytest.raises(
        ConfigError, match=r"collect\.concurrency 512 needs 576 open files, and this process may have 400"
    ):
        reserve_files(512)


def test_no_file_left_is_no_fault_of_the_endpoint() -> None:
    error = ConnectionError("All connection attempts failed")
    error.__cause__ = ExceptionGroup("each", [OSError(111, "refused"), OSError(24, "Too many open files")])
    assert _out_of_files(error)
    assert not _out_of_files(OSError(111, "refused"))


def test_the_caller_s_handlers_of_signals_come_back(tmp_path: Path) -> None:
    """A training that collects on its way stops by its own rules afterwards."""

    def handler(number: int, frame: object) -> None: ...

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        gather(tmp_path / "bank", FakeTeacher(right))
        assert [signal.getsignal(number) for number in numbers] == [handler, handler]
    finally:
        for number, old in before.items():
            signal.signal(number, old)
