"""The ledger: what was sent is charged until it is known what came of it, and a budget is never passed."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from pathlib import Path

import pytest

from realm.errors import ConfigError, DataError, ResourceError
from realm.sections import BudgetConfig
from realm.teacher.ledger import Ledger, Use

MOST = Use(100, 50, Decimal("0.30"))
REAL = Use(80, 10, Decimal("0.07"))


def sums(ledger: Ledger) -> tuple[int, int, Decimal]:
    return ledger.spent.requests, ledger.spent.tokens, ledger.spent.cost


def test_each_end_of_a_request_is_charged_as_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with Ledger(path, BudgetConfig(), "USD") as ledger:
        answered, refused, lost, cut = ledger.send("big", [(f"k{n}", MOST) for n in range(4)])
        assert (ledger.held.requests, ledger.held.tokens) == (4, 600)
        ledger.answered([(answered, REAL)])
        ledger.failed([refused], "429", billed=False)
        ledger.failed([lost], "timeout", billed=True)
        assert sums(ledger) == (3, 90 + 150, Decimal("0.37"))
        assert ledger.held.tokens == 150
    # The process was killed before the fourth came back: nobody knows, so it counts as much as it can have cost.
    again = Ledger(path, BudgetConfig(), "USD")
    assert sums(again) == (4, 90 + 300, Decimal("0.67"))
    assert again.held.requests == 0
    with again:
        assert again.send("big", [("k9", MOST)]) == [cut + 1]
    events = [json.loads(line)["event"] for line in path.read_text().splitlines()]
    assert events == ["sent"] * 4 + ["answered", "failed", "failed", "sent"]


def test_a_request_is_in_the_file_before_send_returns_and_a_torn_line_is_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with Ledger(path, BudgetConfig(), "USD") as ledger:
        ledger.send("big", [("k0", MOST), ("k1", MOST)])
        assert path.read_bytes().count(b"\n") == 2
    path.write_bytes(path.read_bytes()[:-9])  # killed within the line: its request never left
    with Ledger(path, BudgetConfig(), "USD") as ledger:
        assert ledger.spent.requests == 1
        ledger.send("big", [("k2", MOST)])
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["k0", "k2"]


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        (BudgetConfig(requests=2), "requests"),
        (BudgetConfig(tokens=449), "tokens"),
        (BudgetConfig(cost=0.89), "cost"),
        (BudgetConfig(requests=3, tokens=450, cost=0.90), ""),
    ],
)
def test_every_limit_counts_what_is_held(tmp_path: Path, budget: BudgetConfig, named: str) -> None:
    with Ledger(tmp_path / "ledger.jsonl", budget) as ledger:
        numbers = ledger.send("big", [("a", MOST), ("b", MOST)])
        assert ledger.exceeded([MOST]) == named
        ledger.failed(numbers, "500", billed=False)
        assert ledger.exceeded([MOST]) == ("requests" if named == "requests" else "")


def test_a_budget_holds_over_restarts_whatever_happens(tmp_path: Path) -> None:
    source, path = random.Random(5), tmp_path / "ledger.jsonl"
    budget = BudgetConfig(requests=120, tokens=9_000, cost=20)
    for _ in range(12):
        with Ledger(path, budget, "USD") as ledger:
            under_way: list[int] = []
            for _ in range(30):
                use = Use(source.randrange(200), 50, Decimal(source.randrange(60)) / 100)
                if not ledger.exceeded([use]):
                    under_way += ledger.send("big", [("k", use)])
                if under_way and source.random() < 0.6:
                    number = under_way.pop(source.randrange(len(under_way)))
                    if source.random() < 0.5:
                        ledger.failed([number], "500", billed=source.random() < 0.5)
                    else:
                        most = ledger.bound(number)
                        used = Use(most.prompt_tokens // 2, source.randrange(50), (most.cost or 0) / Decimal(2))
                        ledger.answered([(number, used)])
                assert ledger.spent.requests + ledger.held.requests <= 120
                assert ledger.spent.tokens + ledger.held.tokens <= 9_000
                assert ledger.spent.cost + ledger.held.cost <= 20
    final = Ledger(path, budget, "USD")
    assert final.exceeded([Use(200, 50, Decimal("0.6"))])


def test_costs_stay_exact_and_unknown_ones_are_counted_apart(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    tenth = Use(1, 0, Decimal("0.1") * Decimal("0.000001"))
    with Ledger(path, BudgetConfig(), "EUR") as ledger:
        for _ in range(10):
            ledger.answered([(ledger.send("big", [("k", tenth)])[0], tenth)])
        ledger.send("free", [("k", Use(1, 1, None))])
    again = Ledger(path, BudgetConfig())
    assert again.spent.cost == Decimal("0.000001")
    assert (again.spent.unpriced, again.currency) == (1, "EUR")


def test_another_currency_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with Ledger(path, BudgetConfig(), "EUR") as ledger:
        ledger.send("big", [("k", MOST)])
    with pytest.raises(ConfigError, match=r"its costs are in EUR, the prices of the teachers in USD"):
        Ledger(path, BudgetConfig(), "USD")


@pytest.mark.parametrize("line", ["[]", "{}", '{"event": "sent", "n": 1}', "\x00", '{"event": "answered", "n": 5}'])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text(f'{{"event": "gave_up"}}\n{line}\n')
    with pytest.raises(DataError, match=r"ledger\.jsonl:2: expected a line of the ledger"):
        Ledger(path, BudgetConfig())


def test_nothing_follows_a_line_that_could_not_be_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with Ledger(path, BudgetConfig(), "USD") as ledger:
        number = ledger.send("big", [("k", MOST)])[0]
        file = ledger._file

        class Full:
            closed = False

            def write(self, content: memoryview) -> int:
                if len(content) > 7:
                    return int(file.write(content[:7]))
                raise OSError(28, "No space left on device")

            def close(self) -> None:
                self.closed = True
                file.close()

        ledger._file = Full()
        with pytest.raises(ResourceError, match="No space left"):
            ledger.answered([(number, REAL)])
        with pytest.raises(ResourceError):
            ledger.gave_up("k", "big", "500", "x")
    assert Ledger(path, BudgetConfig()).spent.tokens == 150
