"""The sentences at the head of the page, made from the run's own figures.

A difference counts as beyond noise where the two 95 % intervals do not touch (which asks for more than a paired
interval that leaves out zero).
"""

from realm.config import Config
from realm.pages.data import Report, Result, Run, split_title, when
from realm.pages.figures import validation_course
from realm.pages.svg import interval, percent, points
from realm.rows.run import Meta

#: Share of programs among the completions, below which an accuracy is that of the student alone.
HARDLY = 0.05


def _apart(ours: Result, theirs: Result) -> int:
    """+1 or -1 where ours is above or below beyond noise: the two intervals do not touch; else 0."""
    return (ours.accuracy_low > theirs.accuracy_high) - (ours.accuracy_high < theirs.accuracy_low)


def _gap(report: Report, name: str, split: str) -> list[str]:
    """What routes still add at inference."""
    shown, gap = report.result(name, split, True), report.gap(name, split)
    if shown is None or gap is None:
        return []
    if shown.routes_dropped and not shown.routes_per_prompt:
        return [f"No prompt had room for any of the {shown.routes} routes: what they add was not measured."]
    how = f"{shown.routes} routes in the prompt"
    if shown.fewer_routes:
        how = f"up to {how} ({shown.routes_per_prompt:.1f} on average)"
    interval_ = f" ({points(gap[1])} to {points(gap[2])})" if gap[1] is not None and gap[2] is not None else ""
    return [
        f"With {how} {name} answers {percent(shown.accuracy)} rightly: an autonomy gap "
        f"of {points(gap[0])} points{interval_}."
    ]


def _course(run: Run) -> list[str]:
    """How validation accuracy without routes moved in training, and whether it fell again."""
    rows = [row for _, row in validation_course(run, False)]
    if not rows:
        return (
            ["No evaluation on the validation questions yet."]
            if not any(row.stage == "final" for row in run.evaluations)
            else []
        )
    first, last = rows[0], rows[-1]
    if first is last:
        return [f"Validation accuracy without routes is {_figure(last)} so far."]
    noise = {1: "beyond noise", -1: "a loss beyond noise", 0: "their intervals overlap"}[_apart(last, first)]
    said = [
        f"Validation accuracy without routes went from {_figure(first)} at the start to {_figure(last)} at "
        f"{when(last.stage, last.round, last.step)} ({points(last.accuracy - first.accuracy)} points, {noise})."
    ]
    best = max(rows, key=lambda row: row.accuracy)
    if _apart(best, last) > 0:
        place = when(best.stage, best.round, best.step)
        said.append(f"It fell late in training: it had been {_figure(best)} at {place}.")
    return said


def settled(config: Config | None, meta: Meta) -> list[str]:
    """What the model is, where it is not the last step's: a checkpoint that validation chose, a mean of weights."""
    said, chosen = [], meta.chosen
    if config is not None and config.training.average.checkpoints > 1:
        said.append(f"Each stage left the mean of its last {config.training.average.checkpoints} checkpoints.")
    if chosen is not None:
        value = next((percent(one.value) for one in chosen.candidates if one.step == chosen.step), "")
        said.append(
            f"The model is that of step {chosen.step} of the last stage: {value} on the validation questions of "
            f"training.best, the best of {len(chosen.candidates)} checkpoints."
        )
    if config is not None and config.training.average.base:
        said.append(f"{percent(config.training.average.base)} of its weights are the untrained student's.")
    return said


def _unlearned(report: Report) -> list[str]:
    """What was unlearned of another task, or changed by edits of questions."""
    said = []
    for row in report.results:
        told = [value for value in (row.change, row.change_low, row.change_high) if value is not None]
        if row.before is not None and len(told) == 3:
            change, low, high = map(points, told)
            was = "untrained" if row.edited is None else "of the same questions unedited"
            said.append(
                f"Of {row.split} it answers {percent(row.accuracy)}, {was} {percent(row.before)}: {change} points "
                f"({low} to {high})."
            )
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
    return [f"{run.name} has no final evaluation yet: its last row is {when(last.stage, last.round, last.step)}{of}."]


def verdict(report: Report) -> tuple[str, list[str]]:
    """The sentence or two that a reader should see first, and those that follow."""
    run, splits = report.runs[0], report.splits()
    main = "test" if "test" in splits or not splits else splits[0]
    row = report.result(run.name, main, False)
    ran = None if row is None else row.executed
    tool = f", the programs in {percent(ran)} of its completions run for it," if ran and ran >= HARDLY else ""
    said = (
        [
            f"Without routes, {row.name}{tool} answers {_figure(row)} of {row.n} {split_title(main).lower()} "
            "questions rightly."
        ]
        if row is not None
        else []
    )
    if ran is not None and not tool:
        said.append(f"Programs are run for their answers, but only {percent(ran)} of its completions are any.")
    said += _gap(report, run.name, main) + _progress(run) + _course(run)
    said += settled(run.config, run.meta) + _unlearned(report)
    return "".join(said[:1]), said[1:]
