"""The report of a run: its folder's files in, one self-contained HTML page out."""

from pathlib import Path

from markupsafe import Markup

from realm.pages import figures as drawn
from realm.pages import judging, tables, trust, unread
from realm.pages.bank import bank_section
from realm.pages.completions import browser_data, script_json
from realm.pages.data import TRAINED, Report, Run, read_report
from realm.pages.forest import kind_figures
from realm.pages.templates import Page
from realm.pages.verdict import verdict

#: Characters of the configuration and of one fact of meta.json that the page shows.
_MOST_CONFIG, _MOST_FACT = 60_000, 400


def write_report(run_dir: Path) -> Path:
    """Write the page of a training run, `report.html` in its folder, from nothing but the files there.

    A run that is still going, or whose files are partly missing, gets a page that says what is missing. The page
    needs no network and stays below 5 MB: of long runs it shows means over neighbouring steps and a part of the
    sampled completions, and says so.

    Args:
        run_dir: the folder of a run (see `realm.pages.data` for the files read).

    Returns:
        The path of the page.

    Raises:
        DataError: the folder is missing or holds none of a run's files.
        ResourceError: the page cannot be written.
    """
    return run_page(run_dir).write(run_dir / "report.html")


def run_page(run_dir: Path) -> Page:
    """The page of a training run; `DataError` as of `write_report`."""
    return Page("run.html", page_context(read_report(run_dir)), ("browser.js",))


def page_context(report: Report) -> dict[str, object]:
    """Everything that the template fills in."""
    (run,), names = report.runs, report.names()
    sample = browser_data(run, report.notes)
    groups = sample.groups
    lead, more = verdict(report)
    scores = judging.calibrations(report)
    context: dict[str, object] = {
        "title": f"{run.name} on {run.config.task.called}" if run.config is not None else run.name,
        "subtitle": _subtitle(run),
        "lead": lead,
        "more": more,
        "notes": report.notes,
        "results": list(zip(drawn.final_figures(report), tables.final_tables(report), strict=True)),
        "measures": tables.measures_table(report),
        "taught": tables.taught_table(run),
        "training_figures": drawn.training_figures(report),
        "training_table": tables.training_table(report),
        "cold_start": bool(run.stage_steps("sft")),
        "kind_figures": kind_figures(run),
        "preference_figures": drawn.preference_figures(report),
        "fade_figures": drawn.fade_figures(report),
        "reward_figures": drawn.reward_figures(report),
        "calibration_figures": judging.calibration_figures(scores, names),
        "calibration_table": judging.calibration_table(scores, names),
        "copying_figures": judging.copying_figures(report),
        "trust_figures": trust.trust_figures(report),
        "trust_table": trust.trust_table(report),
        "parse_table": tables.parse_table(report),
        "unreadable_answers": unread.sentence(run),
        "groups": Markup(script_json(groups)) if groups else "",
        "groups_shown": sample.sentence,
        "bank": bank_section(run.folder),
        "cost_table": tables.cost_table(report),
        "facts": _facts(run),
        "config_text": report.config_text[:_MOST_CONFIG],
        "folder": report.folder.resolve().name,
        "key": Markup(
            "Hollow {} is without routes, solid {} with routes, and the line between them is the gap."
        ).format(tables.swatch(0, solid=False), tables.swatch(0)),
    }
    context["contents"] = [(anchor, name) for anchor, name, key in CONTENTS if context.get(key)]
    return context


#: (anchor, name, what must be there) of the sections, in the order of the page.
CONTENTS = (
    ("result", "Result", "results"),
    ("trust", "Trust", "trust_figures"),
    ("taught", "Taught", "taught"),
    ("training", "Training", "training_figures"),
    ("kinds", "Kinds", "kind_figures"),
    ("pairs", "Pairs", "preference_figures"),
    ("fade", "Fading", "fade_figures"),
    ("reward", "Reward", "reward_figures"),
    ("parse", "Parsing", "parse_table"),
    ("calibration", "Calibration", "calibration_figures"),
    ("copying", "Copying", "copying_figures"),
    ("completions", "Completions", "groups"),
    ("bank", "Bank", "bank"),
    ("cost", "Cost", "cost_table"),
    ("setup", "Setup", "folder"),
)


def _subtitle(run: Run) -> str:
    """What was trained, in one line."""
    parts, seed = ["realm training run"], run.meta.seed
    if run.config is not None:
        parts.append(f"from {Path(run.config.model.path).name}")
        seed = run.config.run.seed if seed is None else seed
    totals = {stage: sum(run.stage_steps(stage).values()) for stage in TRAINED}
    places = sorted({(row.round, TRAINED.index(row.stage)) for row in run.metrics})
    if len(places) > 2:  # in turn: SFT may come again after RL
        turns = (f"{TRAINED[place].upper()} {run.stage_steps(TRAINED[place])[round_]}" for round_, place in places)
        parts.append(f"steps: {', '.join(turns)}")
    elif any(totals.values()):
        parts.append(", ".join(f"{total} {stage.upper()} steps" for stage, total in totals.items() if total))
    if seed is not None:
        parts.append(f"seed {seed}")
    return " · ".join(parts)


#: What of meta.json the page tells, in this order.
_FACTS = (
    "machine",
    "versions",
    "seed",
    "command",
    "started",
    "finished",
    "status",
    "template_hash",
)


def _facts(run: Run) -> list[tuple[str, str]]:
    """How the run was made, as pairs of name and text."""
    found = []
    for key in _FACTS:
        value = getattr(run.meta, key)
        if isinstance(value, dict):
            value = ", ".join(f"{name} {item}" for name, item in value.items()).replace("_", " ")
        if value is not None and value != "":
            found.append((key.replace("_", " "), str(value)[:_MOST_FACT]))
    return found
