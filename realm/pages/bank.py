"""The page of a bank: what `realm bank stats` and `realm bank errors` find, in one self-contained HTML page."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from realm.analysis.answers import verifier_of
from realm.analysis.patterns import analyse
from realm.analysis.stats import Student, statistics
from realm.bank.folder import BankFolder
from realm.bank.scan import groups
from realm.bank.unreadable import sentences
from realm.display import printable
from realm.pages.bank_cots import SampledBank
from realm.pages.bank_figures import agreement_figures, error_figures
from realm.pages.bank_tables import (
    cluster_rows,
    context_sentence,
    count_table,
    facts,
    guidance_table,
    kind_table,
    length_table,
    reason_table,
    redundancy_table,
    repeated_table,
    split_table,
)
from realm.pages.completions import script_json
from realm.pages.svg import percent, points
from realm.pages.templates import Page


def bank_page(
    bank: Path, progress: Callable[[int, int], None] = lambda done, total: None, student: Student | None = None
) -> Page:
    """The page of a bank. Memory does not grow with the bank.

    `progress` is told how many of how many questions are read; each is read twice. With a `student` the page tells its
    tokens and how many routes its prompts can hold. Raises `DataError` for a folder without a bank, or a row that is no
    CoT.
    """
    folder = BankFolder.open(bank)
    sample = SampledBank()
    questions = sum(1 for _ in folder.iterate_questions())
    verifier = verifier_of(folder.info)
    found = statistics(
        sample.among(groups(folder)),
        verifier=verifier,
        student=student,
        progress=lambda done: progress(done, 2 * questions),
    )
    patterns = analyse(
        groups(folder), verifier=verifier, progress=lambda done: progress(questions + done, 2 * questions)
    )
    context = page_context(folder.path.resolve().name, folder.info, found, patterns.as_dict())
    context["groups"] = Markup(script_json(sample.groups)) if sample.groups else ""
    context["groups_shown"] = sample.sentence
    if sample.groups:
        context["contents"].insert(1, ("completions", "CoTs"))
    return Page("bank.html", context, ("browser.js",))


def page_context(
    name: str, info: Mapping[str, Any], found: Mapping[str, Any], patterns: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that the template fills in, of what `statistics` and `Patterns.as_dict` give."""
    guidance = guidance_table(found)
    contents = [
        ("labels", "Labels", True),
        ("errors", "Error ratio", True),
        ("guidance", "Guidance", guidance),
        ("patterns", "Error patterns", True),
        ("redundancy", "Redundancy and length", True),
        ("setup", "Setup", True),
    ]
    return {
        "title": printable(name, 120),
        "subtitle": f"bank of {found['cots']} CoTs on {found['questions']} questions",
        "lead": _lead(found),
        "verdict": patterns["sentence"],
        "contents": [(anchor, title) for anchor, title, there in contents if there],
        "counts": count_table(found),
        "splits": split_table(found),
        "reasons": reason_table(found),
        "unreadable": sentences(found["unreadable"]),
        "error_figures": error_figures(found),
        "guidance": guidance,
        "analysed": _analysed(patterns),
        "agreement": agreement_figures(patterns),
        "kinds": kind_table(patterns),
        "clusters": cluster_rows(patterns),
        "repeated": repeated_table(patterns),
        "redundancy": redundancy_table(found),
        "lengths": length_table(found),
        "context": context_sentence(found),
        "facts": facts(info),
    }


def bank_section(folder: Path) -> dict[str, Any] | None:
    """What the page of a run shows of its bank, from the `bank_stats.json` that training left; None without one."""
    try:
        found = json.loads((folder / "bank_stats.json").read_text(encoding="utf-8"))
        return {
            "lead": _lead(found),
            "counts": count_table(found),
            # Of a run trained by an earlier version there are none.
            "unreadable": sentences(found["unreadable"]) if "unreadable" in found else [],
            "figures": error_figures(found)[:2],
            "guidance": guidance_table(found),
            "patterns": _patterns(found.get("patterns")),
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _patterns(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The verdict on the errors and what it rests on; None where training kept none."""
    if not found:
        return None
    return {
        "sentence": found["sentence"],
        "analysed": _analysed(found),
        "figures": agreement_figures(found),
        "clusters": cluster_rows(found)[:5],
    }


def _lead(found: Mapping[str, Any]) -> str:
    """What matters most, in one or two sentences."""
    if found["error_ratio"] is None:
        return "No CoT is labelled yet: run `realm bank label`."
    lead = f"{percent(found['teaches_contrast_share'])} of the questions can teach contrast"
    if found["usable_error_ratio"] is not None:
        lead += f": they have right and wrong CoTs; {percent(found['usable_error_ratio'])} of the usable CoTs are wrong"
    if found["usable"] < found["right"] + found["wrong"]:
        lead += f", and {percent(found['error_ratio'])} of all labelled ones, cut answers among them"
    guidance = found["guidance"]
    if guidance["interval"]:
        low, high = guidance["interval"]
        lead += f". Guidance changes the share of right CoTs by {points(guidance['mean'])} points"
        lead += f" ({points(low)} to {points(high)})"
    return f"{lead}."


def _analysed(patterns: Mapping[str, Any]) -> str:
    whole = "a sample by lot of " if patterns["sampled"] else ""
    left = f" {patterns['left_out']} that are no reasoning were left out." if patterns["left_out"] else ""
    unread = patterns.get("unreadable")  # runs of former versions did not tell it
    left += f" {unread} with an answer that the verifier cannot read are not among them." if unread else ""
    return f"Based on {whole}{patterns['analysed']} of {patterns['wrong']} wrong CoTs.{left}"
