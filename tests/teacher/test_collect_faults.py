"""Collecting from teachers that fail: what is tried again, given up or kept, when it stops, and what it may spend."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.bank.writer import BankWriter
from realm.config import load_config
from realm.errors import ConfigError, ResourceError, TeacherError
from realm.tasks.registry import load_task
from realm.tasks.workers import VerifierPool
from realm.teacher import labelling
from realm.teacher.base import Ask, Failure, Reply
from realm.teacher.collect import bank_info, check_same, collect
from realm.teacher.lanes import Tally
from realm.teacher.ledger import Ledger
from tests.conftest import read_rows, write_rows
from tests.teacher.fake_teacher import PRICED, Behaviour, FakeTeacher, Sums, gather, right, rows, settings
from tests.teacher.wire import Wire


def ledger(path: Path) -> list[dict[str, Any]]:
    return read_rows(path / "ledger.jsonl")


def failing(tries: int, reason: str = "500", *, only: str = "", **more: Any) -> Behaviour:
    """Fails the first tries of every sample, or of that of one question."""

    def behave(ask: Ask, number: int) -> Reply | Failure:
        if number <= tries and only in ("", ask.question.id):
            return Failure(reason, f"it said {reason}", **more)
        return right(ask)

    return behave


# ---------------------------------------------------------------------- what is tried again


def test_passing_failures_are_tried_again(tmp_path: Path) -> None:
    teacher = FakeTeacher(failing(2))
    tally = gather(tmp_path / "bank", teacher, "collect.retries=2")
    assert set(teacher.asked.values()) == {3}
    assert (tally.done, tally.left, tally.requests, tally.retries) == (10, 0, 30, 20)
    assert tally.failures == {"500": 20}
    assert Counter(row["event"] for row in ledger(tmp_path / "bank")) == {"sent": 30, "failed": 20, "answered": 10}


def test_after_the_last_try_a_sample_is_given_up_and_stays_owed(tmp_path: Path) -> None:
    teacher = FakeTeacher(failing(3, "503", only="q4"))
    tally = gather(tmp_path / "bank", teacher, "collect.retries=2")
    assert (tally.done, tally.left) == (9, 1)
    assert tally.given_up == {"503": 1}
    assert tally.complaint == "it said 503"
    assert max(teacher.asked.values()) == 3
    (gave_up,) = [row for row in ledger(tmp_path / "bank") if row["event"] == "gave_up"]
    assert (gave_up["reason"], teacher.asked[gave_up["key"]]) == ("503", 3)
    again = gather(tmp_path / "bank", teacher)
    assert (again.owed, again.done) == (1, 1)
    assert sum(teacher.asked.values()) == 9 + 3 + 1


def test_a_refused_sample_costs_only_itself(tmp_path: Path) -> None:
    teacher = FakeTeacher(failing(9, "400", only="q4", kind="request"))
    tally = gather(tmp_path / "bank", teacher)
    assert (tally.done, tally.given_up) == (9, {"400": 1})
    assert set(teacher.asked.values()) == {1}


def test_of_a_refused_batch_only_the_one_at_fault_is_given_up(tmp_path: Path) -> None:
    teacher = FakeTeacher(failing(9, "too_long", only="q4", kind="request"), batch=8, concurrent=False)
    tally = gather(tmp_path / "bank", teacher)
    assert {cot.question_id for cot in rows(tmp_path / "bank")} == {f"q{n}" for n in range(10) if n != 4}
    assert (tally.done, tally.given_up) == (9, {"too_long": 1})


def test_the_wait_that_a_server_asks_for_holds_for_every_request(tmp_path: Path) -> None:
    class Strict(FakeTeacher):
        until = 0.0

        async def ask(self, asks: Any) -> list[Reply]:
            assert asyncio.get_running_loop().time() >= self.until  # none leaves before
            return await super().ask(asks)

    def behave(ask: Ask, number: int) -> Reply | Failure:
        if len(teacher.order) in (5, 12):
            loop = asyncio.get_running_loop()
            loop.call_soon(setattr, teacher, "until", loop.time() + 0.1)  # what left before may still begin
            return Failure("429", "slow down", retry_after=0.1)
        return right(ask)

    teacher = Strict(behave, delay=0.001)
    tally = gather(tmp_path / "bank", teacher, task=Sums(40))
    assert (tally.done, tally.requests) == (40, 42)


@pytest.mark.parametrize("wait", [None, 0.02])
def test_a_rate_limit_costs_no_sample(tmp_path: Path, wait: float | None) -> None:
    class Limited(FakeTeacher):
        """Ten at a time; whoever comes beyond is sent away."""

        async def ask(self, asks: Any) -> list[Reply]:
            if self.under_way >= 10:
                raise Failure("429", "too many", retry_after=wait)
            return await super().ask(asks)

    teacher = Limited(delay=0.002)
    tally = gather(tmp_path / "bank", teacher, "collect.concurrency=64", task=Sums(600))
    assert (tally.done, tally.left) == (600, 0)
    assert tally.failures["429"] < 300


@pytest.mark.parametrize(("times", "left"), [(10, 0), (11, 1)])
def test_a_rate_limit_is_borne_longer_than_other_failures(tmp_path: Path, times: int, left: int) -> None:
    teacher = FakeTeacher(failing(times, "429", only="q4"))
    tally = gather(tmp_path / "bank", teacher, "collect.retries=2")
    assert (tally.done, tally.given_up) == (10 - left, {"429": 1} if left else {})


def test_a_rate_limit_uses_up_no_try_of_other_failures(tmp_path: Path) -> None:
    reasons = ["429"] * 5 + ["500", "429", "500"]

    def behave(ask: Ask, time: int) -> Reply | Failure:
        bad = ask.question.id == "q4" and time <= len(reasons)
        return Failure(reasons[time - 1], "failed") if bad else right(ask)

    tally = gather(tmp_path / "bank", FakeTeacher(behave), "collect.retries=2")
    assert (tally.done, tally.given_up, tally.failures) == (10, {}, {"429": 6, "500": 2})


@pytest.mark.parametrize("reason", ["not_json", "half_body", "content_type", "shape"])
def test_what_cannot_be_read_is_kept_after_the_last_try(tmp_path: Path, reason: str) -> None:
    # Before the first answer it may be the endpoint; q4 comes after it.
    teacher = FakeTeacher(failing(9, reason, only="q4", billed=True, body="<html>{\x1b[31m"))
    tally = gather(tmp_path / "bank", {teacher: settings(price=PRICED)}, "collect.retries=6")
    assert (tally.done, tally.left, tally.problems) == (10, 0, {"malformed": 1})
    (bad,) = [cot for cot in rows(tmp_path / "bank") if cot.question_id == "q4"]
    assert (bad.text, bad.answer, bad.label, bad.problem) == ("<html>{\x1b[31m", "", None, "malformed")
    assert max(teacher.asked.values()) == 3
    # Nobody knows what the three bodies cost: they count with the most that they can have cost.
    assert tally.spent.tokens == 9 * 12 + 3 * (6 + 64 + 100)


def test_without_a_body_there_is_nothing_to_keep(tmp_path: Path) -> None:
    tally = gather(tmp_path / "bank", FakeTeacher(failing(9, "half_body", only="q4")), "collect.retries=1")
    assert (tally.done, tally.given_up) == (9, {"half_body": 1})


def collect_from(wire: Wire, folder: Path, count: int, *overrides: str) -> Tally:
    """Ask about that many questions, one sample each and one at a time; goes on with a bank that is there."""
    questions = folder / "questions.jsonl"
    known = [{"id": f"q{n}", "question": f"{n} + 1?", "answer": str(n)} for n in range(count)]
    write_rows(questions, known)
    teacher = {"kind": "openai", "model": "wire-model", "base_url": wire.base_url, "api_key_env": None, "price": PRICED}
    config = load_config(
        None,
        [
            "task.name=jsonl", f"task.path={questions}", "task.verifier=number", "task.test_size=2",
            "teachers.scripted-clerk.share=0", f"teachers.wire={json.dumps(teacher)}", "guidance.probability=0",
            "bank.samples=1", "routes.k=1", "collect.concurrency=1", *overrides,
        ],
    )  # fmt: skip
    task, path = load_task(config), folder / "bank"
    info = bank_info(config, task)
    bank = BankFolder.open(path) if path.exists() else BankFolder.create(path, info)
    check_same(bank, info)
    with VerifierPool("number") as pool:
        return collect(config, task, bank, pool, pause=0.001)


def test_what_a_filter_stopped_is_kept_and_not_owed(tmp_path: Path) -> None:
    with Wire(script=["", "filter"]) as wire:
        tally = collect_from(wire, tmp_path, 6)
        assert (tally.done, tally.left, tally.problems, tally.given_up) == (6, 0, {"refused": 1}, {})
        assert collect_from(wire, tmp_path, 6).owed == 0
        assert len(wire.requests) == 6
    (stopped,) = [cot for cot in rows(tmp_path / "bank") if cot.problem]
    assert (stopped.text, stopped.answer, stopped.usable) == ("", "", False)
    assert json.loads(stopped.meta)["refusal"] == "The prompt triggered our content management policy."


def test_what_the_server_broke_off_is_asked_for_again(tmp_path: Path) -> None:
    with Wire(script=["abort", "", "abort"]) as wire:
        tally = collect_from(wire, tmp_path, 4)
    assert (tally.done, tally.left, tally.requests, tally.failures) == (4, 0, 6, {"broken_off": 2})
    assert not tally.problems


@pytest.mark.parametrize(
    ("script", "requests", "said"),
    [
        (["", "", "credit"], 3, "Sorry, your account balance is insufficient"),
        (["credit"], 1, "Sorry, your account balance is insufficient"),
        (["max_tokens"], 1, "set teachers.wire.sampling.max_tokens_key to max_completion_tokens"),
        (["stream"], 1, "set teachers.wire.sampling.extra to {stream: false}"),
    ],
)
def test_what_no_request_can_pass_stops_it_at_once(tmp_path: Path, script: list[str], requests: int, said: str) -> None:
    with Wire(script=script) as wire:
        with pytest.raises(TeacherError, match=re.escape(said)) as caught:
            collect_from(wire, tmp_path, 6)
        assert len(wire.requests) == requests
    assert "\n" not in str(caught.value)


def test_a_bank_from_before_a_setting_is_gone_on_with_and_another_setting_is_told(tmp_path: Path) -> None:
    with Wire() as wire:
        collect_from(wire, tmp_path, 4)
        assert "shows" not in BankFolder.open(tmp_path / "bank").info["teachers"]["wire"]
        assert collect_from(wire, tmp_path, 4, "bank.samples=2").owed == 4
        with pytest.raises(ConfigError, match=r"collected with another teachers\.wire\.shows"):
            collect_from(wire, tmp_path, 4, "teachers.wire.shows=answer")


# ---------------------------------------------------------------------- when it stops


def stopped(path: Path, teacher: FakeTeacher, *overrides: str) -> str:
    with pytest.raises(TeacherError) as caught:
        gather(path, teacher, *overrides, task=Sums(50))
    assert teacher.closed
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_where_nothing_answers_three_requests_are_made(tmp_path: Path) -> None:
    teacher = FakeTeacher(failing(99, "connection"))
    message = stopped(tmp_path / "bank", teacher)
    assert message == "teachers.fake (http://there/v1): no answer in 3 tries: it said connection."
    assert sum(teacher.asked.values()) == 3
    assert teacher.most == 1


def test_an_endpoint_that_refuses_everything_is_asked_five_times(tmp_path: Path) -> None:
    teacher = FakeTeacher(failing(99, "422", kind="request"))
    assert "the endpoint refuses every request: it said 422" in stopped(tmp_path / "bank", teacher)
    assert (sum(teacher.asked.values()), teacher.most) == (5, 1)


def test_a_fatal_failure_stops_at_once_and_keeps_what_came(tmp_path: Path) -> None:
    def behave(ask: Ask, number: int) -> Reply | Failure:
        return right(ask) if len(teacher.order) <= 20 else Failure("401", "no such key", kind="fatal")

    teacher = FakeTeacher(behave)
    assert stopped(tmp_path / "bank", teacher) == "teachers.fake (http://there/v1): no such key."
    kept = rows(tmp_path / "bank")
    assert len(kept) == 20
    assert {cot.label for cot in kept} == {1}
    assert len(teacher.order) <= 20 + 16


def test_failures_in_a_row_stop_it_with_their_reasons(tmp_path: Path) -> None:
    def behave(ask: Ask, number: int) -> Reply | Failure:
        return right(ask) if len(teacher.order) <= 20 else Failure("503", "overloaded")

    teacher = FakeTeacher(behave)
    message = stopped(tmp_path / "bank", teacher, "collect.give_up_after=6", "collect.concurrency=4")
    assert "requests failed with no answer between them (503: " in message
    assert message.endswith("the last: overloaded.")
    # Those under way together count once, and from the third on one at a time is sent.
    assert 20 + 6 <= len(teacher.order) <= 20 + 6 + 4 * 4
    assert len(rows(tmp_path / "bank")) == 20


def test_an_outage_is_waited_out(tmp_path: Path) -> None:
    def behave(ask: Ask, number: int) -> Reply | Failure:
        return Failure("connection", "gone") if 20 < len(teacher.order) <= 38 else right(ask)

    teacher = FakeTeacher(behave)
    tally = gather(tmp_path / "bank", teacher, "collect.give_up_after=20", "collect.concurrency=4", task=Sums(50))
    assert (tally.done, tally.left) == (50, 0)


def test_a_mistake_of_ours_is_no_user_error_and_loses_nothing(tmp_path: Path) -> None:
    def behave(ask: Ask, number: int) -> Reply:
        if len(teacher.order) == 7:
            raise ZeroDivisionError("ours")
        return right(ask)

    teacher = FakeTeacher(behave)
    with pytest.raises(ZeroDivisionError):
        gather(tmp_path / "bank", teacher)
    assert 6 <= len(rows(tmp_path / "bank")) == len(teacher.order) - 1


def test_a_disk_that_refuses_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = BankWriter.write

    def full(self: BankWriter, cots: list[CoT], *, sync: bool = False) -> None:
        if (tmp_path / "bank" / "cots.jsonl").stat().st_size > 1000:
            raise ResourceError("bank: cannot write (No space left on device).")
        write(self, cots, sync=sync)

    teacher = FakeTeacher(delay=0.001)
    monkeypatch.setattr(BankWriter, "write", full)
    with pytest.raises(ResourceError, match="No space left"):
        gather(tmp_path / "bank", teacher, "collect.concurrency=2", task=Sums(200))
    kept = len(rows(tmp_path / "bank"))
    assert 0 < kept < len(teacher.order) < 200
    monkeypatch.undo()
    assert gather(tmp_path / "bank", FakeTeacher(), task=Sums(200)).owed == 200 - kept


# ---------------------------------------------------------------------- order of events


def test_a_request_is_in_the_ledger_before_it_leaves_and_its_answer_on_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def behave(ask: Ask, number: int) -> Reply:
        sent = [row for row in ledger(tmp_path / "bank") if row["event"] == "sent" and row["key"] == ask.key]
        assert len(sent) == number
        return right(ask)

    answered = Ledger.answered

    def checked(self: Ledger, uses: Any) -> None:
        keys = {row["n"]: row["key"] for row in ledger(tmp_path / "bank") if row["event"] == "sent"}
        on_disk = {cot.id for cot in rows(tmp_path / "bank")}
        assert all(keys[number] in on_disk for number, _ in uses)
        answered(self, uses)

    monkeypatch.setattr(Ledger, "answered", checked)
    assert gather(tmp_path / "bank", FakeTeacher(behave), task=Sums(40)).done == 40


def test_more_answers_than_can_wait_for_the_judge_are_judged_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling, "WAITING", 2)
    gather(tmp_path / "bank", FakeTeacher(), task=Sums(300))
    assert Counter(cot.label for cot in rows(tmp_path / "bank")) == {1: 300}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_waits_for_what_is_under_way(tmp_path: Path, number: signal.Signals) -> None:
    def behave(ask: Ask, _: int) -> Reply:
        if len(teacher.order) == 10:
            os.kill(os.getpid(), number)
        return right(ask)

    notes = []
    teacher = FakeTeacher(behave, delay=0.01)
    with pytest.raises(KeyboardInterrupt):
        gather(
            tmp_path / "bank", teacher, "collect.concurrency=4", task=Sums(60),
            watch=lambda tally: notes.append(tally.note),
        )  # fmt: skip
    kept = {cot.id for cot in rows(tmp_path / "bank")}
    assert len(kept) == sum(teacher.calls)  # every request that left was waited for
    assert 10 <= len(kept) <= 10 + 2 * 4
    assert any(note.startswith("stopping; ") and "waited for 120 s at most (Ctrl-C again: " in note for note in notes)
    again = FakeTeacher()
    gather(tmp_path / "bank", again, task=Sums(60))
    assert kept.isdisjoint(again.asked)
    assert Counter(cot.label for cot in rows(tmp_path / "bank")) == {1: 60}


def test_a_second_stop_waits_for_nothing(tmp_path: Path) -> None:
    class Stuck(FakeTeacher):
        async def ask(self, asks: Any) -> list[Reply]:
            if len(self.order) < 3:
                return await super().ask(asks)
            self.order.append("stuck")
            loop = asyncio.get_running_loop()
            for pause in (0.01, 0.05):
                loop.call_later(pause, os.kill, os.getpid(), signal.SIGINT)
            await asyncio.sleep(600)
            raise AssertionError

    with pytest.raises(KeyboardInterrupt):
        gather(tmp_path / "bank", Stuck(), "collect.concurrency=1")
    assert len(rows(tmp_path / "bank")) == 3
    ends = [row for row in ledger(tmp_path / "bank") if row["event"] == "failed"]
    assert [(row["reason"], row["completion_tokens"]) for row in ends] == [("stopped", 100)]


def test_what_this_process_computes_is_waited_for(tmp_path: Path) -> None:
    class Local(FakeTeacher):
        async def ask(self, asks: Any) -> list[Reply]:
            os.kill(os.getpid(), signal.SIGINT)
            return await super().ask(asks)

    with pytest.raises(KeyboardInterrupt):
        gather(tmp_path / "bank", Local(batch=4, concurrent=False, delay=0.2), "collect.timeout=0.01")
    assert len(rows(tmp_path / "bank")) == 4


def test_what_does_not_come_is_not_waited_for_longer_than_a_request_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def behave(ask: Ask, number: int) -> Reply | Failure:
        teacher.delay = 600
        return right(ask) if len(teacher.order) == 1 else Failure("401", "no", kind="fatal")

    teacher = FakeTeacher(behave)
    asyncio_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        if seconds == 600 and len(teacher.calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        await asyncio_sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        gather(tmp_path / "bank", teacher, "collect.timeout=0.05")
    assert len(rows(tmp_path / "bank")) == 1


# ---------------------------------------------------------------------- over HTTP


@pytest.mark.slow
def test_two_thousand_samples_over_http_with_every_fifth_request_failing(tmp_path: Path) -> None:
    count, faults = 2000, 0.2
    questions = tmp_path / "rows.jsonl"
    write_rows(questions, ({"id": f"q{n}", "question": f"{n} + 1?", "answer": str(n % 10)} for n in range(count)))
    with Wire(faults=faults, latency=0.005, seed=1, wait=0.005) as wire:
        config = load_config(
            None,
            [
                "task.name=jsonl", f"task.path={questions}", "task.verifier=number", "guidance.probability=0",
                "bank.samples=1", "routes.k=1", "collect.concurrency=64", "collect.timeout=2", "collect.retries=9",
                "teachers.scripted-clerk.share=0",
                f"teachers.wire={{kind: openai, model: wire-model, base_url: '{wire.base_url}', api_key_env: null}}",
            ],
        )  # fmt: skip
        task = load_task(config)
        folder = BankFolder.create(tmp_path / "bank", bank_info(config, task))
        with VerifierPool("number") as pool:
            tally = collect(config, task, folder, pool, pause=0.01)
        stats = wire.stats()
    cots = rows(tmp_path / "bank")
    assert (tally.done, tally.left, tally.given_up) == (count, 0, {})
    assert len({cot.id for cot in cots}) == len({cot.question_id for cot in cots}) == len(cots) == count
    assert all(cot.label is not None or cot.problem for cot in cots)
    assert wire.repeated() == 0
    # What came whole is kept, be it empty or a refusal; nothing else is.
    odd = stats["faults"].get("empty", 0) + stats["faults"].get("refusal", 0)
    assert Counter(cot.problem for cot in cots) == Counter({"": count - odd}) + Counter(
        {"empty": stats["faults"].get("empty", 0), "refused": stats["faults"].get("refusal", 0)}
    )
    assert stats["answered"] == count - odd
    events = Counter(row["event"] for row in ledger(tmp_path / "bank"))
    assert events == {"sent": stats["requests"], "answered": count, "failed": stats["requests"] - count}
    assert tally.requests == tally.spent.requests == stats["requests"] > count * 1.1
    assert stats["most_at_once"] <= 64
