"""The asking itself: many requests at a time, each answer on disk before its sample counts.

    plan ─→ lanes ─→ requests under way ─→ arrived ─→ cots.jsonl ─→ ledger ─→ judge ─→ labels.jsonl
                      (ledger: sent)                  (one write and one fsync for all that have arrived)

One dispatcher starts requests, one keeper writes what arrived, one labeller judges what is written. A kill between any
two of these leaves a bank that the next start goes on with.
"""

import asyncio
import contextlib
import json
import signal
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any

from realm.bank.cot import CoT, comment_hash, digest
from realm.bank.writer import BankWriter
from realm.errors import TeacherError
from realm.teacher.base import Failure, Reply
from realm.teacher.labelling import Judge
from realm.teacher.lanes import Lane, Tally, Try
from realm.teacher.ledger import CHARGED, Ledger, Use
from realm.teacher.pacing import BUSY_RETRIES, PATIENCE, UNREADABLE, UNREADABLE_RETRIES
from realm.teacher.plan import Job, Plan, shared

#: Answers that may wait for the disk before no further request leaves.
BACKLOG = 4096
#: Seconds between two looks at the tally.
TICK = 0.5

Watch = Callable[[Tally], None]


@dataclass(frozen=True)
class Arrived:
    """An answer that is not on disk yet; `number` is its request's in the ledger."""

    lane: Lane
    job: Job
    number: int
    reply: Reply
    used: Use
    seconds: float | None

    def cot(self) -> CoT:
        """Its row in the bank, not judged yet."""
        job, reply = self.job, self.reply
        return CoT(
            question_id=job.question.id,
            text=reply.text,
            answer=reply.answer,
            label=None,
            teacher=self.lane.source.name,
            guided=bool(job.comments),
            comments=tuple(map(comment_hash, job.comments)),
            sample=job.number,
            id=job.key,
            problem=reply.problem,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            seconds=self.seconds,
            params=self.lane.params,
            prompt=digest(job.messages),
            meta=json.dumps(reply.meta, sort_keys=True) if reply.meta else "",
        )


