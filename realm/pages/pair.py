"""The page of two runs side by side: what differs in their settings, their accuracy, and the questions they part on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

from realm.config import Config, flatten
from realm.display import printable
from realm.errors import ConfigError, DataError
from realm.method.seeds import derive
from realm.pages import figures as drawn
from realm.pages import judging, tables, trust
from realm.pages.completions import SHORT, cut
from realm.pages.data import (
    Difference,
    Report,
    Run,
    read_report,
    split_order,
    split_title,
)
from realm.pages.forest import difference_figures
from realm.pages.svg import percent, points
from realm.pages.table import Table, TableRow
from realm.pages.templates import Page
from realm.rows.evaluation import Prediction
from realm.run_rows import read_rows
from realm.statistics.bootstrap import paired_difference
from realm.statistics.equivalence import paired_equivalence
from realm.text import p_value

#: Questions shown of each kind of disagreement, and characters of one text of theirs.
MOST_SHOWN, _LONG = 40, 4_000
#: Characters of a setting in a note.
_BRIEF = 60
#: p-values below it show something.
LEVEL = 0.05
#: Settings that differ between any two runs and say nothing.
_NAMES = ("run.name", "run.dir")

#: Split, and whether routes were shown.
Pass = tuple[str, bool]


@dataclass(frozen=True)
class Answered:
    """What is kept of an answered question: a fingerprint of its text and gold, one of the routes shown with it, and
    the share of right completions."""

    asked: int
    shown: int
    accuracy: float


#: By pass and question id.
Answers = dict[Pass, dict[str, Answered]]


class Side(TypedDict):
    """What one run answered to a question: its first completion, and how many of `n` were right."""

    name: str
    right: int
    n: int
    answer: str
    text: str


class Shown(TypedDict):
    """A question on which the two part, with what each answered."""

    id: str
    question: str
    gold: str
    kind: str
    sides: list[Side]


class Winner(TypedDict):
    """How many questions one run alone got right, and some of them."""

    name: str
    count: int
    questions: list[Shown]


class Part(TypedDict):
    """How two runs part in one pass."""

    title: str
    both: int
    neither: int
    n: int
    sides: list[Winner]


def write_comparison(
    a: Path, b: Path, out: Path | None = None, figures: Path | None = None, *, margin: float | None = None
) -> Path:
    """Write the page of two runs that answered the same questions; default `<a>/against-<name of b>.html`.

    Args:
        a, b: folders of a training run or of an evaluation, each with its predictions.jsonl.
        figures: a folder that gets every figure of the page as SVG and PNG.
        margin: as of `paired`.

    Returns:
        The path of the page.

    Raises:
        ConfigError: the margin is none.
        DataError: a folder is none of a single run, holds no predictions, or the two answered different questions.
        ResourceError: the page or a figure cannot be written.
    """
    page = Page("pair.html", page_context(a, b, margin))
    return page.write(a / f"against-{b.resolve().name}.html" if out is None else out, figures)


def paired(a: Path, b: Path, margin: float | None = None) -> tuple[Report, list[Pass], list[Answers]]:
    """Two runs as one report with their paired differences, the passes that both made, and what each answered.

    Args:
        margin: a share; whether the differences are smaller is tested too.

    Raises:
        ConfigError, DataError: see `write_comparison`.
    """
    check_margin(margin)
    report = _together(a, b)
    first, second = report.runs
    notes = report.notes
    notes += _asked_otherwise(first, second)
    for row in report.results:
        if row.fewer_routes and row.routes_per_prompt:
            notes.append(f"{row.name}, {row.split}: {row.routes_per_prompt:.2g} of {row.routes} routes were shown.")
    answers = [read_answers(run.folder, notes) for run in report.runs]
    passes = same_routes(a, b, common_passes(a, b, *answers), *answers, notes=notes)
    for split, shown in passes:
        ours, theirs = ({key: one.accuracy for key, one in side[split, shown].items()} for side in answers)
        found = paired_difference(ours, theirs, seed=derive(0, "comparison"))
        same = None if margin is None else paired_equivalence(ours, theirs, margin, seed=derive(0, "comparison"))
        routes = max((row.routes for row in report.results if row.split == split), default=0) if shown else 0
        report.differences.append(Difference(first.name, second.name, split, routes or int(shown), *found, same))
    return report, passes, answers


def _asked_otherwise(first: Run, second: Run) -> list[str]:
    """A note where two models were not asked or judged in one way: what they differ by is not theirs alone then."""
    if first.config is None or second.config is None:
        return []
    ours, theirs = _asking(first.config), _asking(second.config)
    # What `auto` came to is not written down where nothing was trained.
    keys = [key for key in ours if ours[key] != theirs[key] and "auto" not in (ours[key], theirs[key])]
    ways = [f"{key} ({ours[key]} and {theirs[key]})" for key in keys]
    names = f"{first.name} and {second.name}"
    return [f"{names} were not asked or judged in the same way: {', '.join(ways)}."] if ways else []


def _asking(config: Config) -> dict[str, str]:
    """What decides an answer and whether it is right, but for the model and the routes; by the key that names it."""
    asked, settings = config.evaluation, {f"prompt.{key}": value for key, value in config.prompt.model_dump().items()}
    settings["evaluation.samples"] = asked.samples
    settings["evaluation.temperature"] = asked.temperature if asked.samples > 1 else None
    settings["evaluation.stop_temperature"] = asked.stop_temperature
    limit = asked.max_completion_length or config.training.rl.max_completion_length
    settings["evaluation.max_completion_length"] = limit
    settings["task.verifier"] = config.task.verifier_name
    return {key: printable(str(value), _BRIEF) for key, value in settings.items()}


def check_margin(margin: float | None) -> None:
    """Refuse a margin, a share, that is none; raises `ConfigError`."""
    if margin is not None and not 0 < margin < 1:
        raise ConfigError(f"margin: expected a difference above 0 and below 100 points, found {100 * margin:g}.")


def against_margin(row: Difference, title: str, names: Sequence[str], margin: float | None) -> str:
    """What is shown of a difference against the margin, in a sentence; empty where it was not held against one."""
    if row.equivalence is None or margin is None:
        return ""
    no_worse, same = (
        f"{'shown' if p < LEVEL else 'not shown'} (p {p_value(p)})"
        for p in (row.equivalence.no_worse, row.equivalence.same)
    )
    return (
        f"{title}: that {names[0]} is less than {100 * margin:g} points worse than {names[1]} is {no_worse}; that the "
        f"two differ by less is {same}."
    )


def page_context(a: Path, b: Path, margin: float | None = None) -> dict[str, object]:
    """Everything that the template fills in."""
    report, passes, answers = paired(a, b, margin)
    first, second = report.runs
    names = report.names()
    scores = judging.calibrations(report)
    parts = disagreements(report, passes, *answers)
    held = [
        against_margin(row, part["title"], [first.name, second.name], margin)
        for row, part in zip(report.differences, parts, strict=True)
    ]
    context: dict[str, object] = {
        "title": f"{first.name} against {second.name}",
        "subtitle": "realm report, two runs side by side",
        "verdict": _verdict(report),
        "notes": report.notes,
        "names": [first.name, second.name],
        "results": list(zip(drawn.final_figures(report), tables.final_tables(report), strict=True)),
        "difference_figures": difference_figures(report),
        "held": [line for line in held if line],
        "settings": settings_table(first, second),
        "disagreements": parts,
        "training_figures": drawn.training_figures(report),
        "fade_figures": drawn.fade_figures(report),
        "reward_figures": drawn.reward_figures(report),
        "calibration_figures": judging.calibration_figures(scores, names),
        "calibration_table": judging.calibration_table(scores, names),
        "copying_figures": judging.copying_figures(report),
        "trust_figures": trust.trust_figures(report),
        "trust_table": trust.trust_table(report),
        "cost_table": tables.cost_table(report),
        "folders": [run.folder.resolve().name for run in report.runs],
    }
    context["contents"] = [(anchor, name) for anchor, name, key in _CONTENTS if context[key]]
    return context


#: (anchor, name, what must be there) of the sections.
_CONTENTS = (
    ("result", "Result", "results"),
    ("differences", "Differences", "difference_figures"),
    ("trust", "Trust", "trust_figures"),
    ("settings", "Settings", "settings"),
    ("apart", "Where they part", "disagreements"),
    ("training", "Training", "training_figures"),
    ("fade", "Fading", "fade_figures"),
    ("reward", "Reward", "reward_figures"),
    ("calibration", "Calibration", "calibration_figures"),
    ("copying", "Copying", "copying_figures"),
    ("cost", "Cost", "cost_table"),
)


def _together(a: Path, b: Path) -> Report:
    """Two single runs as one report, each under a name of its own."""
    reports = [read_report(folder) for folder in (a, b)]
    names = _distinct_names(a, b)
    both = Report(a)
    for name, report in zip(names, reports, strict=True):
        run = report.runs[0]
        finals = [replace(row, name=name) for row in run.evaluations]
        both.runs.append(replace(run, name=name, evaluations=finals))
        both.results += [replace(row, name=name) for row in report.results]
        both.notes += [note.replace(f"{run.name}:", f"{name}:", 1) for note in report.notes]
    return both


def _distinct_names(a: Path, b: Path) -> tuple[str, str]:
    """The folders' names, with as much of their paths before them as tells them apart.

    Raises:
        DataError: both are one folder.
    """
    first, second = a.resolve().parts, b.resolve().parts
    if first == second:
        raise DataError(f"{a}: expected two runs, found the same folder twice.")
    for length in range(1, max(len(first), len(second)) + 1):
        names = "/".join(first[-length:]), "/".join(second[-length:])
        if names[0] != names[1]:
            break
    return names


def _finals(folder: Path, notes: list[str]) -> Iterator[tuple[Pass, Prediction]]:
    """Pass and row of every question of the final evaluation."""
    rows = (row for row in read_rows(folder, Prediction, notes) if row.stage == "final")
    return (((row.split, row.routes > 0), row) for row in rows)


def read_answers(folder: Path, notes: list[str]) -> Answers:
    """What a run answered in its final evaluation; its texts stay in the file."""
    found: Answers = {}
    for where, row in _finals(folder, notes):
        right = sum(item.correct for item in row.completions)
        # The same id may name another CoT in another bank.
        routes = [f"{route.id} {route.answer} {route.label}" for route in row.shown]
        answered = Answered(derive(0, row.question, row.gold), derive(0, *routes), right / len(row.completions))
        found.setdefault(where, {})[row.question_id] = answered
    return found


def common_passes(a: Path, b: Path, ours: Answers, theirs: Answers) -> list[Pass]:
    """The passes that both runs made, over the same questions.

    Raises:
        DataError: a run has no predictions, the runs have no pass in common, or were asked different questions.
    """
    for folder, answers in ((a, ours), (b, theirs)):
        if not answers:
            raise DataError(
                f"{folder}: no final evaluation in predictions.jsonl to compare; `realm evaluate` makes one."
            )
    common = sorted(ours.keys() & theirs.keys(), key=lambda one: (split_order(one[0]), one[1]))
    if not common:
        raise DataError(
            f"{a} and {b} answered different questions: splits {_named(ours)} in the first, {_named(theirs)} in the "
            "second, or one without and one with routes. "
            f"Evaluate both on the same splits: {_how(a)}."
        )
    for split, shown in common:
        left, right = ours[split, shown], theirs[split, shown]
        alone = len(left.keys() - right.keys()), len(right.keys() - left.keys())
        other = sum(left[key].asked != right[key].asked for key in left.keys() & right.keys())
        if any(alone) or other:
            raise DataError(
                f"{a} and {b} answered different questions of split {split}: {alone[0]} only in the first, {alone[1]} "
                f"only in the second, {other} of the same id with another text. Evaluate both on the same questions: "
                f"{_how(a)}."
            )
    return common


def _how(a: Path) -> str:
    """How another model is asked the questions of the first run."""
    return f"`realm evaluate {a} --model DIR` asks another model those of the first"


def same_routes(
    a: Path, b: Path, passes: Sequence[Pass], ours: Answers, theirs: Answers, *, notes: list[str]
) -> list[Pass]:
    """The passes in which both runs were shown the same routes; a note tells of those left out.

    Raises:
        DataError: none is left.
    """
    kept = []
    for split, shown in passes:
        left, right = ours[split, shown], theirs[split, shown]
        other = sum(left[key].shown != right[key].shown for key in left)
        if other:
            notes.append(
                f"{split_title(split)}, with routes: not compared, as {other} of {len(left)} questions were shown "
                "other routes in the second run. `realm evaluate` both with the same routes and bank."
            )
        else:
            kept.append((split, shown))
    if not kept:
        raise DataError(f"{a} and {b} have nothing to compare: {notes[-1]}")
    return kept


def _named(answers: Answers) -> str:
    return ", ".join(sorted({split for split, _ in answers}))


def _verdict(report: Report) -> str:
    """Who is ahead without routes on the first split, and whether that is beyond noise."""
    row = next((one for one in report.differences if not one.routes), report.differences[0])
    ours, theirs = (report.result(name, row.split, row.routes > 0) for name in (row.name, row.against))
    how = "with routes" if row.routes else "without routes"
    figures = (
        f"{row.name} answers {percent(ours.accuracy)} rightly, {row.against} {percent(theirs.accuracy)}: "
        if ours and theirs
        else ""
    )
    noise = "beyond noise" if row.low > 0 or row.high < 0 else "within noise"
    return (
        f"On {split_title(row.split)}, {how}, {figures}a difference of {points(row.difference)} points "
        f"({points(row.low)} to {points(row.high)}), {noise}."
    )


def settings_table(first: Run, second: Run) -> Table | None:
    """The settings in which two runs differ, key by key; None where there are none, or a run's cannot be read."""
    if first.config is None or second.config is None:
        return None
    ours, theirs = (
        {key: printable(str(value), SHORT) for key, value in flatten(config.model_dump()).items()}
        for config in (first.config, second.config)
    )
    rows: list[TableRow] = [
        (None, printable(key, 100), [ours.get(key, "not set"), theirs.get(key, "not set")])
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key) and key not in _NAMES
    ]
    return Table(["", first.name, second.name], [("", rows)]) if rows else None


