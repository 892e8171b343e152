"""The budget of a collection: never passed, whatever fails, over every start; and nearly all of it is used."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from realm.bank.folder import BankFolder
from realm.errors import ConfigError
from realm.sections import BudgetConfig
from realm.teacher.base import Ask, Failure, Reply
from realm.teacher.lanes import Tally
from tests.conftest import read_rows
from tests.teacher.fake_teacher import PRICED, Behaviour, FakeTeacher, Sums, gather, settings


def sent(path: Path) -> int:
    """Requests that the ledger knows."""
    return sum(row["event"] == "sent" for row in read_rows(path / "ledger.jsonl"))


def chaos(seed: int) -> Behaviour:
    source = random.Random(seed)

    def behave(ask: Ask, number: int) -> Reply | Failure:
        draw = source.random()
        if draw < 0.15:
            return Failure("500", "no")
        if draw < 0.3:
            return Failure("timeout", "no", billed=True)
        if draw < 0.35:
            return Failure("400", "no", kind="request")
        used = (None, None) if draw < 0.5 else (source.randrange(60), source.randrange(100))
        return Reply("I add.", ask.question.answer, "", *used)

    return behave


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "budget", [{"requests": 37}, {"tokens": 3000}, {"cost": 2.5}, {"requests": 60, "tokens": 5000}]
)
def test_a_budget_is_never_passed(tmp_path: Path, seed: int, budget: dict[str, Any]) -> None:
    limits = BudgetConfig.model_validate(budget)
    overrides = [f"collect.budget.{name}={value}" for name, value in budget.items()]
    done = 0
    for start in range(3):
        teacher = FakeTeacher(chaos(10 * seed + start), delay=0.0005)
        tally: Tally = gather(
            tmp_path / "bank", {teacher: settings(price=PRICED)}, *overrides, "collect.give_up_after=1000",
            "collect.retries=2", task=Sums(100),
        )  # fmt: skip
        assert tally.spent.requests <= (limits.requests or 10**9)
        assert tally.spent.tokens <= (limits.tokens or 10**9)
        assert tally.spent.cost <= (Decimal("2.5") if limits.cost else 10**9)
        assert tally.budget in budget
        done += tally.done
    # Nearly all of it was used: less is left than one request can take.
    if "tokens" in budget:
        assert tally.spent.tokens > limits.tokens - 174 or tally.spent.requests == limits.requests
    assert len(list(BankFolder.open(tmp_path / "bank").scan())) == done > 5
    assert sent(tmp_path / "bank") == tally.spent.requests
    more = gather(tmp_path / "bank", FakeTeacher(), task=Sums(100))
    assert (more.left, more.budget) == (0, "")


@pytest.mark.parametrize("budget", [{"requests": 37}, {"tokens": 6000}, {"cost": 9}])
def test_a_budget_is_not_passed_by_several_samples_of_a_prompt(tmp_path: Path, budget: dict[str, int]) -> None:
    source = random.Random(3)

    def behave(ask: Ask, number: int) -> Reply | Failure:
        if source.random() < 0.1:
            return Failure("timeout", "no", billed=True)
        return Reply("I add.", ask.question.answer, "", 0, source.randrange(101))

    ((limit, value),) = budget.items()
    teacher = FakeTeacher(behave, delay=0.0005, batch=4, together=4)
    tally = gather(
        tmp_path / "bank", {teacher: settings(price=PRICED)}, f"collect.budget.{limit}={value}", "bank.samples=4",
        "collect.give_up_after=1000", task=Sums(60),
    )  # fmt: skip
    assert tally.budget == limit and getattr(tally.spent, limit) <= value
    assert getattr(tally.spent, limit) > value - {"requests": 1, "tokens": 474, "cost": 1}[limit]
    assert tally.requests == tally.spent.requests == len(teacher.calls)


def test_batches_keep_a_budget_too(tmp_path: Path) -> None:
    teacher = FakeTeacher(batch=8, concurrent=False)
    tally = gather(tmp_path / "bank", teacher, "collect.budget.requests=11", task=Sums(40))
    assert (teacher.calls, tally.done, tally.budget, tally.left) == ([8, 3], 11, "requests", 29)


@pytest.mark.parametrize("budget", ["tokens=20000", "cost=20"])
def test_a_server_that_counts_more_than_it_should_is_reckoned_with(tmp_path: Path, budget: str) -> None:
    def greedy(ask: Ask, number: int) -> Reply:
        return Reply("I add.", ask.question.answer, "", 20, 5000)

    override = f"collect.budget.{budget}"
    teacher = FakeTeacher(greedy, delay=0.001)
    tally = gather(
        tmp_path / "bank", {teacher: settings(price=PRICED)}, override, "collect.concurrency=16", task=Sums(100)
    )
    # The first request, which leaves alone, tells; each later one is held at 50 times its max_tokens.
    assert tally.budget == budget.partition("=")[0]
    assert tally.done == {"tokens": 3, "cost": 1}[tally.budget]
    assert (tally.spent.tokens, tally.spent.cost) <= (20_000, Decimal(20))
    assert 50 <= tally.times["fake"] < 51
    again = FakeTeacher(greedy)
    gather(tmp_path / "bank", {again: settings(price=PRICED)}, override, "collect.concurrency=1", task=Sums(100))
    assert not again.asked  # it is remembered


def test_what_was_sent_without_a_price_is_priced_later(tmp_path: Path) -> None:
    gather(tmp_path / "bank", FakeTeacher(), "collect.budget.requests=10", task=Sums(40))
    priced = {FakeTeacher(): settings(price=PRICED)}
    tally = gather(tmp_path / "bank", priced, "collect.budget.cost=0.5", task=Sums(40))
    assert tally.spent.unpriced == 0
    assert Decimal("0.17") < tally.spent.cost <= Decimal("0.5")  # 10 requests of 7 and 5 tokens: 0.17 USD
    assert tally.budget == "cost"


def test_a_budget_of_cost_is_refused_where_nobody_knows_what_was_spent(tmp_path: Path) -> None:
    gather(tmp_path / "bank", FakeTeacher(name="old"), "collect.budget.requests=3", task=Sums(40))
    teacher = FakeTeacher()
    with pytest.raises(ConfigError, match="3 earlier samples have no price"):
        gather(tmp_path / "bank", {teacher: settings(price=PRICED)}, "collect.budget.cost=1", task=Sums(40))
    assert not teacher.asked
