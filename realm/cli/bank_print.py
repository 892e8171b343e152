"""How the commands that look at a bank print what they found. Whatever the bank holds is made printable first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from realm.bank.unreadable import sentences
from realm.display import printable
from realm.pages import bank_tables as tables
from realm.text import percent

if TYPE_CHECKING:
    from realm.analysis.agreement import Test
    from realm.analysis.patterns import Patterns
    from realm.analysis.preview import Preview
    from realm.pages.table import Table


def print_stats(name: str, found: Mapping[str, Any]) -> None:
    """What `realm.analysis.stats.statistics` found."""
    console = Console(highlight=False)
    _say(console, f"{printable(name)}: {found['cots']} CoTs for {found['questions']} questions")
    for title, table in (
        ("", tables.count_table(found)),
        ("", tables.ratio_table(found)),
        ("not judged", tables.reason_table(found)),
        ("what guidance changed", tables.guidance_table(found)),
        ("redundancy", tables.redundancy_table(found)),
        ("lengths", tables.length_table(found)),
    ):
        _show(console, title, table)
    for sentence in [*sentences(found["unreadable"]), tables.context_sentence(found)]:
        if sentence:
            _say(console, sentence)
    for teacher, sums in found["usage"].items():
        parts = [f"{value:,.0f} {key.replace('_', ' ')}" for key, value in sums.items() if not key.endswith("_cots")]
        _say(console, f"{printable(teacher, 40) or 'teacher'} reported {', '.join(parts)}")


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
    for one in found.clusters[:show]:
        if len(one.faults) > 1:
            _say(console, f"\n{len(one.faults)} CoTs, {one.questions} questions, {one.teachers} teachers: {one.kind}")
            _say(console, f"  wrong: {printable(one.step, 300)}")
            if one.right:
                _say(console, f"  right: {printable(one.right, 300)}")
            _say(console, f"  e.g. {', '.join(printable(fault.cot_id, 60) for fault in one.faults[:3])}")
    if show:
        _show(console, "the same wrong answer", tables.repeated_table(found.as_dict(), show))


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


def _show(console: Console, title: str, table: Table | None) -> None:
    if table is not None:
        shown = table.to_rich(title or None)
        shown.box = None
        console.print(shown)
