"""What `realm collect` prints: the plan before anything is spent, how it goes, and what came of it."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import typer

from realm.cli.live import EVERY
from realm.display import printable, printable_lines
from realm.text import grouped, percent, roughly

if TYPE_CHECKING:
    from realm.bank.folder import BankFolder
    from realm.sections import BudgetConfig
    from realm.tasks.base import Task
    from realm.teacher.lanes import Tally
    from realm.teacher.ledger import Sums
    from realm.teacher.plan import Estimate, Plan

#: Seconds over which the present speed is measured.
RECENT = 30.0
#: Questions that a message names.
NAMED = 5


def print_plan(folder: Path, task: Task, plan: Plan, estimates: list[Estimate], budget: BudgetConfig) -> None:
    """What will be asked, what it will take, of which split, and how sure that is."""
    owed = sum(estimate.samples for estimate in estimates)
    there = f"{_number(plan.size - owed)} are there, " if owed < plan.size else ""
    typer.echo(
        f"{folder}: {_number(len(plan.questions))} questions, {plan.samples} CoTs each (bank.samples): {there}"
        f"{_number(owed)} are owed"
    )
    for estimate in estimates:
        _print_estimate(estimate)
    _print_splits(task, plan, estimates)
    limits = [
        text
        for text in (
            f"{_number(budget.requests)} requests" if budget.requests is not None else "",
            f"{_number(budget.tokens)} tokens" if budget.tokens is not None else "",
            money(Decimal(str(budget.cost)), _currency(estimates)) if budget.cost is not None else "",
        )
        if text
    ]
    if limits:
        typer.echo(f"  budget, over every start: {', '.join(limits)}")


def _print_splits(task: Task, plan: Plan, estimates: list[Estimate]) -> None:
    """The questions of each split and what their CoTs take; what could be done without."""
    asked = {question.split for question in plan.questions}
    for split in task.splits():
        size = len(task.rows(split))
        owed = _owed(estimates, [split]) if split in asked else "not asked about (collect.splits)"
        typer.echo(f"  {printable(split)}: {_number(size)} question{'s' * (size != 1)}, {owed}")
    kept = [split for split in task.splits() if split in asked and split in ("train", "validation")]
    spared = [split for split in task.splits() if split in asked and split not in kept]
    if spared and kept and any(estimate.source.teacher.costs != "nothing" for estimate in estimates):
        names = printable(" and ".join(spared))
        typer.echo(
            f"  without {names} (--set 'collect.splits=[{', '.join(kept)}]') that is {_owed(estimates, spared)} less; "
            f"a student is then evaluated on {names} without routes alone"
        )


def _owed(estimates: list[Estimate], splits: Sequence[str]) -> str:
    """What the CoTs of these splits still take: requests, and money where the prices are known."""
    parts = [estimate.splits[split] for estimate in estimates for split in splits if split in estimate.splits]
    most = [part.cost()[1] for part in parts if not part.source.free]
    cost = f", at most {money(sum(filter(None, most), Decimal(0)), _currency(estimates))}" * (None not in most)
    asked = _asked(sum(part.samples for part in parts), sum(part.requests for part in parts))
    return f"{asked}{cost if most else ''}"


def _asked(samples: int, requests: int) -> str:
    """How many requests samples take, and how many samples where these are more."""
    return f"{f'{_number(samples)} CoTs in ' if samples > requests else ''}{_number(requests)} requests"


def print_outlook(estimates: list[Estimate], spent: Sums, budget: BudgetConfig) -> None:
    """Whether the budget allows what is owed, beside what is spent already."""
    owed = [estimate for estimate in estimates if estimate.samples]
    if budget.requests is not None:
        requests = sum(estimate.requests for estimate in owed)
        _print_limit("requests", spent.requests, requests, requests, budget.requests, _number)
    if budget.tokens is not None:
        answers = [estimate.completion for estimate in owed]
        prompts = sum(estimate.prompt for estimate in owed)
        about = None if None in answers else prompts + sum(filter(None, answers))
        most = sum(estimate.prompt_most + estimate.completion_most for estimate in owed)
        _print_limit("tokens", spent.tokens, about, most, budget.tokens, _number)
    if budget.cost is not None:
        guesses, mosts = zip(*(estimate.cost() for estimate in owed), strict=True) if owed else ((), ())
        guess = None if None in guesses else sum(filter(None, guesses), Decimal(0))
        dearest = sum(filter(None, mosts), Decimal(0))
        _print_limit(
            "cost", spent.cost, guess, dearest, Decimal(str(budget.cost)), partial(money, currency=_currency(estimates))
        )


def _print_limit(name: str, used: Any, about: Any, most: Any, limit: Any, text: Callable[[Any], str]) -> None:
    """One limit of the budget; all of its figures in one unit, `about` None where nobody can tell."""
    if about is not None and used + about > limit:
        verdict = "it would stop there before all is collected"
    elif used + most > limit:
        verdict = "it may stop there before all is collected"
    else:
        verdict = "that is enough, unless much is asked for twice"
    guess = f"about {text(about)}, " if about is not None and about != most else ""
    coming = f"{text(used)} used, {guess}at most {text(most)} to come"
    typer.echo(f"  collect.budget.{name} {text(limit)}: {coming}; {verdict}")


def _print_estimate(estimate: Estimate) -> None:
    source = estimate.source
    model = f" ({printable(source.settings.model)})" if source.settings.model else ""
    typer.echo(
        f"  {printable(source.name)}{model}: {_asked(estimate.samples, estimate.requests)}, "
        f"{_number(estimate.guided)} with comments of the expert"
    )
    if source.teacher.costs == "nothing" or not estimate.samples:
        return
    typer.echo(
        f"    prompts: about {_number(estimate.prompt)} tokens, estimated as a quarter of their bytes; "
        f"at most {_number(estimate.prompt_most)}"
    )
    most = f"at most {_number(estimate.completion_most)}, of max_tokens {source.settings.sampling.max_tokens}"
    about = estimate.completion
    typer.echo(
        f"    answers: about {_number(about)} tokens, as long as those in the bank; {most}"
        if about is not None
        else f"    answers: {most} (there are none yet to estimate from)"
    )
    if source.free:
        return
    about_cost, most_cost = estimate.cost()
    if most_cost is None:
        typer.echo(f"    cost: no price given (teachers.{printable(source.name)}.price)")
    else:
        sums = [f"at most {money(most_cost, source.currency)}"]
        if about_cost is not None:
            sums.insert(0, f"about {money(about_cost, source.currency)}")
        typer.echo(f"    cost: {', '.join(sums)}")


def print_samples(plan: Plan, samples: int, folder: BankFolder | None) -> None:
    """The messages of some samples as they would be sent, and what of the bank's answers so far cannot be read."""
    from realm.bank.scan import groups
    from realm.bank.unreadable import Unreadable, sentences
    from realm.teacher.plan import preview

    for source, job in preview(plan, samples):
        count = len(job.comments)
        kind = f"guided by {count} comment{'s' if count > 1 else ''}" if count else "unguided"
        if not count and plan.guidance.settings.match == "retrieval" and (why := plan.guidance.why_none(job.question)):
            kind += f" (no comment matches: {printable(why)})"
        typer.echo(f"── {printable(source.name)}, question {printable(job.question.id)}, sample {job.number}, {kind}")
        for message in job.messages:
            role, text = (message["role"], message["content"]) if isinstance(message, dict) else ("comment", message)
            typer.echo(f"[{printable(role)}]")
            typer.echo(printable_lines(text))
        typer.echo()
    if folder is not None:
        unreadable = Unreadable()
        for question, cots in groups(folder):
            unreadable.add(question, cots)
        for sentence in sentences(unreadable.summary()):
            typer.echo(f"{folder.path}: {sentence}")
    typer.echo("nothing was sent")


