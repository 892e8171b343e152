"""The samples of one teacher on their way: fresh ones, and those that wait to be asked for again."""

import heapq
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import count

from realm.bank.cot import digest
from realm.teacher.ledger import Sums
from realm.teacher.pacing import Pace, counted
from realm.teacher.plan import Job, Source

#: Answers of a teacher of which at least one must be usable.
FIRST_ANSWERS = 50
#: So many questions may be at fault themselves where nothing else failed.
FEW = 5
_NEW = "then collect into another --out, or with --overwrite, which keeps this bank beside the new one"
_ADVICE = {
    "cut": f"raise teachers.{{name}}.sampling.max_tokens, or the server's context where that was full, {_NEW}",
    "no_answer": f"mend teachers.{{name}}.prompt so that answers end in `Final answer: …`, {_NEW}",
    "refused": f"mend teachers.{{name}}.prompt or system, or take another model, {_NEW}",
    "empty": f"raise teachers.{{name}}.sampling.max_tokens or mend its prompt, {_NEW}",
    "malformed": "check teachers.{name}.base_url and model: that is no server of chat completions",
}


@dataclass(frozen=True)
class Try:
    """A job that is asked for.

    `failed`: tries before, `unreadable` of them with an answer that nobody could read, and `busy` sent away with a 429;
    `alone`: in a call of its own, as its batch was refused.
    """

    job: Job
    failed: int = 0
    unreadable: int = 0
    busy: int = 0
    alone: bool = False


@dataclass
class Tally:
    """How far a collection is; what happened since it was started.

    Attributes:
        there, owed: samples that were in the bank at the start, and that were not; `done`: those that came since.
        retries: requests among `requests` that were not the first for their sample.
        failures: failed requests by reason; `given_up`: samples by the reason of their last failure.
        problems: kept CoTs by what is wrong with them.
        spent: by every start of the collection, as the ledger has it; `currency` is that of its cost.
        lost: given up samples by question.
        complaint: the last failure of a sample that was given up.
        budget: the limit that stopped the collection, or ""; `next_most`: of what it limits, what the next request
            could have used.
        times: by teacher, how many times the tokens that a request was thought to allow its server counted at most.
        closed: teachers that are not asked any more, and why.
        held: seconds before which no request leaves.
        note: what it waits for, or "".
    """

    there: int = 0
    owed: int = 0
    done: int = 0
    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    given_up: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    spent: Sums = field(default_factory=Sums)
    currency: str = ""
    lost: Counter[str] = field(default_factory=Counter)
    complaint: str = ""
    budget: str = ""
    next_most: Decimal = Decimal(0)
    times: dict[str, float] = field(default_factory=dict)
    closed: dict[str, str] = field(default_factory=dict)
    held: float = 0.0
    note: str = ""

    @property
    def left(self) -> int:
        return self.owed - self.done