class Engine:
    """Asks for everything that the lanes hold, and keeps what comes.

    Args:
        concurrency: calls under way at most, over all teachers.
        retries: further tries of a request that failed for a passing reason.
        patience: seconds that answers under way are waited for after a stop.
        watch: is shown the tally now and then, and at the end.
    """

    def __init__(
        self,
        plan: Plan,
        lanes: Sequence[Lane],
        *,
        concurrency: int,
        retries: int,
        patience: float,
        writer: BankWriter,
        ledger: Ledger,
        judge: Judge,
        tally: Tally,
        watch: Watch | None = None,
    ) -> None:
        self._plan = plan
        self._lanes = list(lanes)
        self._concurrency = concurrency
        self._retries = retries
        self._patience = patience
        self._writer = writer
        self._ledger = ledger
        self._judge = judge
        self._tally = tally
        self._watch = watch
        self._under_way: dict[asyncio.Task[None], Lane] = {}
        self._arrived: list[Arrived] = []
        self._closing = self._kept = False
        self._stopped: BaseException | None = None

    async def run(self, finish: Callable[[], None]) -> None:
        """Ask until nothing is owed or something stops it. `finish` is called when every answer is judged.

        Raises:
            TeacherError: a teacher that cannot be asked.
            ResourceError: the disk refuses.
            KeyboardInterrupt: Ctrl-C or SIGTERM; what had arrived is on disk.
        """
        self._loop = asyncio.get_running_loop()
        self._changed, self._arrival, self._written = asyncio.Event(), asyncio.Event(), asyncio.Event()
        with (
            ThreadPoolExecutor(1, "realm-disk") as self._disk,
            ThreadPoolExecutor(1, "realm-labels") as self._bench,
            self._signals(),
        ):
            keeper, labeller = self._helper(self._keep()), self._helper(self._label())
            ticker = self._helper(self._tick())
            try:
                await self._dispatch()
            except Exception as error:
                self._stop(error)
            try:
                await self._drain()
            finally:
                self._closing = True
                self._arrival.set()
                await asyncio.gather(keeper, return_exceptions=True)
                self._kept = True
                self._written.set()
                await asyncio.gather(labeller, return_exceptions=True)
                ticker.cancel()
                for lane in self._lanes:
                    await lane.source.teacher.close()
            if self._stopped is None or isinstance(self._stopped, TeacherError):
                await self._loop.run_in_executor(self._bench, self._judge.rest, lambda: self._stopped is not None)
                if not isinstance(self._stopped, KeyboardInterrupt):
                    await self._loop.run_in_executor(self._bench, finish)
        self._show("")
        if self._stopped is not None:
            raise self._stopped

    # ------------------------------------------------------------------ stopping

    def _stop(self, error: BaseException) -> None:
        self._stopped = self._stopped or error
        self._changed.set()

    def _interrupt(self) -> None:
        """Ctrl-C or SIGTERM: no request leaves any more; where none does already, none is waited for either."""
        if self._stopped is not None:
            for task in self._under_way:
                task.cancel()
        self._stop(KeyboardInterrupt())

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        handled: dict[signal.Signals, Any] = {}
        # Another thread than the main one gets no signals; whoever runs this there stops it otherwise.
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.getsignal(number)
                self._loop.add_signal_handler(number, self._interrupt)
                handled[number] = before
        try:
            yield
        finally:
            for number, before in handled.items():
                # asyncio leaves the default behind, which is not what a caller had (`realm.stopping`).
                self._loop.remove_signal_handler(number)
                if before is not None:  # one that was not installed from Python cannot be
                    signal.signal(number, before)

    async def _drain(self) -> None:
        """Wait for what is under way, for `patience` seconds, and give up the rest: its answers may be paid for.

        What this process computes itself would hold up its end anyway, so that is waited for until it is done. Batch
        files are not waited for: the next start finds them again.
        """
        for task, lane in self._under_way.items():
            if lane.files:
                task.cancel()
        pending = [task for task, lane in self._under_way.items() if not (task.done() or lane.files)]
        if pending:
            calls = f"{len(pending)} calls" if len(pending) != 1 else "one call"
            again = "Ctrl-C again" if isinstance(self._stopped, KeyboardInterrupt) else "Ctrl-C"
            waited = f"waited for {self._patience:g} s at most"
            self._show(f"stopping; {calls} under way, {waited} ({again}: do not wait for the answers)")
            await asyncio.wait(pending, timeout=self._patience)
        for task, lane in self._under_way.items():
            if lane.source.teacher.concurrent:
                task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _helper(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._stop(error)

    # ------------------------------------------------------------------ dispatching

    async def _dispatch(self) -> None:
        while self._stopped is None and not self._tally.budget:
            self._changed.clear()
            now = self._loop.time()
            chosen = self._choose(now)
            if chosen is not None:
                self._send(*chosen)
                continue
            times = [due for lane in self._lanes if (due := lane.due()) is not None]
            if not self._under_way and (not times or self._tally.budget):
                return
            later = [due for due in times if due > now]
            alarm = self._loop.call_at(min(later), self._changed.set) if later else None
            await self._changed.wait()
            if alarm is not None:
                alarm.cancel()

    def _choose(self, now: float) -> tuple[Lane, list[Try], list[Use]] | None:
        """The next call, None if none can leave now."""
        if len(self._under_way) >= self._concurrency or len(self._arrived) >= BACKLOG:
            return None
        for lane in sorted(self._lanes, key=lambda lane: lane.load):
            tries = lane.take(now) if lane.free(now) else []
            if not tries:
                continue
            uses = [
                CHARGED if lane.files and job.key in self._ledger.left else self._most(lane, job, further)
                for job, further in shared((tried.job for tried in tries), lane.source.together)
            ]
            fit = bisect_left(
                range(1, len(uses) + 1), True, key=lambda count: bool(self._ledger.exceeded(uses[:count]))
            )
            lane.put_back(tries[fit:])
            if fit:
                return lane, tries[:fit], uses[:fit]
            if not self._ledger.under_way:
                # What was held for requests under way is given back: this is all that the budget allows.
                self._tally.budget = limit = self._ledger.exceeded(uses[:1])
                most = self._most(lane, tries[0].job)
                self._tally.next_most = Decimal({"tokens": most.tokens, "cost": most.cost or 0}.get(limit, 1))
            return None
        return None

    def _most(self, lane: Lane, job: Job, further: bool = False) -> Use:
        prompt, completion = self._ledger.scaled(lane.source.name, *lane.source.bound(job.messages))
        prompt *= not further
        return Use(prompt, completion, lane.source.cost(prompt, completion), requests=int(not further))

    def _send(self, lane: Lane, tries: list[Try], uses: list[Use]) -> None:
        requests = [(tried.job.key, use) for tried, use in zip(tries, uses, strict=True)]
        numbers = self._ledger.send(lane.source.name, requests, file=lane.files)
        self._tally.requests += sum(use.requests for use in uses)
        self._tally.retries += sum(use.requests for tried, use in zip(tries, uses, strict=True) if tried.failed)
        lane.sent[numbers[0]] = self._loop.time()
        task = self._helper(self._ask(lane, tries, numbers))
        self._under_way[task] = lane

        def ended(task: asyncio.Task[None]) -> None:
            del lane.sent[numbers[0]]
            del self._under_way[task]
            self._changed.set()

        task.add_done_callback(ended)

    async def _ask(self, lane: Lane, tries: list[Try], numbers: list[int]) -> None:
        source, sent = lane.source, lane.sent[numbers[0]]
        try:
            replies = await source.teacher.ask([self._plan.ask(source, tried.job) for tried in tries])
        except Failure as failure:
            self._failed(lane, tries, numbers, failure, sent)
            return
        except BaseException as error:
            # Cancelled, or a mistake of ours: nobody knows what the endpoint charges.
            reason = "stopped" if isinstance(error, asyncio.CancelledError) else "error"
            self._ledger.failed(_over(lane, tries, numbers), reason, billed=not lane.files)
            raise
        # Such a teacher's time says nothing, and would keep two of its banks from being equal.
        seconds = None if source.teacher.costs == "nothing" else round(self._loop.time() - sent, 3)
        answered, back = any(isinstance(reply, Reply) for reply in replies), []
        for tried, number, reply in zip(tries, numbers, replies, strict=True):
            if answered:
                lane.pace.answered(self._loop.time())
                lane.failed.clear()
            if isinstance(reply, Reply):
                self._arrive(lane, tried.job, number, reply, seconds)
            elif reply is None:
                self._ledger.failed([number], "not_given", billed=False)
                back.append(tried)
            else:
                self._failed(lane, [tried], [number], reply, sent)
        lane.put_back(back)

    def _arrive(self, lane: Lane, job: Job, number: int, reply: Reply, seconds: float | None) -> None:
        used = self._used(lane, number, reply)
        # At once, not when it is on disk: what leaves next is held at what the server is known to count.
        self._ledger.observe(number, used)
        self._tally.times = {name: max(times) for name, times in self._ledger.times.items()}
        self._arrived.append(Arrived(lane, job, number, reply, used, seconds))
        self._arrival.set()
        if why := lane.useless(reply.problem):
            self._end(lane, why)

    def _failed(self, lane: Lane, tries: list[Try], numbers: list[int], failure: Failure, sent: float) -> None:
        now, name = self._loop.time(), lane.source.name
        self._tally.failures[failure.reason] += max(1, sum(self._ledger.bound(n).requests for n in numbers))
        for tried in tries:
            lane.failed.setdefault(tried.job.question.id, Counter())[failure.reason] += 1
        if failure.kind == "denied":
            failure.kind = "request" if lane.pace.started else "fatal"
        if (failure.retry_after or 0) > PATIENCE:
            self._ledger.failed(_over(lane, tries, numbers), failure.reason, billed=failure.billed)
            self._tally.closed[name] = f"asks to wait for {(failure.retry_after or 0) / 3600:.1f} h ({failure.message})"
            lane.close()
            return
        ended = lane.pace.failed(failure, sent, now)
        unreadable = failure.reason in UNREADABLE and lane.pace.started
        hopeless = unreadable and tries[0].unreadable >= UNREADABLE_RETRIES
        again = failure.kind == "transient" and not ended and not hopeless and self._may_again(tries[0], failure)
        kept = unreadable and failure.body and len(tries) == 1 and not again
        if kept:
            reply = Reply(failure.body, "", "malformed", meta={"failure": failure.reason})
            self._arrive(lane, tries[0].job, numbers[0], reply, round(now - sent, 3))
        else:
            self._ledger.failed(_over(lane, tries, numbers), failure.reason, billed=failure.billed)
        if failure.kind == "fatal" or ended:
            self._end(lane, ended + lane.blamed() if ended else failure.message)
        elif failure.kind == "request" and len(tries) > 1:
            # One of them is at fault; asked for one by one, it is the only one that is given up.
            lane.put_back([replace(tried, alone=True) for tried in tries])
        elif not kept:
            # All of a request wake at once and are one again, whose prompt is paid once; a batch file took its time.
            until = now + (0 if lane.files else lane.pace.wait(tries[0].failed + 1, failure))
            for tried in tries:
                if failure.kind == "transient" and not hopeless and self._may_again(tried, failure):
                    lane.sleep(tried, until, unreadable=unreadable, busy=failure.reason == "429")
                else:
                    self._give_up(lane, tried.job, failure)

    def _may_again(self, tried: Try, failure: Failure) -> bool:
        if failure.reason == "429":
            return tried.busy < BUSY_RETRIES * self._retries
        return tried.failed - tried.busy < self._retries

    def _end(self, lane: Lane, why: str) -> None:
        where = lane.source.settings.base_url
        self._stop(TeacherError(f"teachers.{lane.source.name}{f' ({where})' if where else ''}: {why.rstrip('.')}."))

    def _give_up(self, lane: Lane, job: Job, failure: Failure) -> None:
        self._tally.given_up[failure.reason] += 1
        self._tally.lost[job.question.id] += 1
        self._tally.complaint = failure.message
        self._ledger.gave_up(job.key, lane.source.name, failure.reason, failure.message)

    # ------------------------------------------------------------------ keeping

    async def _keep(self) -> None:
        """Write what has arrived, all of it at once, until the end."""
        while not self._closing or self._arrived:
            if not self._arrived:
                await self._arrival.wait()
                self._arrival.clear()
                continue
            lot, self._arrived = self._arrived, []
            cots = [arrived.cot() for arrived in lot]
            await self._loop.run_in_executor(self._disk, partial(self._writer.write, cots, sync=True))
            self._ledger.answered([(arrived.number, arrived.used) for arrived in lot])
            self._tally.done += len(lot)
            self._tally.problems.update(cot.problem for cot in cots if cot.problem)
            self._judge.add(cots)
            self._written.set()
            self._changed.set()

    def _used(self, lane: Lane, number: int, reply: Reply) -> Use:
        """What a request used: what the server told, and the most for what it did not tell."""
        most = self._ledger.bound(number)
        prompt = most.prompt_tokens if reply.prompt_tokens is None else reply.prompt_tokens
        completion = most.completion_tokens if reply.completion_tokens is None else reply.completion_tokens
        cached = reply.cached_tokens
        self._tally.prompt_tokens += prompt
        self._tally.completion_tokens += completion
        return Use(prompt, completion, lane.source.cost(prompt, completion, cached), cached)

    async def _label(self) -> None:
        """Judge what is written, until the end, or until a stop: the next start judges the rest."""
        while not isinstance(self._stopped, KeyboardInterrupt):
            if await self._loop.run_in_executor(self._bench, self._judge.work):
                continue
            if self._written.is_set():
                self._written.clear()
            elif self._kept:
                return
            else:
                await self._written.wait()

    # ------------------------------------------------------------------ showing

    async def _tick(self) -> None:
        while self._watch is not None:
            held = min((lane.pace.gate for lane in self._lanes), default=0.0) - self._loop.time()
            self._tally.held = held if held > 1 and not self._under_way else 0.0
            notes = (getattr(lane.source.teacher, "note", "") for lane in self._lanes)
            self._show("; ".join(filter(None, notes)) if self._stopped is None else self._tally.note)
            await asyncio.sleep(TICK)

    def _show(self, note: str) -> None:
        self._tally.note = note
        if self._watch is not None:
            self._watch(self._tally)


def _over(lane: Lane, tries: list[Try], numbers: list[int]) -> list[int]:
    """The requests of a call that failed which no batch file at the endpoint holds: that can be read later."""
    waiting = getattr(lane.source.teacher, "waiting", ())
    return [number for tried, number in zip(tries, numbers, strict=True) if tried.job.key not in waiting]