def disagreements(report: Report, passes: Sequence[Pass], ours: Answers, theirs: Answers) -> list[Part]:
    """For every pass the questions that only one of the two got right, some of them with both answers.

    A question counts as right where more than half of its completions are.
    """
    names = [run.name for run in report.runs]
    parts: list[Part] = []
    chosen: dict[tuple[Pass, str], Shown] = {}
    for where in passes:
        left, right = ours[where], theirs[where]
        both = sum(left[key].accuracy > 0.5 and right[key].accuracy > 0.5 for key in left)
        neither = sum(left[key].accuracy <= 0.5 and right[key].accuracy <= 0.5 for key in left)
        sides: list[Winner] = []
        for name, winner, loser in ((names[0], left, right), (names[1], right, left)):
            alone = sorted(key for key in winner if winner[key].accuracy > 0.5 >= loser[key].accuracy)
            every = max(1, -(-len(alone) // MOST_SHOWN))
            questions = [
                chosen.setdefault(
                    (where, key), {"id": printable(key, 80), "question": "", "gold": "", "kind": "", "sides": []}
                )
                for key in alone[::every]
            ]
            sides.append({"name": name, "count": len(alone), "questions": questions})
        how = "with routes" if where[1] else "without routes"
        parts.append(
            {
                "title": f"{split_title(where[0])}, {how}",
                "both": both,
                "neither": neither,
                "n": len(left),
                "sides": sides,
            }
        )
    for run in report.runs:
        for where, row in _finals(run.folder, []):
            if (where, row.question_id) in chosen:
                _add(chosen[where, row.question_id], run.name, row)
    return parts


def _add(entry: Shown, name: str, row: Prediction) -> None:
    """Add one run's answer to a question that the page shows: its first completion."""
    first = row.completions[0]
    entry["question"], entry["gold"], entry["kind"] = (cut(text, _LONG) for text in (row.question, row.gold, row.kind))
    entry["sides"].append(
        {
            "name": name,
            "right": sum(item.correct for item in row.completions),
            "n": len(row.completions),
            "answer": cut(first.answer or "", SHORT),
            "text": cut(first.text, _LONG),
        }
    )
