"""The ledger of a bank: every request that was sent, what came of it and what it used; and the budget it must keep.

A line `sent` is in the file before its request leaves, with the most that the request can use; the line `answered` or
`failed` follows when its answer is in the bank. A request without its second line, after a kill, is charged at that
most. So the sums here are never below what an endpoint charged, as long as it counts as it says it does. Where one
counts more than a request was thought to allow, that is kept in mind for its later requests, over restarts too.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from math import ceil
from pathlib import Path
from typing import Any, Self

from realm.bank.writer import to_bytes
from realm.errors import ConfigError, DataError, ResourceError
from realm.files import open_mended, whole_lines, write_all, writing
from realm.sections import BudgetConfig
from realm.tasks.base import as_utf8


@dataclass(frozen=True)
class Use:
    """What one sample uses or may use. `cost`: None where the price is not known.

    `cached_tokens`: those of the prompt that an endpoint had in its cache. `requests`: 0 where it is a further sample
    of the request that the one before it is paid with, prompt and all.
    """

    prompt_tokens: int
    completion_tokens: int
    cost: Decimal | None
    cached_tokens: int = 0
    requests: int = 1

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


NOTHING = Use(0, 0, Decimal(0))
#: Of what is charged already.
CHARGED = Use(0, 0, Decimal(0), requests=0)

#: What so many tokens of prompt and answer cost, some of the prompt cached; None where the price is not known.
Price = Callable[[int, int, int], Decimal | None]


@dataclass(frozen=True)
class Sent:
    """A request under way: the most it can use, which is `times` what was thought (of prompt, of answer).

    `file`: the key of a sample that is asked for by a batch file, whose answer can be had after a kill too; or "".
    """

    teacher: str
    use: Use
    times: tuple[float, float]
    file: str = ""


@dataclass
class Sums:
    """What requests used in all. `unpriced`: how many of their samples had no known price."""

    requests: int = 0
    tokens: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0
    cached: int = 0

    def add(self, use: Use, sign: int = 1) -> None:
        """Count a request's use (its being a request is counted apart)."""
        self.tokens += sign * use.tokens
        self.cached += sign * use.cached_tokens
        self.cost += sign * (use.cost or 0)
        self.unpriced += sign * (use.cost is None)


