"""What is in a bank: counts, error ratios, agreement, redundancy, lengths, and what guidance changed, in one pass.

Memory does not grow with the bank: counters, sums, resampled sums and samples of a fixed size are kept, no question.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from realm.analysis.redundancy import Redundancy
from realm.bank.cot import CoT
from realm.bank.scan import Group
from realm.bank.unreadable import Unreadable
from realm.method.routes import Route, Selection, select
from realm.method.seeds import rng
from realm.statistics.bootstrap import Ratio, poisson_weights
from realm.statistics.streams import Reservoir, spread
from realm.statistics.student import PairedMean
from realm.tasks.base import Question
from realm.tasks.verify import Exact, Verifier

#: CoTs whose words give the quantiles, and whose tokens are counted.
LENGTH_SAMPLE = 20_000
#: Questions whose routes are fitted to the student's context.
FIT_SAMPLE = 1_000
#: Names of one grouping that are counted apart; what comes later is counted under `OTHERS`.
NAMES, OTHERS = 1_000, "(others)"
_DEFAULT = Exact()


@dataclass(frozen=True)
class Student:
    """How a student reads.

    Attributes:
        tokens: of a text.
        fits: how many of the routes the prompt of a question can hold, from the first on; None where the question
            alone is too long.
        limit: tokens that a prompt may have.
        k: routes that a prompt should show.
    """

    tokens: Callable[[str], int]
    fits: Callable[[Question, Sequence[Route]], int | None]
    limit: int
    k: int


class _Counts:
    """CoTs by label."""

    def __init__(self) -> None:
        self._labels: Counter[int | None] = Counter()
        self._ratio = Ratio()

    def add(self, cots: Sequence[CoT], weights: np.ndarray) -> None:
        labels = Counter(cot.label for cot in cots)
        self._labels += labels
        self._ratio.add(labels[0], labels[0] + labels[1], weights)

    def summary(self) -> dict[str, Any]:
        return {
            "cots": sum(self._labels.values()),
            "right": self._labels[1],
            "wrong": self._labels[0],
            "unlabelled": self._labels[None],
            "error_ratio": self._ratio.value,
            "error_ratio_interval": self._ratio.interval(),
        }


class _Usable:
    """What training can show: labelled CoTs that are whole answers."""

    def __init__(self) -> None:
        self._counts = _Counts()
        self._contrast = Ratio()

    def add(self, cots: Sequence[CoT], weights: np.ndarray) -> None:
        """The CoTs of one question; one that nobody judged does not count among the questions."""
        usable = [cot for cot in cots if cot.usable]
        self._counts.add(usable, weights)
        # Judged is also what no verifier could read: such a question teaches no contrast.
        if any(cot.label is not None or cot.reason for cot in cots):
            self._contrast.add(len({cot.label for cot in usable}) == 2, 1, weights)

    def summary(self) -> dict[str, Any]:
        counts = self._counts.summary()
        return {
            "usable": counts["cots"],
            "usable_right": counts["right"],
            "usable_wrong": counts["wrong"],
            "usable_error_ratio": counts["error_ratio"],
            "usable_error_ratio_interval": counts["error_ratio_interval"],
            "teaches_contrast": int(self._contrast.above),
            "teaches_contrast_share": self._contrast.value,
            "teaches_contrast_share_interval": self._contrast.interval(),
        }


class _Grouping:
    """Counts by a name of the CoT or of its question; a CoT can have several names (tags)."""

    def __init__(self) -> None:
        self._counts: dict[str, _Counts] = {}

    def add(self, named: Iterable[tuple[str, CoT]], weights: np.ndarray) -> None:
        parts: dict[str, list[CoT]] = {}
        for name, cot in named:
            parts.setdefault(name, []).append(cot)
        for name, cots in parts.items():
            place = name if name in self._counts or len(self._counts) < NAMES else OTHERS
            self._counts.setdefault(place, _Counts()).add(cots, weights)

    def summary(self) -> dict[str, Any]:
        return {name: self._counts[name].summary() for name in sorted(self._counts)}


class _Guidance:
    """Mean label of guided minus that of unguided CoTs, paired by question: over all, and within each teacher."""

    def __init__(self) -> None:
        self._all = PairedMean()
        self._teachers: dict[str, PairedMean] = {}

    def add(self, cots: Sequence[CoT]) -> None:
        judged = [cot for cot in cots if cot.label is not None]
        if len({cot.guided for cot in judged}) < 2:
            return
        self._pair(judged, self._all)
        for teacher in sorted({cot.teacher for cot in judged}):
            own = [cot for cot in judged if cot.teacher == teacher]
            if len({cot.guided for cot in own}) == 2:
                place = teacher if teacher in self._teachers or len(self._teachers) < NAMES else OTHERS
                self._pair(own, self._teachers.setdefault(place, PairedMean()))

    @staticmethod
    def _pair(cots: Sequence[CoT], into: PairedMean) -> None:
        guided = [cot.label or 0 for cot in cots if cot.guided]
        plain = [cot.label or 0 for cot in cots if not cot.guided]
        into.add(sum(guided) / len(guided) - sum(plain) / len(plain))

    def summary(self) -> dict[str, Any]:
        teachers = {name: self._teachers[name].summary() for name in sorted(self._teachers)}
        return {**self._all.summary(), "by_teacher": teachers}


class _Usage:
    """Tokens and seconds that the teacher reported."""

    def __init__(self) -> None:
        self._sums: dict[str, Counter[str]] = {}

    def add(self, cots: Iterable[CoT]) -> None:
        for cot in cots:
            place = cot.teacher if cot.teacher in self._sums or len(self._sums) < NAMES else OTHERS
            sums = self._sums.setdefault(place, Counter())
            for name in ("prompt_tokens", "completion_tokens", "seconds"):
                value = getattr(cot, name)
                if value is not None:
                    sums[name] += value
                    sums[f"{name}_cots"] += 1

    def summary(self) -> dict[str, dict[str, float]]:
        return {name: dict(sums) for name, sums in sorted(self._sums.items()) if sums}


class _Lengths:
    """Words of the CoTs, and what they are to a student."""

    def __init__(self, student: Student | None, seed: int) -> None:
        self._student, self._seed = student, seed
        self._words = self._count = 0
        self._sample: Reservoir[int] = Reservoir(LENGTH_SAMPLE, seed, "words")
        self._texts: Reservoir[str] = Reservoir(LENGTH_SAMPLE, seed, "texts")
        self._groups: Reservoir[tuple[Question, list[Route]]] = Reservoir(FIT_SAMPLE, seed, "groups")

    def add(self, question: Question | None, cots: Sequence[CoT]) -> None:
        for cot in cots:
            words = len(cot.text.split())
            self._words += words
            self._count += 1
            self._sample.add(words)
            if self._student:
                self._texts.add(cot.text)
        routes = [cot.route() for cot in cots if cot.usable]
        if self._student and question is not None and routes:
            self._groups.add((question, routes))

    def summary(self) -> dict[str, Any]:
        words = spread(self._sample.items, self._words / self._count if self._count else None)
        found: dict[str, Any] = {"words": {**words, "sample": len(self._sample.items)}}
        if self._student:
            tokens = [self._student.tokens(text) for text in self._texts.items]
            found["tokens"] = {**spread(tokens), "sample": len(tokens)}
            found["context"] = self._context(self._student)
        return found

    def _context(self, student: Student) -> dict[str, Any]:
        """How many routes of a prompt of k (drawn by `random`) fit the student, over the sampled questions."""
        kept: Counter[int] = Counter()
        too_long = whole = 0
        for number, (question, routes) in enumerate(self._groups.items):
            source = rng(self._seed, "fit", number)
            drawn = select(sorted(routes, key=lambda route: route.id), Selection(student.k), source)
            shown = student.fits(question, drawn)
            if shown is None:
                too_long += 1
            else:
                kept[shown] += 1
                whole += shown == len(drawn)
        questions = len(self._groups.items)
        return {
            "limit": student.limit,
            "k": student.k,
            "questions": questions,
            "all_fit": whole / questions if questions else None,
            "question_alone_too_long": too_long,
            "routes_that_fit": spread(list(kept.elements()))["median"],
            "histogram": {str(number): kept[number] for number in sorted(kept)},
        }


def statistics(
    groups: Iterable[Group],
    *,
    verifier: Verifier = _DEFAULT,
    seed: int = 0,
    student: Student | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Everything that `realm bank stats` tells, as JSON, in one pass over the groups.

    Args:
        groups: every question with all its CoTs, labels applied.
        verifier: tells which answers are the same.
        seed: of the resamples and samples; equal seeds give equal figures (those of `lengths` that rest on a sample,
            in the same order of groups only).
        student: for tokens and for the routes that fit; without it only words are counted.
        progress: called with the number of questions read.

    Two populations are told apart. The labelled CoTs say how good the teachers are, where they state an answer that the
    verifier can read. Of them the usable ones (without a `problem`) are what training can show.

    Returns:
        - of the labelled CoTs: counts (`questions` have a CoT; `all_right`, `mixed` and `all_wrong` those with a
          labelled one, of which `mixed_share` is mixed), error ratios (share of wrong ones) over all and by teacher,
          guidance, tag, kind and split, and `guidance` (see `PairedMean`), with the same effect over the usable ones
          alone as `guidance.usable`;
        - of the usable ones: `usable`, `usable_right`, `usable_wrong`, `usable_error_ratio`, and `teaches_contrast`,
          the questions that have right and wrong ones, with their share of those with a labelled CoT; and how often
          two wrong ones agree (in `redundancy`);
        - of all: the rest of `redundancy`, `lengths`, `usage` (sums over the CoTs that record it), how often each
          problem and each of the verifier's reasons occurs, and `unreadable` (see `Unreadable.summary`).
        A share without a denominator is None. Every `…_interval` is the 95 % Poisson bootstrap over questions.
    """
    total, redundancy, guidance = _Counts(), Redundancy(verifier, seed), _Guidance()
    lengths, usage, mixed = _Lengths(student, seed), _Usage(), Ratio()
    usable, guidance_usable = _Usable(), _Guidance()
    by: dict[str, _Grouping] = {name: _Grouping() for name in ("guided", "teacher", "tag", "kind", "split")}
    problems: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    unreadable = Unreadable()
    for done, (question, cots) in enumerate(groups, start=1):
        progress(done)
        if not cots:
            outcomes["without_cots"] += 1
            continue
        question_id = cots[0].question_id
        weights = poisson_weights(seed, question_id)
        labels = {cot.label for cot in cots} - {None}
        outcomes["questions"] += 1
        outcomes["unknown_questions"] += question is None
        if labels:
            outcomes["mixed" if len(labels) == 2 else "all_right" if labels == {1} else "all_wrong"] += 1
            mixed.add(len(labels) == 2, 1, weights)
        total.add(cots, weights)
        usable.add(cots, weights)
        by["guided"].add((("guided" if cot.guided else "unguided", cot) for cot in cots), weights)
        by["teacher"].add(((cot.teacher, cot) for cot in cots), weights)
        if question is not None:
            by["tag"].add(((tag, cot) for tag in set(question.tags) for cot in cots), weights)
            by["kind"].add(((question.kind, cot) for cot in cots if question.kind), weights)
            by["split"].add(((question.split, cot) for cot in cots), weights)
        redundancy.add(question_id, cots, weights, question.kind if question else "")
        guidance.add(cots)
        guidance_usable.add([cot for cot in cots if cot.usable])
        lengths.add(question, cots)
        usage.add(cots)
        unreadable.add(question, cots)
        problems.update(cot.problem for cot in cots if cot.problem)
        # What follows the colon is the error's own message: of those there can be any number.
        reasons.update(cot.reason.partition(":")[0] for cot in cots if cot.reason)
    names = ("questions", "without_cots", "unknown_questions", "all_right", "mixed", "all_wrong")
    return {
        **{name: outcomes[name] for name in names},
        **total.summary(),
        **usable.summary(),
        "mixed_share": mixed.value,
        "mixed_share_interval": mixed.interval(),
        **{f"by_{name}": grouping.summary() for name, grouping in by.items()},
        "problems": dict(problems.most_common()),
        "reasons": dict(reasons.most_common(NAMES)),
        "unreadable": unreadable.summary(),
        "guidance": {**guidance.summary(), "usable": guidance_usable.summary()},
        "redundancy": redundancy.summary(),
        "lengths": lengths.summary(),
        "usage": usage.summary(),
    }
