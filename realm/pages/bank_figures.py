"""The drawings of a bank's page: error ratios, distinct answers, and how far wrong answers agree."""

from collections.abc import Mapping
from typing import Any

from realm.display import printable
from realm.pages.charts import Dot, Row, dot_chart, whole_percent
from realm.pages.figures import Figure, both
from realm.pages.svg import interval, padded, percent

#: Rows of one chart; of more groups the largest are shown.
MOST = 20
#: Pairs below which an agreement is not drawn.
FEW = 50
#: Style of a bank's page, where no models are: ink, solid for wrong CoTs and hollow for what they are compared with.
_INK = 0


def error_figures(found: Mapping[str, Any]) -> list[Figure]:
    """The error ratio over all and by teacher, guidance, tag and kind, on one scale, with 95 % intervals."""
    named = {
        "By teacher": found["by_teacher"],
        "By guidance": found["by_guided"],
        "By tag": found["by_tag"],
        "By kind": found["by_kind"],
    }
    shown = {title: _largest(groups) for title, groups in named.items()}
    rows = {title: _error_rows(groups) for title, groups in shown.items() if len(groups) > 1 or title == "By teacher"}
    edges = [edge for lines in rows.values() for row in lines for dot in row.dots for edge in (dot.low, dot.high)]
    domain = padded([edge for edge in edges if edge is not None], floor=0.0, ceiling=1.0, step=0.1)
    figures = []
    for title, lines in rows.items():
        left_out = len(named[title]) - len(shown[title])
        more = f" (the {MOST} largest; {left_out} more)" if left_out > 0 else ""
        summary, rule = f"Error ratio {title.lower()}", found["error_ratio"]
        how = {"domain": domain, "axis": whole_percent, "rule": rule, "rule_name": "all", "notes": "CoTs"}
        figures.append(both(f"{title}{more}", dot_chart, lines, summary=summary, **how))
    return figures


def _largest(groups: Mapping[str, Any]) -> dict[str, Any]:
    """The largest groups that have a labelled CoT, in the order of their names."""
    judged = {name: counts for name, counts in groups.items() if counts["error_ratio"] is not None}
    largest = sorted(judged, key=lambda name: -judged[name]["cots"])[:MOST]
    return {name: judged[name] for name in sorted(largest)}


def _error_rows(groups: Mapping[str, Any]) -> list[Row]:
    rows = []
    for name, counts in groups.items():
        low, high = counts["error_ratio_interval"] or (None, None)
        caption = printable(name, 40) or "(no name)"
        title = f"{caption}: {percent(counts['error_ratio'])} wrong ({interval(low, high)}), {counts['cots']} CoTs"
        dot = Dot(_INK, counts["error_ratio"], low, high, True, title)
        rows.append(Row(caption, [dot], note=str(counts["cots"])))
    return rows


def agreement_figures(patterns: Mapping[str, Any]) -> list[Figure]:
    """How often wrong answers (and wrong statements of a rule) agree, against independent near misses."""
    titles = {
        "answers": "Two wrong answers of one question are equal",
        "rules": "Two wrong statements in place of one right step are equal",
    }
    sets = {
        "answers": {"overall": "all pairs", "within": "one teacher", "across": "two teachers"},
        "rules": {"within": "one question", "across": "two questions"},
    }
    figures = []
    for name, title in titles.items():
        test = patterns[name]
        rows = [
            row for part, caption in sets[name].items() if test for row in [_agreement_row(caption, test[part])] if row
        ]
        if rows:
            how = {"domain": (0.0, 1.0), "axis": whole_percent, "notes": "found", "joined": True}
            note = "solid: found, hollow: by independent errors"
            figures.append(both(title, dot_chart, rows, summary=title, note=note, **how))
    return figures


def _agreement_row(caption: str, test: Mapping[str, Any]) -> Row | None:
    if test["observed"] is None or test["null"] is None or test["pairs"] < FEW:
        return None
    seen = f"{caption}: {percent(test['observed'])} of {test['pairs']} pairs"
    p = "" if test["p"] is None else f", p = {test['p']:.3f}"
    return Row(
        caption,
        [
            Dot(_INK, test["null"], None, None, False, f"{caption}: {percent(test['null'])} by independent errors"),
            Dot(_INK, test["observed"], None, None, True, f"{seen}{p}"),
        ],
        note=percent(test["observed"], 0),
    )
