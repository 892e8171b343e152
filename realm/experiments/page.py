"""The Markdown page of an experiment, written from results.json and never by hand."""

from typing import NamedTuple

from realm.experiments.comparison import interval_words
from realm.experiments.grid import FAST_NOTE
from realm.experiments.spec import UNTRAINED
from realm.pages import experiment_tables as tables
from realm.pages.experiment_data import read_experiment, true_sums
from realm.pages.table import Table
from realm.rows.experiment import Results
from realm.text import clock

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
    table: Table | None


def _sections(results: Results) -> list[Section]:
    """The tables of the page, some of them not there."""
    found = read_experiment(results)
    sums, seeds = true_sums(found), len(results.seeds)
    labels = {row.name: row.label for row in results.measures}
    second = "a t-test over the seeds" if seeds > 1 else "swapping the sides of questions at random"
    how_tested = f"{interval_words(seeds)}; p two-sided, the larger one of that bootstrap and of {second}, {_CORRECTED}"
    return [
        Section(
            "Accuracy",
            f"Accuracy in per cent, {_SEEDS if seeds > 1 else _ONE_SEED} {_ABOUT}",
            tables.accuracy_table(found),
        ),
        Section(
            "How far the settings move it",
            "Arms that leave the model of `base` as it is, group by group and with `base`: the highest minus the "
            "lowest, in points, on the same questions. The 95 % interval holds for all pairs of these arms at once, "
            "whichever are picked; bold where it leaves out zero. Beside it half of the interval over questions of "
            "`base`, whose settings were chosen before: what is to be reported.",
            tables.spread_table(found),
        ),
        Section("Differences", f"In points, paired by seed and question, {how_tested}", tables.pair_table(found)),
        Section(
            "True sums",
            "Of the equations that the completions state, the share of true ones in per cent, "
            f"{_SEEDS if seeds > 1 else _ONE_SEED}",
            tables.accuracy_table(sums),
        ),
        Section(
            "Differences of true sums",
            f"In points, both sides on the same seeds and questions, {how_tested}",
            tables.pair_table(sums),
        ),
        Section(
            "True sums by operator",
            "In per cent of the equations with it, of all seeds together; `mixed`: several operators.",
            tables.operator_table(sums),
        ),
        Section(
            "What was unlearned",
            "On the questions of another task (`evaluation.also`), asked without routes: each arm minus the untrained "
            f"model, in points, paired by seed and question, {how_tested} Below 0 something was lost.",
            tables.unlearned_table(found),
        ),
        Section(
            "What routes in the prompt still add",
            f"`autonomy_gap`, accuracy with − without routes, in points, {interval_words(seeds)}; bold where the "
            "interval leaves out zero.",
            tables.gap_table(found),
        ),
        Section(
            "Differences of these gaps",
            "One arm's gap minus the other's, in points (negative: routes are needed less, or help less), paired by "
            f"seed and question, {how_tested}",
            tables.gap_pair_table(found),
        ),
        Section("By kind of question", f"{labels[results.headline]}, in per cent.", tables.kind_table(found)),
        Section(
            "How routes are read",
            "With routes, means over the seeds. `same_err`: wrong answers that some route in the prompt gives too, per "
            "cent of the wrong ones. Scoring accuracy: scores on the right side of a half, per cent; AUROC: how well "
            "scores tell right routes from wrong ones (0.5: not at all); a missing score counts as the worst. Empty "
            "where no scores are asked for.",
            tables.judging_table(found),
        ),
        Section(
            "While training",
            "Accuracy in per cent on the first `training.eval_questions` validation questions, the mean over the "
            "seeds. The best step is picked by these figures, which favours it. *Falls from* is the first later step "
            "that is below the best by more than a 95 % margin (t over the seeds' differences), every step tested "
            "alone; empty where none is shown to be, as with one seed. With routes are those of the arm itself.",
            tables.training_table(found),
        ),
        Section(
            "What the prompts showed",
            "Routes per prompt before fading and the share of wrong ones, in per cent, over the training questions; "
            "and how many per prompt the student's context had no room for.",
            tables.shown_table(found),
        ),
        Section(
            "Banks",
            "On the questions of the headline that have CoTs: right CoTs of the teacher and accuracy of the untrained "
            f"model (`{UNTRAINED}`, without routes) in per cent, and their difference in points, paired by question, "
            "with its 95 % interval; mean distance of two CoTs of a question. Banks that differ in the comments' "
            "probability (`guidance.probability`) differ in the gap and in the share of wrong routes at once: the two "
            "move together, and what goes with the one cannot be told from what goes with the other.",
            tables.banks_table(found),
        ),
        Section(
            "When to trust an answer",
            "By the confidence of the answers (`evaluation.confidence`). ECE: how far it is from the share that is "
            "right; AUROC: the chance that a right answer has the higher one of two; risk-coverage area: the share of "
            "wrong ones among the surest, mean over all shares that might be answered (*at best*: were every right "
            "answer surer than any wrong one). *Answered*, and *right of these*: with the confidence from which on "
            "answers are as often right as wanted (`evaluation.precision`) on the split where each seed chose it; a "
            "seed that found none answers nothing. "
            f"{'Means over the seeds, with intervals over questions and seeds' if seeds > 1 else 'Of one seed'}; "
            "right are those of all that are answered.",
            tables.confidence_table(found),
        ),
        Section(
            "Memory",
            "Megabytes (10^6) to answer one question of the headline: weights as loaded, and keys and values of the "
            "prompt and of all completions; points of accuracy for each of them.",
            tables.memory_table(found),
        ),
        Section(
            "What each training took",
            "Student tokens in training are those that a training puts through the student; what was sampled to make "
            "what is taught comes besides, and what teachers wrote; seconds of training"
            f"{' on one thread' if results.threads == 1 else ''}, without evaluation.",
            tables.cost_by_seed(found),
        ),
    ]


def page(results: Results, *, image: str) -> str:
    """The whole page.

    Args:
        image: file name of the plot beside the page.
    """
    versions = ", ".join(f"{package} {version}" for package, version in results.versions.items())
    seeds = ", ".join(map(str, results.seeds))
    took = f"{clock(results.seconds)} of processes{' of one thread' if results.threads == 1 else ''}"
    lines = [f"# {results.title}", "", results.question, ""]
    if results.fast:
        lines += [f"**{FAST_NOTE}**", ""]
    lines += [
        f"Written by `{results.command}`. Seeds {seeds}; {took}; {results.machine}; {versions}.",
        "",
        _budget(results),
        "",
        "## Finding",
        "",
        results.finding,
        "",
        f"![{results.title}]({image})",
        "",
    ]
    for section in _sections(results):
        if section.table is not None:
            lines += [f"## {section.title}", "", section.text, "", *section.table.to_markdown(), ""]
    return "\n".join(lines)


def _budget(results: Results) -> str:
    """The steps of the arms in one line."""
    budget = results.budget
    if not budget:
        return "Nothing is trained: the arms are models, and answer the same questions."
    steps = budget["steps"]
    text = f"optimizer steps: {steps}"
    if isinstance(steps, int):
        text = f"every arm takes {steps} optimizer steps"
    words = {"completions": "in RL", "examples": "in SFT", "pairs": "in learning from pairs"}
    each = [f"{budget[key]} {of} {where}" for of, where in words.items() if (key := f"{of}_per_step") in budget]
    start = "all start from the same model and"
    if any("model.path" in arm.set_ for arm in results.arms):
        start = "arms that set `model.path` start from a model of their own; all"
    return f"Budget: {text}, of {', '.join(each)}; {start} answer the same questions."