class Ledger:
    """Reads what earlier processes wrote, appends to it, and says what the budget still allows.

    `spent` is what is certain: finished requests, and at their most those that a kill cut off. `held` is the most that
    the requests under way can use.

    Args:
        path: the file; it need not exist.
        budget: over the whole life of the bank.
        currency: of the prices, "" where there are none.
        prices: of the teachers, for requests in the file that had none when they were sent.

    Raises:
        DataError: a line that is none of ours.
        ConfigError: the costs in the file are in another currency, or are not known, so that no budget of cost holds.
    """

    def __init__(
        self, path: Path, budget: BudgetConfig, currency: str = "", prices: Mapping[str, Price] | None = None
    ) -> None:
        self.path = path
        self.budget = budget
        self._prices = prices or {}
        #: By teacher, how many times the tokens that a request was thought to allow a server counted at most.
        self.times: dict[str, tuple[float, float]] = {}
        self.currency = currency
        self._cost_limit = None if budget.cost is None else Decimal(str(budget.cost))
        self.spent = Sums()
        self.held = Sums()
        self._open: dict[int, Sent] = {}
        #: What earlier processes left under way in batch files, by key; charged as if it had been lost.
        self.left: dict[str, tuple[int, Sent]] = {}
        self._next = 0
        self._file: Any = None
        self._read()

    def _read(self) -> None:
        if not self.path.exists():
            return
        for number, line in whole_lines(self.path):
            self._take(line, number)
        for number, sent in self._open.items():
            self.spent.add(sent.use)
            if sent.file:
                self.left[sent.file] = number, sent
        self._open.clear()
        if self._cost_limit is not None and self.spent.unpriced:
            raise ConfigError(
                f"{self.path}: {self.spent.unpriced} earlier samples have no price, so collect.budget.cost cannot be "
                "kept; give their teachers a price, or limit collect.budget.requests or tokens instead."
            )

    def _take(self, line: bytes, at: int) -> None:
        try:
            row = json.loads(line)
            if row["event"] == "sent":
                prompt, completion = row.get("times", (1.0, 1.0))
                use, file = self._use(row, row["teacher"]), str(row["key"]) if row.get("file") else ""
                self._open[row["n"]] = Sent(row["teacher"], use, (float(prompt), float(completion)), file)
                self._next = max(self._next, row["n"] + 1)
                self.spent.requests += use.requests
            elif row["event"] in ("answered", "failed"):
                sent = self._open.pop(row["n"])
                use = self._use(row, sent.teacher)
                self._compare(sent, use)
                self.spent.add(use)
        except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
            raise DataError(f"{self.path}:{at}: expected a line of the ledger; mend or remove it.") from error

    def _use(self, row: dict[str, Any], teacher: str) -> Use:
        cost, tokens = row["cost"], (int(row["prompt_tokens"]), int(row["completion_tokens"]))
        more = int(row.get("cached_tokens", 0)), int(row.get("requests", 1))
        if cost is None:
            return Use(*tokens, self._prices[teacher](*tokens, more[0]) if teacher in self._prices else None, *more)
        amount, _, currency = str(cost).partition(" ")  # "0" of what was free
        self.currency = self.currency or currency
        if currency and currency != self.currency:
            raise ConfigError(
                f"{self.path}: its costs are in {currency}, the prices of the teachers in {self.currency}; "
                f"write the prices in {currency}."
            )
        return Use(*tokens, Decimal(amount), *more)

    def _compare(self, sent: Sent, used: Use) -> None:
        """Keep in mind by how much a server's count passed what its request was thought to allow."""
        prompt, completion = self.times.get(sent.teacher, (1.0, 1.0))
        prompt = max(prompt, sent.times[0] * used.prompt_tokens / max(1, sent.use.prompt_tokens))
        completion = max(completion, sent.times[1] * used.completion_tokens / max(1, sent.use.completion_tokens))
        if (prompt, completion) > (1.0, 1.0):
            self.times[sent.teacher] = (prompt, completion)

    # ------------------------------------------------------------------ budget

    def scaled(self, teacher: str, prompt: int, completion: int) -> tuple[int, int]:
        """The most tokens that a request may use of which these are thought to be the most."""
        times = self.times.get(teacher, (1.0, 1.0))
        return ceil(prompt * times[0]), ceil(completion * times[1])

    def exceeded(self, uses: Sequence[Use]) -> str:
        """The limit that requests of at most `uses` could pass, "" for none."""
        allowed: dict[str, int | Decimal | None] = {
            "requests": self.budget.requests,
            "tokens": self.budget.tokens,
            "cost": self._cost_limit,
        }
        if all(limit is None for limit in allowed.values()):
            return ""
        after: dict[str, int | Decimal] = {
            "requests": self.spent.requests + self.held.requests + sum(use.requests for use in uses),
            "tokens": self.spent.tokens + self.held.tokens + sum(use.tokens for use in uses),
            "cost": self.spent.cost + self.held.cost + sum(use.cost or 0 for use in uses),
        }
        for name, limit in allowed.items():
            if limit is not None and after[name] > limit:
                return name
        return ""

    # ------------------------------------------------------------------ writing

    def __enter__(self) -> Self:
        with writing(self.path):
            self._file = open_mended(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def send(self, teacher: str, requests: Sequence[tuple[str, Use]], *, file: bool = False) -> list[int]:
        """Note requests that are about to leave: (key of the sample, the most it can use). Gives their numbers.

        `file`: in a batch file. What an earlier process left in one is that same request, and is not noted again.
        """
        now = round(time.time(), 3)
        times = self.times.get(teacher, (1.0, 1.0))
        more: dict[str, Any] = {"times": list(times)} if teacher in self.times else {}
        more |= {"file": True} if file else {}
        found, rows = [], []
        for key, use in requests:
            if file and key in self.left:
                number, sent = self.left.pop(key)
                self.spent.add(sent.use, -1)
                self.spent.requests -= sent.use.requests
            else:
                number, sent = self._next, Sent(teacher, use, times, key if file else "")
                self._next += 1
                row = {"n": number, "event": "sent", "key": key, "teacher": teacher, **self._columns(use), **more}
                rows.append({**row, "at": now})
            found.append((number, sent))
        self._append(rows)
        for number, sent in found:
            self._open[number] = sent
            self.held.add(sent.use)
            self.held.requests += sent.use.requests
        return [number for number, _ in found]

    def answered(self, uses: Iterable[tuple[int, Use]]) -> None:
        """Note requests whose answers are in the bank: (number, what it used)."""
        rows = [{"n": number, "event": "answered", **self._columns(self._end(number, use))} for number, use in uses]
        self._append(rows)

    def failed(self, numbers: Iterable[int], reason: str, *, billed: bool) -> None:
        """Note requests that gave nothing; where they are `billed`, they keep the most they could use."""
        self._append(
            [
                {
                    "n": n,
                    "event": "failed",
                    "reason": reason,
                    **self._columns(self._end(n, None if billed else NOTHING)),
                }
                for n in numbers
            ]
        )

    def gave_up(self, key: str, teacher: str, reason: str, message: str) -> None:
        """Note a sample that is not asked for again by this process, and why."""
        self._append([{"event": "gave_up", "key": key, "teacher": teacher, "reason": reason, "message": message}])

    @property
    def under_way(self) -> int:
        """Samples that were sent and have no end yet."""
        return len(self._open)

    def bound(self, number: int) -> Use:
        """The most that a request under way can use."""
        return self._open[number].use

    def observe(self, number: int, used: Use) -> None:
        """Take in what a request used that is not noted as answered yet: where it is more, it is held with that."""
        sent = self._open[number]
        self._compare(sent, used)
        if used.tokens > sent.use.tokens or (used.cost or 0) > (sent.use.cost or 0):
            self.held.add(sent.use, -1)
            self.held.add(used)
            self._open[number] = replace(sent, use=replace(used, requests=sent.use.requests))

    def _end(self, number: int, use: Use | None) -> Use:
        """Move a request from `held` to `spent`, with what it used (None: its most)."""
        sent = self._open.pop(number)
        use = sent.use if use is None else use
        self.held.add(sent.use, -1)
        self.held.requests -= sent.use.requests
        self.spent.add(use)
        self.spent.requests += sent.use.requests
        return use

    def _columns(self, use: Use) -> dict[str, Any]:
        # Without a currency there was no price either: then the cost is nothing (of a free teacher) or not known.
        cost = None if use.cost is None else f"{use.cost:f} {self.currency}" if use.cost else "0"
        row: dict[str, Any] = {"prompt_tokens": use.prompt_tokens, "completion_tokens": use.completion_tokens}
        row |= {"cached_tokens": use.cached_tokens} if use.cached_tokens else {}
        return row | ({} if use.requests else {"requests": 0}) | {"cost": cost}

    def _append(self, rows: Iterable[dict[str, Any]]) -> None:
        content = b"".join(to_bytes(_writable(row)) for row in rows)
        if self._file.closed:
            raise ResourceError(f"{self.path}: nothing more can be written after what failed before.")
        try:
            with writing(self.path):
                write_all(self._file, content)
        except ResourceError:
            # What is torn now must stay the end of the file, where the next process mends it.
            self._file.close()
            raise


def _writable(row: dict[str, Any]) -> dict[str, Any]:
    """The row with texts that UTF-8 can hold."""
    return {name: as_utf8(value) if isinstance(value, str) else value for name, value in row.items()}
