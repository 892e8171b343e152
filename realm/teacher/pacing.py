"""How fast a teacher is asked: when a failed request is tried again, how many are under way, and when to stop it all.

Pure bookkeeping: times come in as seconds of one clock and nothing here waits.
"""

import random
from collections import Counter

from realm.teacher.base import Failure

#: Seconds of the first backoff, and the longest there is unless the server asks for more.
FIRST, LONGEST = 0.5, 60.0
#: Before the first answer: failures in a row that show that nothing (or nothing of the kind) answers at the address …
START_TRIES = 3
NO_ENDPOINT = frozenset({"connection", "timeout", "content_type", "not_json", "shape", "error_text"})
#: … and samples in a row that the endpoint refuses, whatever they hold.
START_REFUSALS = 5
#: Reasons of a failure whose body is kept as a malformed CoT after the last try, …
UNREADABLE = frozenset({"not_json", "half_body", "content_type", "shape"})
#: … of so many further ones, from a teacher that has answered: they are paid for, and the sample is likely at fault.
UNREADABLE_RETRIES = 2
#: After a 429 a sample is tried so many times as often as `collect.retries` says: whom a busy endpoint has no room for
#: is chance. Bounded all the same: some refuse a request that is too long for their limit in this way.
BUSY_RETRIES = 5
#: Seconds that a server may ask to wait; for longer ones nobody sits there.
PATIENCE = 3600.0


def backoff(tries: int, source: random.Random, first: float = FIRST) -> float:
    """Seconds to wait after that many failed tries (from 1): exponential, with full jitter."""
    return source.uniform(0.0, min(LONGEST, first * 2 ** min(tries - 1, 32)))


class Pace:
    """The pace of one teacher.

    Until its first answer one request at a time is under way, then as many as `ceiling`. After a 429 or a timeout there
    are fewer, and more again with every answer. When half of `give_up_after` failures came in a row, one request at a
    time tries whether the endpoint is back, with growing pauses. Failures of requests that were under way when an
    answer came or another request failed are the same trouble, and count once.

    Args:
        ceiling: requests under way at most.
        give_up_after: failures in a row, without an answer between them, that end the collection; so do ten times as
            many requests (or twice the ceiling) that failed since the last answer, whenever they left.
        seed: of the jitter.
        first: seconds of the first backoff.
    """

    def __init__(self, ceiling: int, give_up_after: int, seed: int = 0, first: float = FIRST) -> None:
        self.started = False
        #: Nothing leaves before this time.
        self.gate = float("-inf")
        self._ceiling = ceiling
        self._window = float(ceiling)
        self._give_up_after = give_up_after
        self._most = max(10 * give_up_after, 2 * ceiling)
        self._first = first
        self._source = random.Random(seed)
        self._streak = 0
        self._reasons: Counter[str] = Counter()
        self._refused = 0
        self._counted = float("-inf")
        self._slowed = float("-inf")

    @property
    def window(self) -> int:
        """Requests that may be under way."""
        return 1 if not self.started or self._probing else max(1, int(self._window))

    @property
    def _probing(self) -> bool:
        return 2 * self._streak >= self._give_up_after > 1

    def answered(self, now: float) -> None:
        """An answer came, of whatever quality."""
        self.started = True
        self._counted = max(self._counted, now)
        self._streak = self._refused = 0
        self._reasons.clear()
        self._window = min(self._ceiling, self._window + 2.0 / self._window)

    def wait(self, tries: int, failure: Failure) -> float:
        """Seconds after which a sample is asked for again that failed `tries` times."""
        delay = backoff(tries, self._source, self._first)
        if failure.retry_after is None:
            return delay
        # Not all at the very moment that the server named.
        return max(0.0, failure.retry_after) + min(delay, self._first)

    def failed(self, failure: Failure, sent: float, now: float) -> str:
        """A request that left at `sent` failed; says why everything should stop, or ""."""
        self._reasons[failure.reason] += 1
        if failure.retry_after is not None:
            self.gate = max(self.gate, now + max(0.0, failure.retry_after))
        # Who takes all that come and works on one after the other would let all of them wait for too long, for ever.
        if failure.reason in ("429", "timeout") and sent >= self._slowed:
            self._window, self._slowed = max(1.0, 0.7 * self._window), now
        if failure.kind == "request":
            # Each is another sample. An endpoint that reads a request well enough to refuse it is there.
            self._refused += 1
        elif sent >= self._counted and not (self.started and failure.reason in UNREADABLE):
            self._streak, self._counted = self._streak + 1, now
        if not self.started and self._refused >= START_REFUSALS:
            return f"the endpoint refuses every request: {failure.message}"
        if not self.started and self._streak >= START_TRIES and NO_ENDPOINT.issuperset(self._reasons):
            return f"no answer in {self._streak} tries: {failure.message}"
        # An endpoint at its limit refuses with 429 whatever it has no room for, while it works on other requests.
        total = self._reasons.total() - self._reasons["429"]
        if self._streak + self._refused >= self._give_up_after or total > self._most:
            return (
                f"{self._reasons.total()} requests failed with no answer between them ({counted(self._reasons)}); "
                f"the last: {failure.message}"
            )
        if self._probing and failure.kind != "request":
            pause = min(LONGEST / 2, self._first * 2 ** (self._streak - self._give_up_after // 2))
            self.gate = max(self.gate, now + pause)
        return ""


def counted(reasons: Counter[str]) -> str:
    """`503: 12, timeout: 3`, the most frequent first."""
    return ", ".join(f"{reason}: {number}" for reason, number in reasons.most_common())
