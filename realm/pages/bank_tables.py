"""The tables of a bank, for its page and for a terminal: what the one says the other says."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from realm.display import printable
from realm.pages.table import Cell, Table, Value
from realm.text import NONE, decimals, p_value, percent

_MOST_FACT = 400
_MOST_STEP = 240
#: Names of one grouping that a table has; `--json` has all.
_NAMES = 12


def _table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table | None:
    """A row begins with its name; None without any row."""
    made = [(None, printable(str(name), 120), list(cells)) for name, *cells in rows]
    return Table(["", *columns], [("", made)]) if made else None


def _share(found: Mapping[str, Any], name: str) -> Cell:
    value, reach = found[name], found[f"{name}_interval"] or ()
    return NONE if value is None else Value(value, *reach)


def _of(count: int, total: int) -> Cell:
    return Value(count / total) if total else NONE


def count_table(found: Mapping[str, Any]) -> Table | None:
    """Questions and CoTs by what the labels say."""
    judged = found["all_right"] + found["mixed"] + found["all_wrong"]
    total = found["cots"] or 1
    rows: list[tuple[str, int, Cell]] = [
        ("questions with CoTs", found["questions"], ""),
        ("… that can teach contrast", found["teaches_contrast"], _share(found, "teaches_contrast_share")),
        ("… all right", found["all_right"], _of(found["all_right"], judged)),
        ("… mixed", found["mixed"], _share(found, "mixed_share")),
        ("… all wrong", found["all_wrong"], _of(found["all_wrong"], judged)),
        ("CoTs", found["cots"], ""),
        ("… wrong of the labelled", found["wrong"], _share(found, "error_ratio")),
        ("… usable (labelled, whole answers)", found["usable"], _of(found["usable"], total)),
        ("… wrong among the usable", found["usable_wrong"], _share(found, "usable_error_ratio")),
    ]
    left = {"without a label": found["unlabelled"], **found["problems"]}
    rows += [(f"… {name}", count, _of(count, total)) for name, count in left.items() if count]
    if found["without_cots"]:
        rows.append(("questions without CoTs", found["without_cots"], ""))
    return _table(["number", "share (95 % interval)"], ((name, str(count), share) for name, count, share in rows))


def ratio_table(found: Mapping[str, Any]) -> Table | None:
    """CoTs by label, over all and by guidance, teacher, tag, kind and split; the largest of each."""
    rows = [("all", found)]
    for grouping in ("guided", "teacher", "tag", "kind", "split"):
        groups = found[f"by_{grouping}"]
        if len(groups) > 1 or (grouping == "teacher" and groups):
            largest = sorted(groups, key=lambda key: -groups[key]["cots"])[:_NAMES]
            prefix = "" if grouping == "guided" else f"{grouping} "
            rows += [(printable(f"{prefix}{key}", 28), groups[key]) for key in largest]
    numbers = ("cots", "right", "wrong", "unlabelled")
    return _table(
        ["number", "right", "wrong", "no label", "error ratio"],
        ((name, *(str(counts[key]) for key in numbers), _share(counts, "error_ratio")) for name, counts in rows),
    )


def split_table(found: Mapping[str, Any]) -> Table | None:
    """CoTs by split and label; None where no question of a CoT is known."""
    return _table(
        ["CoTs", "right", "wrong", "no label", "wrong of the labelled"],
        (
            (
                split or "(no name)",
                *(str(counts[key]) for key in ("cots", "right", "wrong", "unlabelled")),
                _share(counts, "error_ratio"),
            )
            for split, counts in found["by_split"].items()
        ),
    )


def reason_table(found: Mapping[str, Any]) -> Table | None:
    """Why the verifier gave no label, or found nothing to read; None where it always could."""
    total = found["cots"] or 1
    return _table(
        ["number", "share"], ((reason, str(count), _of(count, total)) for reason, count in found["reasons"].items())
    )


def guidance_table(found: Mapping[str, Any]) -> Table | None:
    """What guidance changed, paired by question; None where no question has both kinds of CoTs."""
    guidance = found["guidance"]
    if not guidance["questions"]:
        return None
    teachers = guidance["by_teacher"] if len(guidance["by_teacher"]) > 1 else {}
    usable = guidance["usable"]
    whole = {"whole answers alone": usable} if usable["mean"] not in (None, guidance["mean"]) else {}
    rows = []
    for name, effect in {"all teachers": guidance, **whole, **teachers}.items():
        low, high = effect["interval"] or (None, None)
        p, change = effect["p"], Value(effect["mean"], low, high, signed=True)
        rows.append((printable(name, 60), str(effect["questions"]), change, NONE if p is None else p_value(p)))
    return _table(["questions", "points of accuracy (95 % interval)", "p"], rows)


def redundancy_table(found: Mapping[str, Any]) -> Table | None:
    """How much the CoTs of one question differ."""
    redundancy = found["redundancy"]
    must = ", as they must of two" if redundancy["two_answers"] else ""
    rows: list[tuple[str, Cell]] = [
        ("distinct answers per question", decimals(redundancy["distinct_answers"]) or NONE),
        ("unreadable answers, not counted", str(redundancy["unreadable_answers"])),
        ("pairs of near-duplicates", _share(redundancy, "near_duplicates")),
        ("mean distance of two CoTs (0 equal, 1 nothing in common)", decimals(redundancy["mean_distance"]) or NONE),
        (f"two wrong CoTs give the same answer{must}", _share(redundancy, "wrong_agreement")),
    ]
    return _table(["value (95 % interval)"], rows)


def length_table(found: Mapping[str, Any]) -> Table | None:
    """Lengths of the CoTs, in words and in the student's tokens."""
    named = {"words of a CoT": found["lengths"]["words"], "tokens of a CoT": found["lengths"].get("tokens")}
    known = {name: spread for name, spread in named.items() if spread and spread["median"] is not None}
    columns = {"median": "median", "95 % are shorter": "p95", "longest": "max"}
    return _table(
        [*columns], ((name, *(f"{spread[key]:.0f}" for key in columns.values())) for name, spread in known.items())
    )


def context_sentence(found: Mapping[str, Any]) -> str:
    """How many routes a prompt of the student can hold; "" where no student was given or no question can be asked."""
    context = found["lengths"].get("context")
    if not context or context["all_fit"] is None:
        return ""
    alone = context["question_alone_too_long"]
    return (
        f"A prompt of {context['limit']} tokens holds all {context['k']} routes for {percent(context['all_fit'])} of "
        f"{context['questions']} questions{f'; {alone} are too long without any' if alone else ''}."
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
    return _table(
        ["gold", "wrong answer", "wrong CoTs that give it"],
        (
            (
                one["question"] or one["question_id"],
                *(printable(one[name], 40) for name in ("gold", "answer")),
                f"{one['times']} of {one['wrong']}",
            )
            for one in patterns["repeated"][:most]
        ),
    )


def kind_table(patterns: Mapping[str, Any]) -> Table | None:
    """How wrong CoTs first leave the right ones."""
    total = patterns["analysed"]
    return _table(
        ["wrong CoTs", "share"],
        ((kind.replace("_", " "), str(count), _of(count, total)) for kind, count in patterns["kinds"].items()),
    )
