"""How the commands that look at a bank print what they found. Whatever the bank holds is made printable first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from realm.bank.unreadable import sentences
from realm.display import printable
from realm.text import bracketed, percent, points

if TYPE_CHECKING:
    from realm.analysis.agreement import Test
    from realm.analysis.patterns import Patterns
    from realm.analysis.preview import Preview

#: Names of one grouping that are printed; --json has all.
_NAMES = 12


def print_stats(name: str, found: Mapping[str, Any]) -> None:
    """What `realm.analysis.stats.statistics` found."""
    console = Console(highlight=False)
    _say(
        console,
        f"{printable(name)}: {found['cots']} CoTs for {found['questions']} questions",
        *([f"{found['without_cots']} questions without any"] if found["without_cots"] else []),
    )
    _say(
        console,
        f"{percent(found['teaches_contrast_share'])} of the questions can teach contrast: {found['teaches_contrast']} "
        "have right and wrong CoTs that are whole answers",
    )
    _say(
        console,
        f"usable, labelled and whole answers: {found['usable']} CoTs",
        f"error ratio {_with(found, 'usable_error_ratio')}",
    )
    _say(
        console,
        f"by label alone: mixed {found['mixed']} questions ({percent(found['mixed_share'])})",
        f"right ones only: {found['all_right']}",
        f"wrong ones only: {found['all_wrong']}",
    )
    console.print(_ratios(found))
    for title, counts in (("problems", found["problems"]), ("no label", found["reasons"])):
        if counts:
            named = (f"{printable(key, 40)} {counts[key]}" for key in list(counts)[:_NAMES])
            _say(console, f"{title}: {', '.join(named)}")
    for sentence in sentences(found["unreadable"]):
        _say(console, sentence)
    _print_guidance(console, found["guidance"])
    redundancy = found["redundancy"]
    if redundancy["pairs_compared"]:
        must = (
            ", as they must: the bank has two answers in all"
            if redundancy["two_answers"] and redundancy["wrong_agreement"] is not None
            else ""
        )
        _say(
            console,
            f"two wrong CoTs of a question agree: {_with(redundancy, 'wrong_agreement')}{must}",
            f"near-duplicates: {_with(redundancy, 'near_duplicates')} of the pairs",
            f"mean distance {redundancy['mean_distance']:.2f}",
            f"distinct answers per question {redundancy['distinct_answers']:.1f}",
            *(
                [f"unreadable ones, not counted: {unreadable}"]
                if (unreadable := redundancy["unreadable_answers"])
                else []
            ),
        )
    _print_lengths(console, found["lengths"])
    for teacher, sums in found["usage"].items():
        parts = [f"{value:,.0f} {key.replace('_', ' ')}" for key, value in sums.items() if not key.endswith("_cots")]
        _say(console, f"{printable(teacher, 40) or 'teacher'} reported {', '.join(parts)}")


def _ratios(found: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("CoTs of", no_wrap=True)
    for head in ("number", "right", "wrong", "no label", "error ratio [95 %]"):
        table.add_column(head, justify="right", no_wrap=True)
    rows: list[tuple[str, Mapping[str, Any]]] = [("all", found)]
    for grouping in ("guided", "teacher", "tag", "kind", "split"):
        groups = found[f"by_{grouping}"]
        if len(groups) > 1 or (grouping == "teacher" and groups):
            largest = sorted(groups, key=lambda key: -groups[key]["cots"])[:_NAMES]
            for key in largest:
                # Fits 80 columns.
                rows.append((key if grouping == "guided" else printable(f"{grouping} {key}", 28), groups[key]))
            if len(groups) > _NAMES:
                rows.append((f"({len(groups) - _NAMES} more: --json)", {}))
    for name, counts in rows:
        cells = [str(counts[key]) for key in ("cots", "right", "wrong", "unlabelled")] if counts else []
        # As Text: a name of the bank is no markup.
        table.add_row(Text(name), *cells, *([Text(_with(counts, "error_ratio"))] if counts else []))
    return table


def _print_guidance(console: Console, found: Mapping[str, Any]) -> None:
    if not found["questions"]:
        return
    rows = [("guidance changed the share of right CoTs by", found)]
    if len(found["by_teacher"]) > 1:
        rows += [(f"  {printable(name, 40)}", effect) for name, effect in found["by_teacher"].items()]
    usable = found["usable"]
    if usable["mean"] is not None and usable["mean"] != found["mean"]:
        rows.append(("  among the CoTs that are whole answers", usable))
    for name, effect in rows:
        ends, p = effect["interval"], effect["p"]
        reach = f" {bracketed(ends[0], ends[1], points)}" if ends else ""
        chance = f", p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}" if p is not None else ""
        said = f"{name} {points(effect['mean'])} points{reach}{chance}"
        _say(console, f"{said}, over {effect['questions']} questions with both")


def _print_lengths(console: Console, found: Mapping[str, Any]) -> None:
    for unit in ("words", "tokens"):
        spread = found.get(unit)
        if spread and spread["median"] is not None:
            middle, long = f"median {spread['median']:.0f}", f"95 % up to {spread['p95']:.0f}"
            longest = f"longest {spread['max']:.0f} (of {spread['sample']} CoTs)"
            _say(console, f"{unit} of a CoT: {middle}, {long}, {longest}")
    if "context" in found and found["context"]["questions"]:
        fit = found["context"]
        kept = "none" if fit["routes_that_fit"] is None else f"{fit['routes_that_fit']:.0f}"
        _say(
            console,
            f"a prompt of {fit['limit']} tokens holds all {fit['k']} routes for {percent(fit['all_fit'])} "
            f"of {fit['questions']} questions",
            f"median that fits {kept}",
            *([f"too long without any: {fit['question_alone_too_long']}"] if fit["question_alone_too_long"] else []),
        )


def print_patterns(name: str, found: Patterns, show: int) -> None:
    """What `realm.analysis.patterns.analyse` found, with the largest clusters and most repeated answers."""
    console = Console(highlight=False)
    console.print(Text(found.sentence), soft_wrap=True)
    sample = f", {found.analysed} of them by lot" if found.sampled else ""
    apart = f"; {found.left_out} more are no reasoning" if found.left_out else ""
    apart += f"; {found.unreadable} with an answer that the verifier cannot read" if found.unreadable else ""
    wrong = f"{found.wrong - found.left_out} wrong CoTs{sample}"
    _say(console, f"{printable(name)}: {wrong}, of {found.questions} questions{apart}")
    for title, test in _tests(found):
        if test.pairs and test.observed is not None and test.null is not None:
            habit = test.habit_share
            share = f", habit share {habit[0]:.2f} [{habit[1]:.2f}, {habit[2]:.2f}]" if habit else ""
            ratio = f" ({test.ratio:.1f} times)" if test.ratio is not None else ""
            pairs = f"{test.observed:.1%} of {test.pairs:,} pairs agree, by chance {test.null:.1%}"
            _say(console, f"  {title}: {pairs}{ratio}{share}, p = {test.p:.4f}")
    common = found.answers.common if found.answers else None
    if common is not None and common.share >= 0.01:
        said = f"{common.error} in {common.share:.1%} of {common.answers} wrong numbers, by chance {common.chance:.1%}"
        _say(console, f"  commonest error: {said}")
    if found.answers is not None and found.answers.overall.pairs:
        _say(
            console,
            "  by chance: errors keep their sizes, but not their questions; a question that by itself allows only a "
            "few wrong answers looks like a habit",
        )
    kinds = ", ".join(f"{kind} {count}" for kind, count in found.kinds.items())
    _say(console, f"first diverging step: {kinds or 'none'}")
    _say(
        console,
        f"the same diverging step at least three times: {percent(found.in_clusters)} of the wrong CoTs",
        f"in several questions: {percent(found.across_questions)}",
    )
    if found.hedged is not None:
        _say(
            console,
            f"hedged: {percent(found.hedged)} of the diverging steps, {percent(found.hedged_right)} of the right ones",
            f"citing a rule: {percent(found.cited)}, {percent(found.cited_right)}",
        )
    for one in found.clusters[:show]:
        if len(one.faults) > 1:
            _say(console, f"\n{len(one.faults)} CoTs, {one.questions} questions, {one.teachers} teachers: {one.kind}")
            _say(console, f"  wrong: {printable(one.step, 300)}")
            if one.right:
                _say(console, f"  right: {printable(one.right, 300)}")
            _say(console, f"  e.g. {', '.join(printable(fault.cot_id, 60) for fault in one.faults[:3])}")
    if found.repeated and show:
        _say(console, "\nmost repeated wrong answers:")
        for row in found.repeated[:show]:
            answer, gold = printable(row.answer, 60), printable(row.gold, 60)
            said = f"{printable(row.question_id, 40)}: {row.times} of {row.wrong} say {answer}, gold {gold}"
            _say(console, f"  {said}: {printable(row.question, 100)}")


def _tests(found: Patterns) -> list[tuple[str, Test]]:
    tests = []
    if found.answers is not None:
        tests.append(("answers, all pairs", found.answers.overall))
        if found.answers.within.pairs:
            tests.append(("answers, one teacher", found.answers.within))
            tests.append(("answers, two teachers", found.answers.across))
        tests.append(("answers, against shuffled ones", found.answers.shuffled))
    if found.rules is not None:
        tests.append((f"rules, other questions ({found.coverage:.0%} of the CoTs)", found.rules.across))
    return tests


def print_previews(found: Sequence[Preview]) -> None:
    """The routes that each strategy would show."""
    console = Console(highlight=False)
    for one in found:
        _say(console, f"\n{printable(one.question_id)}: {printable(one.question, 200)}")
        _say(console, f"gold {printable(one.answer, 80) or '–'}; {one.usable} CoTs to choose from")
        for shown in one.shown:
            apart = "" if shown.distance is None else f", mean distance {shown.distance:.2f}"
            wrong = sum(route.label == 0 for route in shown.routes)
            _say(console, f"  {shown.strategy}: {wrong} of {len(shown.routes)} wrong{apart}")
            for route in shown.routes:
                label = "right" if route.label else "wrong"
                answer, text = printable(route.answer, 24), printable(" ".join(route.text.split()), 60)
                _say(console, f"    {printable(route.id, 40)}  {label}  {answer}  {text}")


def _say(console: Console, *parts: str) -> None:
    """One line of parts; nothing in it is markup, and nothing is wrapped."""
    console.print(Text("; ".join(parts)), soft_wrap=True)


def _with(found: Mapping[str, Any], name: str) -> str:
    """A share with its interval."""
    ends = found[f"{name}_interval"]
    return percent(found[name]) + (f" {bracketed(*ends)}" if ends else "")