class CollectionView:
    """How a collection goes, on stderr: a bar on a terminal, else a line now and then. A context manager."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._live: Any = None
        self._bar: Any = None
        self._task: Any = None
        self._due = time.monotonic() + EVERY
        self._note = ""
        self._speed = 0.0
        self.last: Tally | None = None
        self._past: deque[tuple[float, int, int]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, tally: Tally) -> None:
        """Draw the tally, or print it where a line is due."""
        now = time.monotonic()
        self.last = tally
        self._past.append((now, tally.requests, tally.done))
        while now - self._past[0][0] > RECENT:
            self._past.popleft()
        # Where nothing came lately, the rest will take as long as it would have before.
        self._speed = self._slope(2) or self._speed
        text = _details(tally, self._slope(1), self._speed)
        if self._console.is_terminal:
            self._draw(tally, text)
        elif now >= self._due or (tally.note and tally.note != self._note):
            self._due, self._note = now + EVERY, tally.note
            line = f"collecting: {tally.done} of {tally.owed}, {text}"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _slope(self, column: int) -> float:
        first, last = self._past[0], self._past[-1]
        seconds = last[0] - first[0]
        return (last[column] - first[column]) / seconds if seconds > 0 else 0.0

    def _draw(self, tally: Tally, text: str) -> None:
        from rich.console import Group
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.text import Text

        if self._live is None:
            self._bar = Progress(TextColumn("collecting"), BarColumn(), MofNCompleteColumn(), console=self._console)
            self._task = self._bar.add_task("", total=None)
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        self._bar.update(self._task, completed=tally.done, total=tally.owed)
        # A line of its own below the bar: it may be longer than the terminal is wide. No markup: servers name things.
        self._live.update(Group(self._bar, Text(text)), refresh=True)


def _number(value: int) -> str:
    return grouped(value, " ")


def _details(tally: Tally, requests: float, done: float) -> str:
    """Speed, use, failures and time left, as far as there is something to say."""
    seconds = tally.left / done + tally.held if done > 0 else None
    parts = [
        f"{requests:.1f} requests/s",
        f"{_number(tally.spent.tokens)} tokens" if tally.spent.tokens else "",
        _cost(tally) if tally.spent.tokens else "",
        f"{tally.retries} retries" if tally.retries else "",
        f"failures {_counted(tally.failures)}" if tally.failures else "",
        f"unusable {_counted(tally.problems)}" if tally.problems else "",
        f"held back for {roughly(tally.held)} more" if tally.held else "",
        f"about {roughly(seconds)} left" if seconds is not None and tally.left else "",
        tally.note,
    ]
    return ", ".join(printable(part) for part in parts if part)


def print_bank(folder: BankFolder, tally: Tally) -> None:
    """The bank as it is now, and what this start of the collection met with."""
    from realm.bank.scan import groups
    from realm.bank.unreadable import Unreadable, sentences

    unreadable = Unreadable()
    labels: Counter[tuple[str, int | None]] = Counter()
    problems: Counter[str] = Counter()
    total = questions = mixed = judged = 0
    for question, cots in groups(folder):
        unreadable.add(question, cots)
        usable = [cot for cot in cots if cot.usable]
        found = {cot.label for cot in usable}
        total, questions = total + len(cots), questions + bool(cots)
        judged, mixed = judged + bool(found), mixed + (len(found) == 2)
        labels.update((name, cot.label) for cot in usable for name in ("all", "guided" if cot.guided else "unguided"))
        problems.update(cot.problem for cot in cots if cot.problem)
    typer.echo(f"{folder.path}: {tally.done} CoTs added, {total} in all for {questions} questions")
    share = f"{mixed / judged if judged else 0:.0%} of the questions have right and wrong CoTs"
    typer.echo(f"  {share}" if total else "  empty")
    for name in sorted({name for name, _ in labels}):
        right, wrong = labels[name, 1], labels[name, 0]
        ratio = percent(wrong / (right + wrong) if right + wrong else None)
        typer.echo(f"  {name}: {right} right, {wrong} wrong, error ratio {ratio}")
    if problems:
        typer.echo(
            f"  {problems.total()} CoTs have a problem, are never shown to a student and count in no figure above: "
            f"{printable(_counted(problems))}"
        )
    for sentence in sentences(unreadable.summary()):
        typer.echo(f"  {sentence}")
    if tally.failures:
        typer.echo(
            f"  {tally.failures.total()} of {tally.requests} requests failed: {printable(_counted(tally.failures))}"
        )
    if tally.spent.tokens:
        typer.echo(f"  used in all: {_number(tally.spent.requests)} requests, {_used(tally)}, {_cost(tally)}")


def print_left(tally: Tally, budget: BudgetConfig) -> None:
    """What is still owed, why, and how to go on."""
    if lost := tally.given_up.total():
        were = "samples were" if lost > 1 else "sample was"
        typer.echo(
            f"{_number(lost)} {were} given up ({printable(_counted(tally.given_up))}), of {_lost(tally)}; the last: "
            f"{printable(tally.complaint)}. Still owed: --resume asks again.",
            err=True,
        )
    for name, why in tally.closed.items():
        typer.echo(
            f"teachers.{printable(name)} is not asked any more: it {printable(why)}. Its samples stay owed: --resume "
            "asks for them again.",
            err=True,
        )
    _print_passed(tally, budget)
    if tally.budget:
        limit = getattr(budget, tally.budget)
        typer.echo(
            f"stopped by the budget: collect.budget.{tally.budget} {limit} allows no further request; {tally.left} "
            f"samples are owed. To go on: --resume --set 'collect.budget.{tally.budget}={_enough(tally)}'",
            err=True,
        )


def _lost(tally: Tally) -> str:
    """The questions whose samples were given up; the first of them where there are many."""
    first = [f"{printable(name)} ({number})" for name, number in tally.lost.most_common(NAMED)]
    more = f" and {len(tally.lost) - NAMED} more" if len(tally.lost) > NAMED else ""
    return f"the question{'s' * (len(tally.lost) > 1)} {', '.join(first)}{more}"


def _print_passed(tally: Tally, budget: BudgetConfig) -> None:
    spent, over = tally.spent, ""
    if budget.tokens is not None and spent.tokens > budget.tokens:
        over = f"{_number(spent.tokens)} tokens are used of collect.budget.tokens {_number(budget.tokens)}"
    elif budget.cost is not None and spent.cost > Decimal(str(budget.cost)):
        over = f"{money(spent.cost, tally.currency)} are used of collect.budget.cost {budget.cost}"
    if over and tally.times:
        counted = ", ".join(f"{printable(name)} up to {times:.1f} times" for name, times in tally.times.items())
        typer.echo(
            f"the budget was passed: {over}. What a server counted was more than its requests should allow ({counted} "
            "the tokens of prompt and max_tokens); further requests are reckoned with that much.",
            err=True,
        )


def _enough(tally: Tally) -> str:
    """A limit that lets the rest be asked for, judged by what one sample took so far."""
    spent = Decimal(getattr(tally.spent, tally.budget))
    # A tenth more, and room for the most that the requests under way at the end may use.
    kept = tally.there + tally.done
    per_sample = spent / kept if kept else tally.next_most
    wanted = (spent + per_sample * tally.left) * Decimal("1.1") + tally.next_most
    return money(wanted, "") if tally.budget == "cost" else str(int(wanted) + 1)


def money(amount: Decimal, currency: str) -> str:
    """A sum with its currency: two digits behind the point, more where it is small."""
    digits = 2 if amount >= 1 or not amount else 2 - amount.adjusted()
    return f"{amount:.{digits}f} {currency}".rstrip()


def _currency(estimates: list[Estimate]) -> str:
    return next((estimate.source.currency for estimate in estimates if estimate.source.currency), "")


def _used(tally: Tally) -> str:
    cached = f" ({_number(tally.spent.cached)} of them from the endpoint's cache)" * bool(tally.spent.cached)
    return f"{_number(tally.spent.tokens)} tokens{cached}"


def _cost(tally: Tally) -> str:
    if tally.spent.unpriced:
        known = f"{money(tally.spent.cost, tally.currency)} and " if tally.spent.cost else ""
        return f"{known}no price given for {_number(tally.spent.unpriced)} samples"
    return money(tally.spent.cost, tally.currency) if tally.spent.cost else "no cost"


def _counted(reasons: Counter[str]) -> str:
    return ", ".join(f"{reason}: {number}" for reason, number in reasons.most_common())
