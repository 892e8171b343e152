"""The tables of a bank's page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from realm.display import printable
from realm.pages.svg import interval, percent, points
from realm.pages.table import Table, TableRow
from realm.text import NONE, decimals, p_value

_MOST_FACT = 400
_MOST_STEP = 240


def _share(value: float | None, reach: list[float] | None = None) -> str:
    if value is None:
        return NONE
    return percent(value) + (f" ({interval(*reach)})" if reach else "")


def count_table(found: Mapping[str, Any]) -> Table:
    """Questions and CoTs by what the labels say."""
    judged = found["all_right"] + found["mixed"] + found["all_wrong"]
    rows: list[TableRow] = [
        (None, "questions with CoTs", [str(found["questions"]), ""]),
        (
            None,
            "… that can teach contrast",
            [
                str(found["teaches_contrast"]),
                _share(found["teaches_contrast_share"], found["teaches_contrast_share_interval"]),
            ],
        ),
        (None, "… all right", [str(found["all_right"]), _share(found["all_right"] / judged if judged else None)]),
        (None, "… mixed", [str(found["mixed"]), _share(found["mixed_share"], found["mixed_share_interval"])]),
        (None, "… all wrong", [str(found["all_wrong"]), _share(found["all_wrong"] / judged if judged else None)]),
        (None, "CoTs", [str(found["cots"]), ""]),
        (None, "… wrong", [str(found["wrong"]), _share(found["error_ratio"], found["error_ratio_interval"])]),
    ]
    ratio = _share(found["usable_error_ratio"], found["usable_error_ratio_interval"])
    rows += [
        (
            None,
            "… usable (labelled, whole answers)",
            [str(found["usable"]), _share(found["usable"] / (found["cots"] or 1))],
        ),
        (None, "… wrong among the usable", [str(found["usable_wrong"]), ratio]),
    ]
    total = found["cots"] or 1
    if found["unlabelled"]:
        rows.append((None, "… without a label", [str(found["unlabelled"]), _share(found["unlabelled"] / total)]))
    rows += [(None, f"… {name}", [str(count), _share(count / total)]) for name, count in found["problems"].items()]
    if found["without_cots"]:
        rows.append((None, "questions without CoTs", [str(found["without_cots"]), ""]))
    return Table(["", "number", "share (95 % interval)"], [("", rows)])


def split_table(found: Mapping[str, Any]) -> Table | None:
    """CoTs by split and label; None where no question of a CoT is known."""
    rows: list[TableRow] = [
        (
            None,
            printable(split, 60) or "(no name)",
            [*(str(counts[name]) for name in ("cots", "right", "wrong", "unlabelled")), _share(counts["error_ratio"])],
        )
        for split, counts in found["by_split"].items()
    ]
    return Table(["", "CoTs", "right", "wrong", "no label", "wrong of the labelled"], [("", rows)]) if rows else None


def reason_table(found: Mapping[str, Any]) -> Table | None:
    """Why the verifier gave no label, or found nothing to read; None where it always could."""
    total = found["cots"] or 1
    rows: list[TableRow] = [
        (None, printable(reason, 60), [str(count), _share(count / total)]) for reason, count in found["reasons"].items()
    ]
    return Table(["", "number", "share"], [("", rows)]) if rows else None


def guidance_table(found: Mapping[str, Any]) -> Table | None:
    """What guidance changed, paired by question; None where no question has both kinds of CoTs."""
    guidance = found["guidance"]
    if not guidance["questions"]:
        return None
    rows: list[TableRow] = []
    teachers = guidance["by_teacher"] if len(guidance["by_teacher"]) > 1 else {}
    usable = guidance["usable"]
    whole = {"whole answers alone": usable} if usable["mean"] not in (None, guidance["mean"]) else {}
    for name, effect in {"all teachers": guidance, **whole, **teachers}.items():
        reach = effect["interval"]
        low_high = f"{points(reach[0])} to {points(reach[1])}" if reach else "–"
        p = effect["p"]
        rows.append(
            (
                None,
                printable(name, 60),
                [
                    str(effect["questions"]),
                    points(effect["mean"]),
                    low_high,
                    NONE if p is None else p_value(p),
                ],
            )
        )
    return Table(["", "questions", "points of accuracy", "95 % interval", "p"], [("", rows)])


def redundancy_table(found: Mapping[str, Any]) -> Table:
    """How much the CoTs of one question differ."""
    redundancy = found["redundancy"]
    distinct = redundancy["distinct_answers"]
    rows: list[TableRow] = [
        (None, "distinct answers per question", [NONE if distinct is None else decimals(distinct)]),
        (None, "unreadable answers, not counted", [str(redundancy["unreadable_answers"])]),
        (
            None,
            "pairs of near-duplicates",
            [_share(redundancy["near_duplicates"], redundancy["near_duplicates_interval"])],
        ),
        (
            None,
            "mean distance of two CoTs (0 equal, 1 nothing in common)",
            [NONE if redundancy["mean_distance"] is None else decimals(redundancy["mean_distance"])],
        ),
        (
            None,
            f"two wrong CoTs give the same answer{', as they must of two' if redundancy['two_answers'] else ''}",
            [_share(redundancy["wrong_agreement"], redundancy["wrong_agreement_interval"])],
        ),
    ]
    return Table(["", "value (95 % interval)"], [("", rows)])


def length_table(found: Mapping[str, Any]) -> Table:
    """Lengths of the CoTs, and what teachers reported of their tokens."""
    rows: list[TableRow] = []
    for unit in ("words", "tokens"):
        spread = found["lengths"].get(unit)
        if spread and spread["median"] is not None:
            cells = [f"{spread[name]:.0f}" for name in ("median", "p95", "max")]
            rows.append((None, f"{unit} of a CoT" + (" (student's)" if unit == "tokens" else ""), cells))
    return Table(["", "median", "95 % are shorter", "longest"], [("", rows)])


def context_sentence(found: Mapping[str, Any]) -> str:
    """How many routes a prompt of the student can hold; "" where no student was given or no question can be asked."""
    context = found["lengths"].get("context")
    if not context or context["all_fit"] is None:
        return ""
    return (
        f"A prompt of {context['limit']} tokens holds all {context['k']} routes for {percent(context['all_fit'])} of "
        f"{context['questions']} questions."
    )


def facts(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the bank was made with, as pairs of name and text."""
    return [
        (name, printable(value if isinstance(value, str) else json.dumps(value), _MOST_FACT))
        for name, value in info.items()
        if value not in (None, "", [], {})
    ]


