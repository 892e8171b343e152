"""Batch files: the bank of single requests for half the price; found again after a kill, and never begun twice."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from realm.errors import ConfigError, DataError, TeacherError
from realm.teacher.lanes import Tally
from tests.conftest import read_rows
from tests.launched import lived
from tests.teacher.asked import Sums, endpoint_config, fill
from tests.teacher.fake_teacher import PRICED, rows
from tests.teacher.forked import Death, start
from tests.teacher.test_collect_kill import COLLECT, COUNT, content, write_config
from tests.teacher.wire import Seen, Wire

BATCH = {"batch": "24h", "batch_size": 1, "price": PRICED}


def asked(wire: Wire) -> Counter[str]:
    """How often each question was asked."""
    return Counter(seen.body["messages"][-1]["content"].rpartition("\n")[2] for seen in wire.requests)


def only(question: int, fault: str, times: int = 1) -> Any:
    """A script: the first requests for one question meet a fault."""

    def script(seen: Seen) -> str:
        about = seen.body["messages"][-1]["content"].endswith(f"\n{question} + 1?")
        return fault if about and seen.number <= times else ""

    return script


def test_a_bank_of_batches_is_that_of_single_requests_for_half_the_price(tmp_path: Path) -> None:
    found: list[tuple[Any, Tally]] = []
    for parts in ({"price": PRICED, "batch_size": 1}, BATCH):
        with Wire() as wire:
            path = tmp_path / str(len(found))
            tally = fill(path, endpoint_config(wire, "bank.samples=2", **parts), Sums())
            found.append((sorted((cot.id, cot.text, cot.label) for cot in rows(path)), tally))
            assert len(wire.requests) == tally.requests == 20
    (alone, dear), (together, cheap) = found
    assert together == alone
    assert wire.calls.count("POST files") == wire.calls.count("POST batches") == 1
    assert json.loads(wire.files["file-0"].splitlines()[0]).keys() == {"custom_id", "method", "url", "body"}
    assert cheap.spent.tokens == dear.spent.tokens == wire.billed["prompt"] + wire.billed["completion"]
    assert cheap.spent.cost == dear.spent.cost / 2 > Decimal(0)


def test_a_file_holds_so_many_samples_and_several_of_one_prompt_together(tmp_path: Path) -> None:
    with Wire() as wire:
        config = endpoint_config(wire, "bank.samples=4", **{**BATCH, "batch_size": 4, "batch_samples": 12})
        tally = fill(tmp_path / "bank", config, Sums(5))
        assert [len(content.splitlines()) for name, content in wire.files.items() if name.startswith("file")] == [3, 2]
    assert [seen.body["n"] for seen in wire.requests] == [4] * 5
    assert (tally.done, tally.spent.requests) == (20, 5)
    assert tally.spent.tokens == wire.billed["prompt"] + wire.billed["completion"]


def test_several_at_once_that_are_refused_are_asked_for_one_by_one_in_the_next_file(tmp_path: Path) -> None:
    with Wire(several=0) as wire:
        tally = fill(tmp_path / "bank", endpoint_config(wire, "bank.samples=2", **{**BATCH, "batch_size": 2}), Sums(5))
    assert (tally.done, len(wire.batches), len(wire.requests)) == (10, 2, 5 + 10)


@pytest.mark.parametrize(
    ("fault", "done", "times"),
    [("expired", 10, 2), ("500", 10, 2), ("missing", 10, 2), ("filter", 10, 1), ("400", 9, 1)],
)
def test_what_became_of_one_line_is_its_own(tmp_path: Path, fault: str, done: int, times: int) -> None:
    with Wire(script=only(3, fault)) as wire:
        tally = fill(tmp_path / "bank", endpoint_config(wire, **BATCH), Sums())
    assert (tally.done, tally.left) == (done, 10 - done)
    assert asked(wire) == {f"{n} + 1?": times if n == 3 else 1 for n in range(10)}
    assert len(wire.batches) == times
    problems = {cot.problem for cot in rows(tmp_path / "bank") if cot.question_id == "q3"}
    assert problems == ({"refused"} if fault == "filter" else {""} if done == 10 else set())
    if fault == "expired":
        assert tally.spent.tokens == wire.billed["prompt"] + wire.billed["completion"]


def test_a_batch_that_fails_as_a_whole_stops_with_its_reason_and_costs_nothing(tmp_path: Path) -> None:
    with Wire(script=only(3, "failed")) as wire:
        config = endpoint_config(wire, **BATCH)
        with pytest.raises(TeacherError, match=r"the batch batch-0 failed: .*Too much queued.*lower batch_samples"):
            fill(tmp_path / "bank", config, Sums())
        wire.billed.clear()
        tally = fill(tmp_path / "bank", config, Sums())
    assert (tally.done, len(wire.batches)) == (10, 2)
    assert tally.spent.tokens == wire.billed["prompt"] + wire.billed["completion"]


def test_an_endpoint_without_files_is_told_of(tmp_path: Path) -> None:
    with Wire(polls=-1) as wire:
        with pytest.raises(TeacherError, match=r"POST /files \(for `batch`\): the endpoint answered 404"):
            fill(tmp_path / "bank", endpoint_config(wire, **BATCH), Sums())
        tally = fill(tmp_path / "bank", endpoint_config(wire, price=PRICED), Sums())
    assert tally.spent.tokens == wire.billed["prompt"] + wire.billed["completion"]


@pytest.mark.parametrize("lost", [{1}, {0, 2}, {2, 3}, {0, 2, 4, 5}])
def test_a_response_that_is_lost_begins_no_second_batch(tmp_path: Path, lost: set[int]) -> None:
    with Wire() as wire:
        wire.lost = lost
        tally = fill(tmp_path / "bank", endpoint_config(wire, **BATCH), Sums())
    assert (tally.done, len(wire.batches), len(wire.requests)) == (10, 1, 10)


def test_answers_that_are_ready_are_fetched_again_where_that_failed(tmp_path: Path) -> None:
    with Wire(polls=0) as wire:
        wire.lost = {3, 4}
        tally = fill(tmp_path / "bank", endpoint_config(wire, **BATCH), Sums())
    assert wire.calls[2:] == ["GET batches", *3 * ["GET files"]]
    assert (tally.done, len(wire.batches), len(wire.requests)) == (10, 1, 10)


class LeftError(Exception):
    """The user went away."""


def leave(tally: Tally) -> None:
    if "batch batch-0: " in tally.note:
        raise LeftError(tally.note)


def test_a_collection_that_is_left_goes_on_with_its_batch(tmp_path: Path) -> None:
    with Wire(polls=10**6) as wire:
        config = endpoint_config(wire, **BATCH)
        with pytest.raises(LeftError, match="10 of 10 answered, in_progress"):
            fill(tmp_path / "bank", config, Sums(), watch=leave)
        ledger = tmp_path / "bank" / "ledger.jsonl"
        assert {row["event"] for row in read_rows(ledger)} == {"sent"}
        with pytest.raises(
            ConfigError, match=r"teachers\.wire\.batch: 10 samples are under way in batch files and paid"
        ):
            fill(tmp_path / "bank", endpoint_config(wire, price=PRICED), Sums())
        wire.polls = wire.batches["batch-0"]["left"] = 0
        tally = fill(tmp_path / "bank", config, Sums(12))
    assert (tally.done, len(wire.batches), len(wire.requests)) == (12, 2, 12)
    assert sum(row["event"] == "sent" for row in read_rows(ledger)) == tally.spent.requests == 12
    assert tally.spent.tokens == wire.billed["prompt"] + wire.billed["completion"]


def test_a_budget_holds_in_files_too(tmp_path: Path) -> None:
    with Wire(polls=10**6) as wire:
        config = endpoint_config(wire, "collect.budget.requests=7", **BATCH)
        with pytest.raises(LeftError):
            fill(tmp_path / "bank", config, Sums(), watch=leave)
        wire.batches["batch-0"]["left"] = 0
        tally = fill(tmp_path / "bank", config, Sums())
    assert (tally.done, tally.left, tally.budget, tally.spent.requests, len(wire.requests)) == (7, 3, "requests", 7, 7)


def test_a_row_of_a_batch_that_is_none_is_named(tmp_path: Path) -> None:
    with Wire() as wire:
        config = endpoint_config(wire, **BATCH)
        fill(tmp_path / "bank", config, Sums(1))
        (tmp_path / "bank" / "batches.jsonl").write_text('{"batch": "b"}\n')
        with pytest.raises(DataError, match=r"batches\.jsonl:1: expected a row of a batch file"):
            fill(tmp_path / "bank", config, Sums())


#: One after the other: before the file is sent; sent, not written down; written down, not begun; begun, not written
#: down; written down; while its answers are.
DEATHS: list[Death] = [
    *[("ledger", 1, 0.5), ("batches", 1, 0), ("batches", 1, 0.5), ("batches", 1, 1)],
    *[("batches", 1, 0), ("batches", 1, 0.5), ("batches", 1, 1), ("cots", 1, 0.4)],
]


def test_killed_at_any_moment_no_batch_is_begun_twice(tmp_path: Path) -> None:
    with Wire() as wire:
        write_config(tmp_path, wire, teacher={"batch": "24h"})
        for death in DEATHS:
            assert not lived(start(COLLECT, tmp_path, death), tmp_path), death
        assert lived(start(COLLECT, tmp_path), tmp_path)
        assert len(wire.batches) == 1
        assert len(wire.requests) == COUNT and wire.repeated() == 0
        assert len(content(tmp_path)) == COUNT
        events = read_rows(tmp_path / "bank" / "ledger.jsonl")
    # What the first one noted of requests that never left is taken up too.
    assert sum(row["event"] == "sent" for row in events) == COUNT
