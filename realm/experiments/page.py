"""The Markdown page of an experiment, written from results.json and never by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from realm.experiments.comparison import interval_words
from realm.experiments.grid import FAST_NOTE
from realm.experiments.spec import UNTRAINED
from realm.text import clock

Results = Mapping[str, Any]

_SEEDS = (
    "the mean over the seeds, with 95 % bootstrap intervals over questions *and* seeds; in brackets each seed. With "
    "few seeds their part of an interval is rough, and rather too narrow."
)
_ONE_SEED = (
    "of one seed, with 95 % bootstrap intervals over questions: they say nothing of what another seed would give."
)
_ABOUT = (
    "Questions are taken for independent: those that rest on one rule rise and fall together, so there the truth is "
    "less certain. With routes, all arms are shown the same ones."
)
_CORRECTED = "corrected by Holm's method over the differences of one column; bold below 0.05."


class Section(NamedTuple):
    """A titled table with the sentences above it."""

    title: str
    text: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def _sections(results: Results) -> list[Section]:
    """The tables of the page, some of them without a row."""
    measured = [_accuracy(results), _differences(results), _gaps(results), _gap_differences(results), _kinds(results)]
    return [*measured, _judging(results), _training(results), _shown(results), _banks(results), _cost(results)]


def page(results: Results, *, image: str) -> str:
    """The whole page.

    Args:
        results: as in results.json.
        image: file name of the plot beside the page.
    """
    versions = ", ".join(f"{package} {version}" for package, version in results["versions"].items())
    seeds = ", ".join(map(str, results["seeds"]))
    took = f"{clock(results['seconds'])} of processes{' of one thread' if results['threads'] == 1 else ''}"
    lines = [f"# {results['title']}", "", results["question"], ""]
    if results["fast"]:
        lines += [f"**{FAST_NOTE}**", ""]
    lines += [
        f"Written by `{results['command']}`. Seeds {seeds}; {took}; {results['machine']}; {versions}.",
        "",
        _budget(results["budget"]),
        "",
        "## Finding",
        "",
        results["finding"],
        "",
        f"![{results['title']}]({image})",
        "",
    ]
    for section in _sections(results):
        if section.rows:
            lines += _lines(section)
    return "\n".join(lines)


def _lines(section: Section) -> list[str]:
    rule = "|---" * len(section.header) + "|"
    rows = [f"| {' | '.join(map(_in_table, row))} |" for row in (section.header, *section.rows)]
    text = [section.text, ""] if section.text else []
    return [f"## {section.title}", "", *text, rows[0], rule, *rows[1:], ""]


def _in_table(text: str) -> str:
    """The text of a cell: kinds and names may hold what ends one."""
    return " ".join(text.replace("|", "\\|").split())


def _budget(budget: Mapping[str, Any]) -> str:
    """The steps of the arms in one line."""
    steps: int | str = budget["steps"]
    text = f"optimizer steps: {steps}"
    if isinstance(steps, int):
        text = f"every arm takes {steps} optimizer steps"
    each = f"{budget['completions_per_step']} completions in RL, {budget['examples_per_step']} examples in SFT"
    return f"Budget: {text}, of {each}; all start from the same model and answer the same questions."


def _percent(row: Mapping[str, Any]) -> str:
    each = ", ".join(f"{100 * value:.1f}" for value in row["seeds"].values())
    return f"**{100 * row['mean']:.1f}** ({100 * row['low']:.1f} to {100 * row['high']:.1f}) [{each}]"


def _points(value: float, low: float, high: float, *, bold: bool) -> str:
    mark = "**" if bold else ""
    return f"{mark}{100 * value:+.1f}{mark} ({100 * low:+.1f} to {100 * high:+.1f})"


def _labels(results: Results) -> dict[str, str]:
    return {row["name"]: row["label"] for row in results["measures"]}


def _accuracy(results: Results) -> Section:
    cells = {(row["arm"], row["measure"]): row for row in results["cells"]}
    labels = _labels(results)
    rows = [[row["name"], *(_percent(cells[row["name"], measure]) for measure in labels)] for row in results["arms"]]
    text = f"Accuracy in per cent, {_SEEDS if len(results['seeds']) > 1 else _ONE_SEED} {_ABOUT}"
    return Section("Accuracy", text, ["", *labels.values()], rows)


def _differences(results: Results) -> Section:
    text = f"In points, paired by seed and question, {_how_tested(results)}"
    labels = _labels(results)
    return Section("Differences", text, ["", *labels.values()], _tested(results["pairs"], "measure", labels))


def _tested(rows: Sequence[Mapping[str, Any]], by: str, columns: Iterable[str]) -> list[list[str]]:
    """A line for each pair of arms, and in each column its difference there."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        bold = row["p_corrected"] < 0.05
        text = f"{_points(row['difference'], row['low'], row['high'], bold=bold)}, p {_p(row['p_corrected'])}"
        found.setdefault((row["arm"], row["against"]), {})[row[by]] = text
    columns = list(columns)
    return [[f"{arm} − {other}", *(texts.get(key, "") for key in columns)] for (arm, other), texts in found.items()]