def cluster_rows(patterns: Mapping[str, Any], most: int = 12) -> list[dict[str, str]]:
    """The largest clusters of first diverging steps, as text safe to show."""
    return [
        {
            "count": f"{cluster['cots']} CoTs of {cluster['questions']} questions",
            "kind": cluster["kind"].replace("_", " "),
            "step": printable(cluster["step"], _MOST_STEP),
            "right": printable(cluster["right"], _MOST_STEP),
        }
        for cluster in patterns["clusters"][:most]
    ]


def repeated_table(patterns: Mapping[str, Any], most: int = 12) -> Table | None:
    """The questions whose wrong CoTs agree most; None where none do."""
    rows: list[TableRow] = [
        (
            None,
            printable(one["question"] or one["question_id"], 120),
            [printable(one["gold"], 40), printable(one["answer"], 40), f"{one['times']} of {one['wrong']}"],
        )
        for one in patterns["repeated"][:most]
    ]
    return Table(["", "gold", "wrong answer", "wrong CoTs that give it"], [("", rows)]) if rows else None


def kind_table(patterns: Mapping[str, Any]) -> Table | None:
    """How wrong CoTs first leave the right ones."""
    total = patterns["analysed"]
    rows: list[TableRow] = [
        (None, kind.replace("_", " "), [str(count), percent(count / total)])
        for kind, count in patterns["kinds"].items()
    ]
    return Table(["", "wrong CoTs", "share"], [("", rows)]) if rows else None