class Lane:
    """What one teacher still has to be asked, in the order in which it may be.

    Args:
        jobs: the samples owed, made one at a time.
        sleepers: retries that may wait before no fresh sample is begun.
    """

    def __init__(self, source: Source, jobs: Iterator[Job], pace: Pace, sleepers: int) -> None:
        self.source = source
        self.pace = pace
        self.sent: dict[int, float] = {}
        self.params = digest(source.teacher.parameters)
        self._fresh: Iterator[Job] | None = jobs
        self._returned: deque[Try] = deque()
        self._asleep: list[tuple[float, int, Try]] = []
        self._order = count()
        self._sleepers = max(sleepers, source.teacher.batch)
        #: Whether it is asked by batch files: all of them at once, and whatever failed with the next one.
        self.files = source.settings.batch is not None
        self._closed = False
        self._usable = False
        self._problems: Counter[str] = Counter()
        #: Requests that failed since the last answer: reasons by question.
        self.failed: dict[str, Counter[str]] = {}

    @property
    def under_way(self) -> int:
        """Calls under way; `sent` holds the time of each, by the number of its first request, the oldest first."""
        return len(self.sent)

    @property
    def load(self) -> float:
        """Calls under way, relative to the teacher's share."""
        return self.under_way / self.source.settings.share

    def free(self, now: float) -> bool:
        """Whether one more call may leave."""
        most = self.pace.window if self.source.teacher.concurrent else 1
        return (self.files or self.under_way < most) and now >= self.pace.gate

    def take(self, now: float) -> list[Try]:
        """What the next call should ask for: retries that are due, then fresh samples; empty if there is nothing."""
        taken: list[Try] = []
        while len(taken) < self.source.teacher.batch:
            following = self._next(now)
            if following is None:
                break
            # A request for several samples has room for one prompt; other calls hold whatever is next.
            apart = 1 < self.source.teacher.batch <= self.source.together
            if taken and (following.alone or (apart and following.job.messages != taken[0].job.messages)):
                self.put_back([following])
                break
            taken.append(following)
            if following.alone:
                break
        return taken

    def _next(self, now: float) -> Try | None:
        if self._returned:
            return self._returned.popleft()
        if self._asleep and self._asleep[0][0] <= now:
            return heapq.heappop(self._asleep)[2]
        if self._fresh is None or len(self._asleep) >= self._sleepers:
            return None
        job = next(self._fresh, None)
        if job is None:
            self._fresh = None
            return None
        return Try(job)

    def put_back(self, tries: list[Try]) -> None:
        """Take back what was not asked for; it comes first next time."""
        if not self._closed:
            self._returned.extendleft(reversed(tries))

    def sleep(self, tried: Try, until: float, *, unreadable: bool = False, busy: bool = False) -> None:
        """Ask for it again, not before `until`; `unreadable`: as its answer was; `busy`: as the endpoint was."""
        again = replace(
            tried, failed=tried.failed + 1, unreadable=tried.unreadable + unreadable, busy=tried.busy + busy
        )
        if not self._closed:
            heapq.heappush(self._asleep, (until, next(self._order), again))

    def close(self) -> None:
        """Ask for nothing more."""
        self._closed, self._fresh = True, None
        self._returned.clear()
        self._asleep.clear()

    def useless(self, problem: str) -> str:
        """Take in what is wrong with a further answer ("" for nothing); says why it should stop, or "".

        It should where at least `FIRST_ANSWERS` came and a student can be shown none of them.
        """
        self._usable = self._usable or not problem
        self._problems[problem] += 1
        total = self._problems.total()
        if self._usable or total < FIRST_ANSWERS:
            return ""
        name, most = self.source.name, self._problems.most_common(1)[0][0]
        said = ", ".join(f"{problem}: {number}" for problem, number in self._problems.most_common())
        return f"none of the first {total} answers is usable ({said}); {_ADVICE[most].format(name=name)}"

    def blamed(self) -> str:
        """Where nothing is left but a few questions that fail again and again: which these are, and what to do."""
        if not self.pace.started or self._fresh is not None or len(self.failed) > FEW:
            return ""
        told = ", ".join(f"{question} ({counted(reasons)})" for question, reasons in self.failed.items())
        all_for, them = ("one question", "it") if len(self.failed) == 1 else (f"{len(self.failed)} questions", "them")
        longer = "raise collect.timeout, or " if any("timeout" in reasons for reasons in self.failed.values()) else ""
        return (
            f". All of them were for {all_for}: {told}. Everything else was answered, so that the fault is likely "
            "there and not with the endpoint. What came is kept, and training can use it. For the rest --resume: "
            f"{longer}take {them} out of the file of questions first"
        )

    def due(self) -> float | None:
        """When the next call can leave at the earliest, as far as this lane knows; None if nothing is left."""
        if self._returned or (self._fresh is not None and len(self._asleep) < self._sleepers):
            return self.pace.gate
        return max(self.pace.gate, self._asleep[0][0]) if self._asleep else None
