"""The table of an evaluation, as `realm train` and `realm evaluate` print it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rich.console import Console
from rich.table import Table
from rich.text import Text

from realm.pages.trust import told
from realm.pages.verdict import HARDLY
from realm.rows.evaluation import Evaluation
from realm.text import NONE, bracketed, hundredths, points


def print_results(title: str, summaries: Sequence[Evaluation]) -> None:
    """One row for each split without and with routes. Fits 80 columns."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("split", no_wrap=True)
    for name in ("routes", "n", "accuracy [95 %]", "same_err", "scoring", "unparsed", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in summaries:
        table.add_row(
            row.split,
            str(row.routes),
            str(row.n),
            _interval(row),
            _percent(row.same_err),
            _percent(row.scoring_accuracy),
            _percent(row.parse_failures),
            f"{row.completion_tokens or 0.0:.0f}",
        )
    console = Console()
    say = partial(console.print, markup=False, highlight=False)
    console.print(table)
    console.print(
        "In percent, but for n (questions) and tokens (of a completion). same_err: wrong answers that repeat a shown "
        "route's wrong answer; scoring: routes judged rightly; unparsed: completions with a parse failure.",
        style="dim",
        highlight=False,
    )
    if sums := [row for row in summaries if row.sums]:
        each = (f"{row.split}{', with routes' if row.routes else ''} {_percent(row.true_sums)}" for row in sums)
        say(f"True sums, of those stated: {'; '.join(each)}.")
    for row in summaries:
        if (
            row.before is not None
            and row.change is not None
            and row.change_low is not None
            and row.change_high is not None
        ):
            was, now = ("unedited", "edited") if row.edited else ("untrained", "trained")
            say(
                f"{row.split}: {hundredths(row.before)} {was}, {hundredths(row.accuracy)} {now}; "
                f"{points(row.change)} points {bracketed(row.change_low, row.change_high, points)}.{_moved(row)}"
            )
    for row in summaries:
        if row.over_shortest is not None and not row.routes:
            form = "{:.2f}".format
            over = f"{form(row.over_shortest.value)} {bracketed(row.over_shortest.low, row.over_shortest.high, form)}"
            places = (
                "" if row.stated_at is None else f"; the answer has been stated after {row.stated_at.value:.0%} of them"
            )
            say(f"Tokens, {row.split}: {over} times those of the shortest right CoTs of the bank{places}.")
        if row.confidence is not None:
            where = f"{row.split}{', with routes' if row.routes else ''}"
            say(f"When to trust it, {where}: {told(row.confidence)}")
    short = max(summaries, key=lambda row: row.routes_dropped or 0.0, default=None)
    if short is not None and short.routes_dropped:
        shown = f"{short.routes_per_prompt:.2g} routes a prompt were" if short.routes_per_prompt else "No route was"
        console.print(
            f"{shown} shown, {short.routes_dropped:.2g} left out ({short.split}, {short.routes} routes): the context "
            "has no room. Raise model.context, or lower evaluation.max_completion_length or routes.k.",
            highlight=False,
        )
    few = [row for row in summaries if row.fewer_routes]
    if few and not any(row.routes_dropped for row in few):
        each = (f"{row.split} {row.routes_per_prompt:.2g} of {row.routes}" for row in few)
        say(f"The bank has fewer routes than were asked for; shown a prompt: {'; '.join(each)}.")
    ran = [row.executed for row in summaries if row.executed is not None]
    if ran:
        how = "With" if max(ran) >= HARDLY else "Hardly with"
        console.print(
            f"{how} a tool: {hundredths(min(ran))} to {hundredths(max(ran))} % of the completions are programs, which "
            "were run for their answers (prompt.execute).",
            highlight=False,
        )
    worst = max(summaries, key=lambda row: row.unreadable_answers or 0.0, default=None)
    if worst is not None and worst.unreadable_answers:
        where = f"{worst.split}, {worst.routes} routes"
        say(
            f"The verifier could not read up to {_percent(worst.unreadable_answers)} % of the answers ({where}), "
            f"e.g. {', '.join(worst.unreadable_examples)}. They count as wrong; where they are right, choose "
            "another task.verifier."
        )


def _moved(row: Evaluation) -> str:
    """What became of the answers to edited questions."""
    if row.edited is None:
        return ""
    each = (("change", row.edited.n, row.edited.changed), ("stay", row.n - row.edited.n, row.edited.stayed))
    said = (
        f"that should {what}: {hundredths(found.value)} {bracketed(found.low, found.high)} % of {n} did"
        for what, n, found in each
        if found is not None
    )
    return f" Answers {'; '.join(said)}."


def _interval(row: Evaluation) -> Text:
    """The accuracy and its interval in per cent, `61.3 [56.5, 66.0]`; as Text, since brackets are markup."""
    return Text(f"{hundredths(row.accuracy)} {bracketed(row.accuracy_low, row.accuracy_high)}")


def _percent(share: float | None) -> str:
    return NONE if share is None else hundredths(share)
