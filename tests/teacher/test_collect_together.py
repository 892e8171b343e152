"""Several samples of one prompt by one request: the prompt is paid once, each choice is kept or asked for by itself."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from realm.bank.cot import CoT
from realm.bank.folder import BankFolder
from realm.config import Config
from realm.teacher.base import Failure, Reply
from realm.teacher.collect import make_plan
from realm.teacher.lanes import Tally
from realm.teacher.plan import survey
from tests.conftest import read_rows
from tests.launched import lived
from tests.teacher.asked import Sums, endpoint_config, fill
from tests.teacher.fake_teacher import PRICED, FakeTeacher, gather, right, rows, settings
from tests.teacher.forked import start
from tests.teacher.test_collect_kill import COLLECT, COUNT, write_config
from tests.teacher.wire import Wire


def content(cots: list[CoT]) -> list[tuple[Any, ...]]:
    return sorted((cot.id, cot.sample, cot.text, cot.answer, cot.label, cot.problem, cot.guided) for cot in cots)


def nth(body: dict[str, Any]) -> str:
    """What the endpoint says as its so-and-so-manieth answer to a prompt."""
    return f"I count.\nFinal answer: {body['index']}"


@pytest.mark.parametrize("probability", [0, 0.5])
def test_a_prompt_is_paid_once_and_the_bank_is_that_of_single_requests(tmp_path: Path, probability: float) -> None:
    task = Sums(12)
    found: dict[int, tuple[list[CoT], Wire, Tally]] = {}
    for size in (1, 8):
        with Wire(reply=nth) as wire:
            config = endpoint_config(
                wire, "bank.samples=8", f"guidance.probability={probability}", "collect.concurrency=1",
                f"teachers.wire.batch_size={size}",
            )  # fmt: skip
            tally = fill(tmp_path / str(size), config, task)
            found[size] = rows(tmp_path / str(size)), wire, tally
    (alone, one, _), (together, several, tally) = found[1], found[8]
    assert len(alone) == 96 and {cot.id for cot in together} == {cot.id for cot in alone}
    if not probability:
        assert content(together) == content(alone)
    assert several.billed["prompt"] <= 0.3 * one.billed["prompt"]
    assert len(several.requests) == tally.requests == tally.spent.requests == 12 * (2 if probability else 1)
    assert (
        several.billed["completion"] == one.billed["completion"] == sum(cot.completion_tokens or 0 for cot in together)
    )
    assert tally.spent.tokens == several.billed["prompt"] + several.billed["completion"]
    # Every request that is under way gives all its samples when a single one would have given its own.
    assert sum(seen.body.get("n", 1) for seen in several.requests) == len(one.requests)


@pytest.mark.parametrize(("several", "requests"), [(0, 1 + 18), (1, 18), (2, 9), (6, 3)])
def test_an_endpoint_that_gives_fewer_is_asked_for_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, several: int, requests: int
) -> None:
    with Wire(several=several, reply=nth) as wire, caplog.at_level(logging.WARNING):
        config = endpoint_config(wire, "bank.samples=6", "collect.concurrency=4")
        tally = fill(tmp_path / "bank", config, Sums(3))
        billed = wire.billed["prompt"] + wire.billed["completion"]
        assert len(wire.requests) == requests
    assert (tally.done, tally.left, not tally.failures) == (18, 0, True)
    assert tally.spent.requests == tally.requests == len(wire.requests)
    assert tally.spent.tokens == billed
    assert Counter(cot.text for cot in rows(tmp_path / "bank")) == {nth({"index": n}): 3 for n in range(6)}
    assert caplog.text.count("From now on it is asked for one at a time") == (several < 2)


def test_an_endpoint_that_fails_on_several_at_once_is_asked_for_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Wire(script=lambda seen: "500" if seen.body.get("n", 1) > 1 else "") as wire:
        tally = fill(tmp_path / "bank", endpoint_config(wire, "bank.samples=4", "collect.concurrency=1"), Sums(3))
    assert (tally.done, tally.failures["500"]) == (12, 2)
    assert caplog.text.count("From now on it is asked for one at a time") == 1


def test_a_bad_start_does_not_end_asking_for_several(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Wire(script=lambda seen: "500" if len(wire.requests) == 1 else "") as wire:
        tally = fill(tmp_path / "bank", endpoint_config(wire, "bank.samples=4", "collect.concurrency=1"), Sums(9))
    assert (tally.done, tally.failures["500"]) == (36, 1)
    assert Counter(seen.body.get("n", 1) for seen in wire.requests)[4] == 9
    assert "asked for one at a time" not in caplog.text


@pytest.mark.parametrize("fault", ["429", "500"])
def test_what_failed_together_is_asked_for_together_again(tmp_path: Path, fault: str) -> None:
    def script(seen: Any) -> str:
        return fault if seen.number == 1 and len(wire.requests) else ""

    with Wire(script=script) as wire:
        tally = fill(tmp_path / "bank", endpoint_config(wire, "bank.samples=8"), Sums(6))
    assert (tally.done, tally.failures[fault]) == (48, 5)
    assert [seen.body["n"] for seen in wire.requests] == [8] * (6 + 5)


def test_a_refusal_of_one_question_does_not_end_asking_for_several(tmp_path: Path) -> None:
    task = Sums(8)

    def script(seen: Any) -> str:
        return "400" if "5 + 1" in seen.body["messages"][-1]["content"] else ""

    with Wire(script=script) as wire:
        tally = fill(tmp_path / "bank", endpoint_config(wire, "bank.samples=4", "collect.concurrency=1"), task)
    assert (tally.done, tally.given_up["400"], tally.lost) == (28, 4, {"q5": 4})
    assert Counter(seen.body.get("n", 1) for seen in wire.requests) == {4: 8, 1: 4}


def test_a_prompt_that_a_filter_stops_is_sent_once(tmp_path: Path) -> None:
    with Wire(script=lambda seen: "filter") as wire:
        tally = fill(tmp_path / "bank", endpoint_config(wire, "bank.samples=4"), Sums(2))
    assert len(wire.requests) == 2
    assert tally.problems == {"refused": 8}


def test_choices_that_fail_or_do_not_come_are_handled_one_by_one(tmp_path: Path) -> None:
    """By the number of the request for a sample: what happens to it first."""
    first: dict[int, Reply | Failure | None] = {
        1: Reply("I ", "", "cut", 0, 5),
        2: Reply("", "", "refused", 0, 0),
        3: Failure("broken_off", "the server broke it off", billed=True),
        4: Failure("400", "no", kind="request"),
        5: None,
    }

    class Picky(FakeTeacher):
        async def ask(self, asks: Any) -> Any:
            self.calls.append(len(asks))
            found = []
            for ask in asks:
                self.asked[ask.key] += 1
                place = len(self.asked) - 1 if self.asked[ask.key] == 1 else 0
                given = first.get(place, right(ask)) if self.asked[ask.key] == 1 else right(ask)
                found.append(given)
            return found

    teacher = Picky(batch=6, together=6)
    tally = gather(tmp_path / "bank", {teacher: settings(price=PRICED)}, "bank.samples=6", task=Sums(1))
    assert (tally.done, tally.left, tally.problems) == (5, 1, {"cut": 1, "refused": 1})
    assert tally.given_up == {"400": 1}
    assert sorted(teacher.asked.values()) == [1, 1, 1, 1, 2, 2]
    assert teacher.calls[0] == 6 and sum(teacher.calls) == 8
    ends = Counter((row["event"], row.get("reason")) for row in read_rows(tmp_path / "bank" / "ledger.jsonl"))
    assert ends["failed", "not_given"] == ends["failed", "broken_off"] == ends["failed", "400"] == 1
    # The one that was broken off may have been paid for, up to max_tokens; its prompt is paid with the first.
    broken = next(row for row in read_rows(tmp_path / "bank" / "ledger.jsonl") if row.get("reason") == "broken_off")
    assert (broken["prompt_tokens"], broken["completion_tokens"]) == (0, 100)


def test_the_estimate_counts_each_prompt_once(tmp_path: Path) -> None:
    with Wire() as wire:
        config = endpoint_config(wire, "bank.samples=8", "guidance.probability=0.5")
        alone = config_with(config, 1)
    (few,), (many,) = (survey(make_plan(one, Sums(10)), set(), {}) for one in (config, alone))
    assert (few.samples, many.samples, many.requests) == (80, 80, 80)
    assert 10 < few.requests <= 20
    assert few.prompt <= 0.3 * many.prompt and few.prompt_most <= 0.3 * many.prompt_most
    assert (few.guided, few.completion_most) == (many.guided, many.completion_most)


def test_killed_within_a_write_only_what_is_owed_is_asked_for(tmp_path: Path) -> None:
    kept: Counter[str] = Counter()
    seen = 0
    with Wire(latency=0.01) as wire:
        write_config(tmp_path, wire, samples=4)
        for death in (("cots", 1, 0.4), ("ledger", 9, 0.4), ("cots", 4, 1.0), None):
            assert lived(start(COLLECT, tmp_path, death), tmp_path) == (death is None)
            for request in wire.requests[seen:]:
                question = "q" + request.body["messages"][-1]["content"].rpartition("\n")[2].split(" ")[0]
                assert request.body.get("n", 1) == 4 - kept[question]
            seen = len(wire.requests)
            cots = list(BankFolder.open(tmp_path / "bank").scan())
            kept = Counter(cot.question_id for cot in cots)
    assert len({cot.id for cot in cots}) == len(cots) == 4 * COUNT


def config_with(config: Config, size: int) -> Config:
    teacher = config.teachers["wire"].model_copy(update={"batch_size": size})
    return config.model_copy(update={"teachers": {"wire": teacher}})
