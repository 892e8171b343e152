"""The sentences at the head of the page, made from the run's own figures.

A difference counts as beyond noise where its 95 % interval leaves out zero: the paired interval where the run has
one, else the two models' own intervals must not touch (which asks for more).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from realm.pages.data import Report, Result, Run, split_title
from realm.pages.svg import interval, percent, points


@dataclass(frozen=True)
class Comparison:
    """Model `name` minus model `against` in accuracy; `sign` is +1 or -1 beyond noise, 0 within it."""

    name: str
    against: str
    difference: float
    low: float | None
    high: float | None
    sign: int

    def phrase(self) -> str:
        """The difference with its interval: `+22.9 points, +19.1 to +26.8`."""
        if self.low is None or self.high is None:
            return f"{points(self.difference)} points"
        return f"{points(self.difference)} points, {points(self.low)} to {points(self.high)}"


def _sign(low: float, high: float) -> int:
    return 1 if low > 0 else -1 if high < 0 else 0


def compare(report: Report, name: str, against: str, split: str, with_routes: bool) -> Comparison | None:
    """The final difference between two models on a split; None where one of them has no figure."""
    for row in report.differences:
        if row.split == split and (row.routes > 0) == with_routes:
            if (row.name, row.against) == (name, against):
                return Comparison(name, against, row.difference, row.low, row.high, _sign(row.low, row.high))
            if (row.name, row.against) == (against, name):
                return Comparison(name, against, -row.difference, -row.high, -row.low, _sign(-row.high, -row.low))
    ours, theirs = report.result(name, split, with_routes), report.result(against, split, with_routes)
    return None if ours is None or theirs is None else apart(ours, theirs)


def apart(ours: Result, theirs: Result) -> Comparison:
    """Two figures compared by their own intervals: beyond noise where these do not touch."""
    above, below = ours.accuracy_low > theirs.accuracy_high, ours.accuracy_high < theirs.accuracy_low
    sign = 1 if above else -1 if below else 0
    return Comparison(ours.name, theirs.name, ours.accuracy - theirs.accuracy, None, None, sign)


def _list(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


_COUNTS = {1: "The gain is", 2: "Both gains are", 3: "All three gains are"}


def _against_base(report: Report, names: Sequence[str], split: str) -> list[str]:
    """How the recipes stand beside the base on one split, without routes, and which differences are beyond noise."""
    base = report.result("base", split, False)
    found = [one for name in names if (one := compare(report, name, "base", split, False)) is not None]
    rows = [row for one in found if (row := report.result(one.name, split, False)) is not None]
    if not rows or base is None:
        return []
    rows.sort(key=lambda row: -row.accuracy)
    where = {"test": "On the test questions", "ood": "Out of distribution"}.get(split, f"On “{split_title(split)}”")
    after = _list([f"{row.name} {percent(row.accuracy)}" for row in rows])
    said = [
        f"{where}, without routes, the base model answers {percent(base.accuracy)} rightly; after training {after}."
    ]
    signs = {
        sign: [row.name for row in rows for one in found if one.name == row.name and one.sign == sign]
        for sign in (1, 0, -1)
    }
    if len(signs[1]) == len(rows):
        said.append(f"{_COUNTS.get(len(rows), f'All {len(rows)} gains are')} beyond noise.")
    elif signs[1]:
        said.append(
            f"The {'gain' if len(signs[1]) == 1 else 'gains'} of {_list(signs[1])} {_are(signs[1])} beyond noise."
        )
    if signs[0]:
        said.append(f"{_list(signs[0])} cannot be told from the base.")
    if signs[-1]:
        said.append(f"{_list(signs[-1])} {_are(signs[-1])} worse than the base, beyond noise.")
    return said


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _between(report: Report, names: Sequence[str], split: str) -> list[str]:
    """The best recipe without routes against the next."""
    ranked = sorted(
        (row for name in names if (row := report.result(name, split, False)) is not None), key=lambda row: -row.accuracy
    )
    if len(ranked) < 2 or (lead := compare(report, ranked[0].name, ranked[1].name, split, False)) is None:
        return []
    if lead.sign > 0:
        return [f"{lead.name} is ahead of {lead.against}, the next best, beyond noise ({lead.phrase()})."]
    return [f"{lead.name} and {lead.against}, the two best, cannot be told apart ({lead.phrase()})."]


def _gap(report: Report, names: Sequence[str], split: str) -> list[str]:
    """What routes still add at inference to the best recipe, and what they added to the base."""
    trained = [name for name in names if report.gap(name, split)]
    if not trained:
        return []
    best = max(trained, key=lambda name: row.accuracy if (row := report.result(name, split, False)) else 0.0)
    shown, gap, base = report.result(best, split, True), report.gap(best, split), report.gap("base", split)
    assert shown is not None and gap is not None
    interval_ = f" ({points(gap[1])} to {points(gap[2])})" if gap[1] is not None and gap[2] is not None else ""
    against = f"; the base model's is {points(base[0])}" if base else ""
    return [
        f"With {shown.routes} routes in the prompt {best} answers {percent(shown.accuracy)} rightly: an autonomy gap "
        f"of {points(gap[0])} points{interval_}{against}."
    ]


def _course(run: Run) -> list[str]:
    """How validation accuracy without routes moved in training, and whether it fell again."""
    rows = [row for row in run.evaluations if row.split == "validation" and row.routes == 0]
    rows.sort(key=lambda row: (row.stage != "base", run.position(row.stage, row.round, row.step), row.stage == "rl"))
    if not rows:
        return (
            ["No evaluation on the validation questions yet."]
            if not any(row.stage == "final" for row in run.evaluations)
            else []
        )
    first, last = rows[0], rows[-1]
    if first is last:
        return [f"Validation accuracy without routes is {_figure(last)} so far."]
    found = apart(last, first)
    noise = {1: "beyond noise", -1: "a loss beyond noise", 0: "their intervals overlap"}[found.sign]
    said = [
        f"Validation accuracy without routes went from {_figure(first)} at the start to {_figure(last)} at "
        f"{last.stage.upper()} step {last.step} ({points(found.difference)} points, {noise})."
    ]
    best = max(rows, key=lambda row: row.accuracy)
    if apart(best, last).sign > 0:
        said.append(f"It fell late in training: it had been {_figure(best)} at {best.stage.upper()} step {best.step}.")
    return said


def _figure(row: Result) -> str:
    return f"{percent(row.accuracy)} ({interval(*row.interval)})"


def _progress(run: Run) -> list[str]:
    """Where a run without a final evaluation stands."""
    if any(row.stage == "final" for row in run.evaluations):
        return []
    if not run.metrics:
        return [f"{run.name} has not made its first step."]
    last = run.metrics[-1]
    total = run.setting(f"training.{last.stage}.steps")
    of = "" if total is None else f" of {total}"
    return [f"{run.name} has no final evaluation yet: its last row is {last.stage.upper()} step {last.step}{of}."]


def verdict(report: Report) -> tuple[str, list[str]]:
    """The sentence or two that a reader should see first, and those that follow."""
    names = [name for name in report.names() if name != "base"]
    splits = report.splits()
    main = "test" if "test" in splits or not splits else splits[0]
    lead = _against_base(report, names, main)
    if not lead:
        rows = [row for name in names if (row := report.result(name, main, False)) is not None]
        lead = [
            f"Without routes, {row.name} answers {_figure(row)} of {row.n} {split_title(main).lower()} questions "
            "rightly."
            for row in rows
        ]
    more = _between(report, names, main)
    if main != "ood":
        more += [" ".join(found)] if (found := _against_base(report, names, "ood")) else []
    more += _gap(report, names, main)
    for run in report.runs:
        if report.quickstart and report.result(run.name, main, False):
            continue
        course = _course(run)
        more += _progress(run) + (
            [f"{run.name}: {line[0].lower()}{line[1:]}" for line in course] if report.quickstart else course
        )
    if not lead:
        lead, more = more[:1], more[1:]
    return " ".join(lead), more