def _how_tested(results: Results) -> str:
    seeds = len(results["seeds"])
    p = "the larger one of that bootstrap and of a t-test over the seeds" if seeds > 1 else "of that bootstrap"
    return f"{interval_words(seeds)}; p two-sided, {p}, {_CORRECTED}"


def _p(value: float) -> str:
    return "1" if value >= 0.9995 else f"{value:.3f}" if value >= 0.0005 else "< 0.0005"


def _gaps(results: Results) -> Section:
    splits = list(dict.fromkeys(row["split"] for row in results["gaps"]))
    cells = {(row["arm"], row["split"]): row for row in results["gaps"]}
    rows = []
    for arm in dict.fromkeys(row["arm"] for row in results["gaps"]):
        found = [cells[arm, split] for split in splits]
        texts = [_points(row["mean"], row["low"], row["high"], bold=row["low"] > 0 or row["high"] < 0) for row in found]
        rows.append([arm, *texts])
    text = (
        f"`autonomy_gap`, accuracy with − without routes, in points, {interval_words(len(results['seeds']))}; bold "
        "where the interval leaves out zero."
    )
    return Section("What routes in the prompt still add", text, ["", *splits], rows)


def _gap_differences(results: Results) -> Section:
    splits = list(dict.fromkeys(row["split"] for row in results["gap_pairs"]))
    text = (
        "One arm's gap minus the other's, in points (negative: routes are needed less, or help less), paired by seed "
        f"and question, {_how_tested(results)}"
    )
    return Section("Differences of these gaps", text, ["", *splits], _tested(results["gap_pairs"], "split", splits))


def _kinds(results: Results) -> Section:
    kinds = sorted({row["kind"] for row in results["kinds"]})
    cells = {(row["arm"], row["kind"]): row["mean"] for row in results["kinds"]}
    arms = list(dict.fromkeys(row["arm"] for row in results["kinds"]))
    rows = [[arm, *(f"{100 * cells[arm, kind]:.0f}" if (arm, kind) in cells else "" for kind in kinds)] for arm in arms]
    text = f"{_labels(results)[results['headline']]}, in per cent."
    return Section("By kind of question", text, ["", *kinds], rows)


def _judging(results: Results) -> Section:
    """How the routes in the prompt are read: errors taken over from them, and how well they are scored."""
    splits = list(dict.fromkeys(row["split"] for row in results["judging"]))
    cells = {(row["arm"], row["split"]): row for row in results["judging"]}
    ways = {"same_err": "same_err", "scoring_accuracy": "scoring accuracy", "auroc": "AUROC"}
    columns = [(name, split) for name in ways for split in splits]
    rows = [
        [arm, *(_number(name, cells[arm, split][name]) for name, split in columns)]
        for arm in dict.fromkeys(row["arm"] for row in results["judging"])
    ]
    text = (
        "With routes, means over the seeds. `same_err`: wrong answers that some route in the prompt gives too, per "
        "cent of the wrong ones. Scoring accuracy: scores on the right side of a half, per cent; AUROC: how well "
        "scores tell right routes from wrong ones (0.5: not at all). Empty where no scores are asked for."
    )
    return Section("How routes are read", text, ["", *(f"{ways[name]}, {split}" for name, split in columns)], rows)


