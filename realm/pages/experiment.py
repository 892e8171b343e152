"""The page of an experiment: its finding, the figures that carry it, and what it took; from the runner's results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from realm.display import printable
from realm.pages import experiment_tables as tables
from realm.pages.experiment_data import MOST_KINDS, Experiment, paragraph, read_experiment, shown, true_sums
from realm.pages.experiment_figures import (
    bank_figures,
    curve_figures,
    gap_figures,
    gap_pair_figures,
    headline_figures,
    measure_figures,
    own_style,
    pair_figures,
    sheet_figures,
    sum_figures,
)
from realm.pages.export import save, standalone
from realm.pages.palette import WITH, WITHOUT
from realm.pages.tables import swatch
from realm.pages.templates import Page
from realm.rows.experiment import Results
from realm.text import duration


def experiment_page(results: Results) -> Page:
    """The page of an experiment."""
    return Page("experiment.html", page_context(read_experiment(results)))


def write_experiment_figure(results: Results, stem: Path) -> tuple[Path, Path]:
    """Write the one picture of an experiment as `<stem>.svg` and `<stem>.png`; arguments and errors as of the page."""
    found = read_experiment(results)
    note = "hollow is without routes, solid with routes; bars are 95 % intervals, small dots single seeds"
    return save(
        standalone(*sheet_figures(found), note="bars are 95 % intervals" if found.results.banks else note), stem
    )


def page_context(found: Experiment) -> dict[str, Any]:
    """Everything that the template fills in."""
    sums = true_sums(found)
    context: dict[str, Any] = {
        "title": printable(found.results.title, 200),
        "subtitle": _subtitle(found),
        "question": paragraph(found.results.question),
        "finding": _first_sentence(paragraph(found.results.finding)),
        "words": words(found),
        "headline_figures": headline_figures(found),
        "key": Markup("Blue {} is without routes, orange {} with routes.").format(
            swatch(WITHOUT, solid=False), swatch(WITH)
        ),
        "coloured": any(own_style(found, arm) is not None for arm in found.arms),
        "results_table": tables.accuracy_table(found),
        "measure_figures": measure_figures(found),
        "curve_figures": curve_figures(found),
        "training": tables.training_table(found),
        "pair_figures": pair_figures(found),
        "pair_table": tables.pair_table(found),
        "sum_figures": sum_figures(sums),
        "sum_table": tables.accuracy_table(sums),
        "sum_pair_figures": pair_figures(sums),
        "sum_pair_table": tables.pair_table(sums),
        "operators": tables.operator_table(sums),
        "spreads": tables.spread_table(found),
        "unlearned": tables.unlearned_table(found),
        "gap_figures": gap_figures(found),
        "gap_table": tables.gap_table(found),
        "gap_pair_figures": gap_pair_figures(found),
        "gap_pair_table": tables.gap_pair_table(found),
        "judging": tables.judging_table(found),
        "shown": tables.shown_table(found),
        "banks": tables.banks_table(found),
        "bank_figures": bank_figures(found),
        "kinds": tables.kind_table(found, MOST_KINDS),
        "confidence": tables.confidence_table(found),
        "memory": tables.memory_table(found),
        "cost": tables.cost_table(found),
        "cost_by_seed": tables.cost_by_seed(found) if found.seeds > 1 else None,
        "arms": tables.settings_table(found),
        "facts": _facts(found),
    }
    context["contents"] = [(anchor, name) for anchor, name, keys in _CONTENTS if any(context[key] for key in keys)]
    return context


#: (anchor, name, what must be there, one at least) of the sections.
_CONTENTS = (
    ("result", "Result", ("headline_figures",)),
    ("spreads", "Settings", ("spreads",)),
    ("differences", "Differences", ("pair_figures",)),
    ("measures", "Measures", ("measure_figures",)),
    ("sums", "True sums", ("sum_figures",)),
    ("unlearned", "Unlearned", ("unlearned",)),
    ("training", "Training", ("curve_figures", "training")),
    ("gaps", "Autonomy gap", ("gap_figures", "gap_pair_figures")),
    ("kinds", "Kinds", ("kinds",)),
    ("judging", "Reading routes", ("judging",)),
    ("shown", "Prompts", ("shown",)),
    ("banks", "Banks", ("banks",)),
    ("trust", "Trust", ("confidence",)),
    ("memory", "Memory", ("memory",)),
    ("cost", "Cost", ("cost",)),
    ("arms", "Arms", ("arms",)),
    ("setup", "Setup", ("title",)),
)


def _first_sentence(text: str) -> tuple[str, list[str]]:
    """What is set in large type, and the paragraphs of the rest, a list's points among them."""
    first, stop, rest = text.partition(". ")
    return first + stop.strip(), [line.removeprefix("- ") for line in rest.split("\n") if line.strip()]


def _subtitle(found: Experiment) -> str:
    parts = [f"realm experiment {shown(found.results.name)}", f"{len(found.arms)} arms"]
    parts.append("one seed" if found.seeds == 1 else f"{found.seeds} seeds")
    return " · ".join(parts)


def _cut(found: Experiment) -> str:
    kinds = len({kind for _, kind in found.kinds})
    return f" The first {MOST_KINDS} of {kinds}, by name." if kinds > MOST_KINDS else ""


def words(found: Experiment) -> dict[str, str]:
    """What the page calls its figures, by its number of seeds."""
    several = found.seeds > 1
    over = "over questions and seeds; the small dots are single seeds" if several else "over questions; one seed"
    return {
        "value": f"Accuracy with 95\u202f% intervals {over}.",
        "results": f"Accuracy with 95 % intervals{', in brackets each seed' if several else ''}",
        "kinds_about": f"Accuracy in per cent{', mean over seeds' if several else ''}; the stronger the colour, the "
        f"higher.{_cut(found)}",
    }


def _facts(found: Experiment) -> list[tuple[str, str]]:
    """How the experiment was made, as pairs of name and text."""
    results = found.results
    pairs = [
        ("command", results.command),
        ("machine", results.machine),
        ("versions", _together(results.versions)),
        ("seeds", ", ".join(map(str, results.seeds))),
        ("time", f"{duration(results.seconds)}{' of processes of one thread' if results.threads == 1 else ''}"),
        ("budget", _together(results.budget)),
    ]
    return [(name, printable(text, 400)) for name, text in pairs if text]


def _together(each: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {item}" for name, item in each.items()).replace("_", " ")
