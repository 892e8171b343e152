"""Recipes compared over several seeds: pooled accuracies, paired differences, and the page of results they make.

Intervals are 95 % bootstrap intervals over questions *and* seeds: in every resample the seeds are drawn with
replacement and so are the questions, the same questions for every seed and for both sides of a difference.

So few seeds make the bootstrap too sure of itself. What is claimed rests on differences, and theirs reach as far as the
t interval of the seeds' mean differences too (`tested`), which knows how few they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from realm.evaluation.measures import Difference
from realm.evaluation.t_test import t_test
from realm.files import read_jsonl
from realm.method.seeds import derive

#: Accuracy of every question id, by (split, routes).
Accuracies = dict[tuple[str, int], dict[str, float]]


def accuracies(folder: Path) -> Accuracies:
    """The share of right completions of every question in a finished evaluation, from its predictions.jsonl."""
    found: Accuracies = {}
    for row in read_jsonl(folder / "predictions.jsonl"):
        if row["stage"] == "final":
            right = [item["correct"] for item in row["completions"]]
            found.setdefault((row["split"], row["routes"]), {})[row["question_id"]] = sum(right) / len(right)
    return found


def pooled_means(runs: Sequence[Mapping[str, float]], resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """Means of bootstrap resamples over seeds and questions, shape (resamples,); equal seeds resample equally.

    Args:
        runs: a value for every question id, one mapping a seed; all hold the same questions.

    Raises:
        ValueError: the seeds were not asked the same questions.
    """
    values = _values(runs)
    source = np.random.default_rng(derive(seed, "pooled"))
    means = []
    for _ in range(resamples):
        rows = source.integers(0, len(values), len(values))
        columns = source.integers(0, values.shape[1], values.shape[1])
        means.append(values[rows][:, columns].mean())
    return np.array(means)


def _values(runs: Sequence[Mapping[str, float]]) -> np.ndarray:
    """The values of all runs, shape (seeds, questions)."""
    ids = sorted(runs[0])
    if any(sorted(run) != ids for run in runs):
        raise ValueError("pooling needs the same questions for every seed")
    return np.array([[run[key] for key in ids] for run in runs])


def pooled_mean(runs: Sequence[Mapping[str, float]], resamples: int = 2000, seed: int = 0) -> Difference:
    """Mean over seeds and questions with its interval over both; arguments and errors as of `pooled_means`."""
    low, high = np.quantile(pooled_means(runs, resamples, seed), [0.025, 0.975])
    return Difference(float(_values(runs).mean()), float(low), float(high))


class Compared(NamedTuple):
    """A mean difference with its 95 % interval and two-sided p-value."""

    difference: float
    low: float
    high: float
    p: float


def tested(runs: Sequence[Mapping[str, float]], resamples: int = 2000, seed: int = 0) -> Compared:
    """The mean of differences over seeds and questions, held against zero; arguments and errors as of `pooled_means`.

    The p-value is the larger of two, and the interval reaches as far as either of theirs: of the bootstrap over seeds
    and questions (twice the share of resamples on the far side of zero, at least 2 / (resamples + 1)), and of the
    two-sided t-test over the seeds' means. One seed has the bootstrap over questions alone.
    """
    means = pooled_means(runs, resamples, seed)
    low, high = (float(end) for end in np.quantile(means, [0.025, 0.975]))
    far = min(int(np.sum(means <= 0)), int(np.sum(means >= 0)))
    p = min(1.0, 2 * (far + 1) / (resamples + 1))
    by_seed = _values(runs).mean(axis=1)
    mean = float(by_seed.mean())
    if len(runs) > 1:
        t_low, t_high, t_p = t_test([float(value) for value in by_seed])
        low, high, p = max(-1.0, min(low, t_low)), min(1.0, max(high, t_high)), max(p, t_p)
    return Compared(mean, low, high, p)


def subtract(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    """a − b for every question id."""
    return {key: a[key] - b[key] for key in a}


def interval_words(seeds: int) -> str:
    """How the interval of a difference was made, for the pages that show one."""
    if seeds == 1:
        return "with 95 % bootstrap intervals over questions: one seed says nothing of what another would give"
    return (
        "with 95 % intervals that reach as far as the bootstrap over questions and seeds and as the t interval of the "
        f"{seeds} seeds' mean differences, whichever is farther"
    )


def results_page(
    title: str,
    command: str,
    names: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    folders: Sequence[Path],
    summaries: Sequence[Mapping[str, Any]],
) -> str:
    """The results of several seeds as Markdown.

    Args:
        names: runs below every folder, in the order of the table.
        pairs: (name, against) of the differences to report.
        folders: one a seed.
        summaries: the summary.json of each.
    """
    runs = {name: [accuracies(folder / name) for folder in folders] for name in names}
    cells = list(runs[names[0]][0])
    first = summaries[0]
    versions = ", ".join(f"{package} {version}" for package, version in first["versions"].items())
    seeds = ", ".join(str(summary["seed"]) for summary in summaries)
    minutes = ", ".join(f"{summary['seconds'] / 60:.1f}" for summary in summaries)
    lines = [
        f"# {title}",
        "",
        f"Written by `{command}`. Seeds {seeds}; {minutes} minutes; {first['machine']}; {versions}.",
        "",
        f"Budget of every recipe: {first['budget']['steps']} optimizer steps of "
        f"{first['budget']['completions_per_step']} completions (the cold start of realm-r1 is taken from its steps), "
        "the same base model, questions and CoTs. Accuracy in per cent, pooled over the seeds, with 95 % intervals "
        "over questions and seeds; in brackets each seed. The intervals take questions for independent: those that "
        "rest on one rule rise and fall together (`uncommented` rests on four), so there the truth is less certain.",
        "",
        "| | " + " | ".join(f"{split}, {'with routes' if routes else 'without'}" for split, routes in cells) + " |",
        "|---" * (len(cells) + 1) + "|",
    ]
    for name in names:
        lines.append(f"| {name} | " + " | ".join(_cell([run[cell] for run in runs[name]]) for cell in cells) + " |")
    lines += ["", "## Differences, paired by question and seed", "", f"In points, {interval_words(len(folders))}; bold"]
    lines[-1] += " where the interval leaves out zero."
    lines += ["", *_difference_rows(runs, cells, pairs)]
    lines += ["", "## Without routes, by kind of question (split test)", "", *_kind_rows(names, summaries)]
    lines += ["", "## What each run took", "", *_cost_rows(summaries)]
    return "\n".join([*lines, ""])


def _cell(values: Sequence[Mapping[str, float]]) -> str:
    pooled = pooled_mean(values)
    each = ", ".join(f"{100 * sum(value.values()) / len(value):.1f}" for value in values)
    return f"**{100 * pooled.difference:.1f}** ({100 * pooled.low:.1f} to {100 * pooled.high:.1f}) [{each}]"


def _difference_rows(
    runs: Mapping[str, Sequence[Accuracies]], cells: Sequence[tuple[str, int]], pairs: Sequence[tuple[str, str]]
) -> list[str]:
    rows = [
        "| | " + " | ".join(f"{split}, {'with routes' if routes else 'without'}" for split, routes in cells) + " |",
        "|---" * (len(cells) + 1) + "|",
    ]
    for name, against in pairs:
        texts = []
        for cell in cells:
            sides = zip(runs[name], runs[against], strict=True)
            found = tested([subtract(one[cell], other[cell]) for one, other in sides])
            mark = "**" if found.low > 0 or found.high < 0 else ""
            points = f"{mark}{100 * found.difference:+.1f}{mark}"
            texts.append(f"{points} ({100 * found.low:+.1f} to {100 * found.high:+.1f})")
        rows.append(f"| {name} − {against} | " + " | ".join(texts) + " |")
    return rows


def _kind_rows(names: Sequence[str], summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    found: dict[tuple[str, str], list[float]] = {}
    for summary in summaries:
        for row in summary["rows"]:
            if row["split"] == "test" and not row["routes"]:
                for kind, value in row["by_kind"].items():
                    found.setdefault((row["name"], kind), []).append(value["accuracy"])
    kinds = sorted({kind for _, kind in found})
    rows = ["| | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for name in names:
        means = [100 * sum(found[name, kind]) / len(found[name, kind]) for kind in kinds]
        rows.append(f"| {name} | " + " | ".join(f"{mean:.0f}" for mean in means) + " |")
    return rows


def _cost_rows(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = ["| seed | run | steps | completions | tokens | seconds |", "|---|---|---|---|---|---|"]
    for summary in summaries:
        for cost in summary["cost"]:
            keys = ("steps", "completions", "tokens", "seconds")
            figures = " | ".join(f"{cost[key]:,}" if isinstance(cost.get(key), int) else "" for key in keys)
            rows.append(f"| {summary['seed']} | {cost['name']} | {figures} |")
    return rows