def _number(name: str, value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if name == "auroc" else f"{100 * value:.1f}"


def _cost(results: Results) -> Section:
    names = ("steps", "completions", "tokens", "teacher_tokens", "seconds")
    rows = []
    for row in results["cost"]:
        figures = [f"{round(row[name]):,}" if row[name] is not None else "" for name in names]
        rows.append([row["arm"], str(row["seed"]), *figures])
    on = " on one thread" if results["threads"] == 1 else ""
    text = f"Tokens through the student; seconds of training{on}, without evaluation."
    return Section("What each training took", text, ["", "seed", *(name.replace("_", " ") for name in names)], rows)


def _training(results: Results) -> Section:
    """Validation accuracy at the start, at its best and at the end; and where it is shown to be below its best."""
    found = {(row["arm"], row["measure"]): row for row in results["training"]}
    ways = list(dict.fromkeys(row["measure"] for row in results["training"]))
    arms = dict.fromkeys(row["arm"] for row in results["training"])
    rows = [[arm, *(text for way in ways for text in _course(found.get((arm, way))))] for arm in arms]
    text = (
        "Accuracy in per cent on the first `training.eval_questions` validation questions, the mean over the seeds. "
        "The best step is picked by these figures, which favours it. *Falls from* is the first later step that is "
        "below the best by more than a 95 % margin (t over the seeds' differences), every step tested alone; empty "
        "where none is shown to be, as with one seed. With routes are those of the arm itself."
    )
    header = [f"{part}, {way}" for way in ways for part in ("start", "best", "end", "falls from")]
    return Section("While training", text, ["", *header], rows)


def _course(row: Mapping[str, Any] | None) -> list[str]:
    """Four cells: start, best, end, falls from."""
    if row is None:
        return [""] * 4
    start, best, end = (f"{100 * row[name]['mean']:.1f}" for name in ("start", "best", "end"))
    fall = row["falls"]
    margin = f"step {fall['step']:g} ({-100 * fall['high']:+.1f} to {-100 * fall['low']:+.1f})" if fall else ""
    return [start, f"{best} (step {row['best']['step']:g})", end, margin]


def _shown(results: Results) -> Section:
    """What the RL prompts of every arm showed."""
    rows = [
        [row["arm"], f"{row['routes']:.2f}", f"{100 * row['wrong']:.1f}", f"{row['dropped']:.2f}"]
        for row in results["shown"]
    ]
    text = (
        "Routes per prompt before fading and the share of wrong ones, in per cent, over the training questions; and "
        "how many per prompt the student's context had no room for."
    )
    return Section("What the prompts showed", text, ["", "routes", "wrong", "dropped"], rows)


def _banks(results: Results) -> Section:
    """The banks of the kind `bound`."""
    gains = {(row["arm"], row["against"]): row for row in results["pairs"] if row["measure"] == results["headline"]}
    gained = [gains[tuple(row["pair"])] for row in results["banks"]]
    rows = [
        [
            row["name"],
            f"{100 * row['teacher']:.1f}",
            f"{100 * row['student']:.1f}",
            _points(row["gap"], row["low"], row["high"], bold=False),
            f"{row['distance']:.2f}",
            " − ".join(row["pair"]),
            _points(gain["difference"], gain["low"], gain["high"], bold=False),
        ]
        for row, gain in zip(results["banks"], gained, strict=True)
    ]
    text = (
        "On the questions of the headline that have CoTs: right CoTs of the teacher and accuracy of the untrained "
        f"model (`{UNTRAINED}`, without routes) in per cent, and their difference in points, paired by question, with "
        "its 95 % interval; mean distance of two CoTs of a question. Banks that differ in the comments' probability "
        "(`guidance.probability`) differ in the gap and in the share of wrong routes at once: the two move together, "
        "and what goes with the one cannot be told from what goes with the other."
    )
    return Section("Banks", text, ["", "teacher", "student", "gap", "distance", "pair", "gain of wrong routes"], rows)
