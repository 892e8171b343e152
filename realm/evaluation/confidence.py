"""When an answer may be trusted: how far its confidence tells whether it is right.

Calibration (the expected calibration error of Naeini et al., AAAI 2015, and the Brier score), the area under the curve
of risk over coverage (Geifman and El-Yaniv, NeurIPS 2017), and the confidence from which on answers are as often right
as wanted, which is chosen on one split and told on another. Intervals resample questions; a share of all or of none of
the answers has the exact one.

The expected calibration error is lifted above 0 by chance alone, and more so in resamples: its interval begins where
the percentile bootstrap's or the basic one's does, whichever is lower, and at 0 where answers whose confidence is the
truth would have as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import NamedTuple

import numpy as np

from realm.config import Config
from realm.evaluation.measures import majority
from realm.method.seeds import derive
from realm.rows.evaluation import Confidence, Estimate, Evaluation, Prediction, Trusted
from realm.statistics.bootstrap import certain_ends, chunks, ends, quotients

#: Bins of equal width of the calibration error, the most points of a curve, and draws under perfect calibration.
BINS, POINTS, DRAWS = 10, 20, 400
#: The answers of one question: confidence, None where there is none, and whether each is right.
Rated = Sequence[tuple[float | None, bool]]


class _Figures(NamedTuple):
    """Of resamples, shape (resamples,); NaN where a figure is not defined. `covered` and `wrong` count what is at least
    as sure as none, one, two … of the distinct confidences, highest first, (resamples, 1 + confidences)."""

    ece: np.ndarray
    brier: np.ndarray
    auroc: np.ndarray
    aurc: np.ndarray
    best: np.ndarray
    covered: np.ndarray
    wrong: np.ndarray


@dataclass(frozen=True)
class _Answers:
    """All answers, the surest first, those without a confidence (-1) last; `owner` is the place of their question."""

    level: np.ndarray
    right: np.ndarray
    owner: np.ndarray
    questions: int

    @classmethod
    def of(cls, questions: Sequence[Rated]) -> _Answers:
        rows = [(-1.0 if c is None else c, right, place) for place, one in enumerate(questions) for c, right in one]
        level, right, owner = (np.array(column) for column in zip(*sorted(rows, key=lambda row: -row[0]), strict=True))
        return cls(level, right.astype(float), owner, len(questions))

    @property
    def starts(self) -> np.ndarray:
        """The place of the first answer of each distinct confidence."""
        return np.flatnonzero(np.diff(self.level, prepend=2.0))

    def figures(self, weights: np.ndarray) -> _Figures:
        """Of resamples in which each answer is so often, `weights` (resamples, answers)."""
        wrong, known = 1 - self.right, self.level >= 0
        size, lost = (np.add.reduceat(each, self.starts, axis=1) for each in (weights, weights * wrong))
        covered, errors = (np.pad(each.cumsum(1), ((0, 0), (1, 0))) for each in (size, lost))
        before, errors_before = covered[:, :-1], errors[:, :-1]
        rated, n, all_wrong = weights[:, known].sum(1), covered[:, -1], errors[:, -1]
        harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, int(n.max()) + 1))])

        def steps(start: np.ndarray, end: np.ndarray) -> np.ndarray:
            return harmonic[end.astype(int)] - harmonic[start.astype(int)]

        # Answers of equal confidence come in any order: the mean risk over all orders, summed in closed form.
        share = np.divide(lost, size, out=np.zeros_like(lost), where=size > 0)
        risks = (lost + (errors_before - before * share) * steps(before, covered[:, 1:])).sum(1)
        best = all_wrong - (n - all_wrong) * steps(n - all_wrong, n)
        above = (lost * (before - errors_before + (size - lost) / 2)).sum(1)
        bins = np.eye(BINS)[np.minimum((self.level[known] * BINS).astype(int), BINS - 1)]
        off = (self.level - self.right)[known]
        return _Figures(
            ece=quotients(np.abs(weights[:, known] @ (bins * off[:, None])).sum(1), rated),
            brier=quotients(weights[:, known] @ off**2, rated),
            auroc=quotients(above, all_wrong * (n - all_wrong)),
            aurc=risks / n,
            best=best / n,
            covered=covered,
            wrong=errors,
        )

    def above(self, level: float | None) -> int:
        """How many of the distinct confidences are at least that; 0 for no level."""
        return 0 if level is None else int((self.level[self.starts] >= level).sum())

    def calibrated(self, seed: int) -> float:
        """The expected calibration error that answers exceed once in forty where each is as often right as it says."""
        level = self.level[self.level >= 0]
        source = np.random.default_rng(derive(seed, "calibrated"))
        bins = np.eye(BINS)[np.minimum((level * BINS).astype(int), BINS - 1)]
        off = level - (source.random((DRAWS, len(level))) < level)
        return float(np.quantile(np.abs(off @ bins).sum(1) / len(level), 0.975))


def rated(row: Prediction, by: str) -> Rated:
    """How sure the answers of a question are, and whether they are right; of votes the answer of the most alone."""
    if by != "votes":
        return [(item.confidence, item.correct) for item in row.completions]
    place, votes = majority([item.answer for item in row.completions])
    return [(votes / len(row.completions) or None, votes > 0 and row.completions[place].correct)]


def measure(questions: Sequence[Rated], by: str, resamples: int, seed: int, level: float | None = None) -> Confidence:
    """What the confidence of the answers to a split's questions is worth.

    Args:
        level: a threshold, chosen elsewhere; what it gives here is told too.

    Raises:
        ValueError: there is no question.
    """
    return pooled([questions], by, resamples, seed, [level])


def pooled(
    runs: Sequence[Sequence[Rated]], by: str, resamples: int, seed: int, levels: Sequence[float | None]
) -> Confidence:
    """The same of several runs, which answered the same questions: means over them, and intervals over both.

    Of what is trusted, by the threshold of each run, all of it counts alike; the one that is told is their mean. There
    is no curve of several.

    Args:
        runs: each in the same order of the questions.
    """
    answers = [_Answers.of(questions) for questions in runs]
    first, several = answers[0], len(answers) > 1
    value = [one.figures(np.ones((1, len(one.level)))) for one in answers]
    spread, drawn = _resampled(answers, resamples, seed)
    sides = [(value, np.ones((1, len(answers)))), (spread, drawn)]

    def mean(name: str) -> Estimate | None:
        found = (np.mean([getattr(one, name) for one in side] * often.T, axis=0) for side, often in sides)
        return _estimate(*found)

    def trusted(levels: Sequence[float | None]) -> Trusted:
        def count(name: str, places: Sequence[int]) -> list[np.ndarray]:
            taken = ([getattr(one, name)[:, at] for one, at in zip(side, places, strict=True)] for side, _ in sides)
            return [np.sum(each * often.T, axis=0) for each, (_, often) in zip(taken, sides, strict=True)]

        pairs = [(one, level) for one, level in zip(answers, levels, strict=True) if level is not None]
        places = [one.above(level) for one, level in zip(answers, levels, strict=True)]
        covered, everything = count("covered", places), count("covered", [-1] * len(answers))
        coverage = _share(first.questions, *map(quotients, covered, everything))
        asked = {place for one, level in pairs for place in one.owner[one.level >= level].tolist()}
        right = _share(len(asked), *(1 - share for share in map(quotients, count("wrong", places), covered)))
        assert coverage is not None
        return Trusted(threshold=fmean(level for _, level in pairs), coverage=coverage, right=right)

    ece, aurc = mean("ece"), mean("aurc")
    if ece is not None:
        low = max(0.0, min(ece.low, 2 * ece.value - ece.high))
        ece = replace(ece, low=0.0 if ece.value <= fmean(one.calibrated(seed) for one in answers) else low)
    assert aurc is not None
    distinct = first.level[first.starts]
    known = 0 if several else int((distinct >= 0).sum())
    places = sorted({round(place) for place in np.linspace(0, known - 1, POINTS)}) if known else []
    missing = sum(int((one.level < 0).sum()) for one in answers)
    return Confidence(
        by=by,
        n=sum(len(one.level) for one in answers) - missing,
        missing=missing,
        ece=ece,
        brier=mean("brier"),
        auroc=mean("auroc"),
        aurc=aurc,
        aurc_best=fmean(float(one.best[0]) for one in value),
        curve=tuple(trusted([float(distinct[place])]) for place in places),
        trusted=trusted(levels) if any(level is not None for level in levels) else None,
    )


def _resampled(answers: Sequence[_Answers], resamples: int, seed: int) -> tuple[list[_Figures], np.ndarray]:
    """The figures of each run in resamples of the questions, and how often it is in each, (resamples, runs)."""
    source = np.random.default_rng(derive(seed, "confidence"))
    questions, runs = (np.full(n, 1 / n) for n in (answers[0].questions, len(answers)))
    found: list[list[_Figures]] = [[] for _ in answers]
    drawn = []
    for rows in chunks(resamples, max(len(one.level) for one in answers)):
        weights = source.multinomial(len(questions), questions, rows).astype(float)
        drawn.append(source.multinomial(len(runs), runs, rows))
        for one, figures in zip(answers, found, strict=True):
            figures.append(one.figures(weights[:, one.owner]))
    return [_Figures(*map(np.concatenate, zip(*each, strict=True))) for each in found], np.concatenate(drawn)


def _estimate(value: np.ndarray, resampled: np.ndarray) -> Estimate | None:
    if np.isnan(value[0]):
        return None
    low, high = ends(resampled)
    return Estimate(value=float(value[0]), low=low, high=high)


def _share(questions: int, value: np.ndarray, resampled: np.ndarray) -> Estimate | None:
    """A share of that many questions' answers; exact where it is 0 or 1, of which resamples have no other."""
    found = _estimate(value, resampled)
    if found is None or found.value not in (0.0, 1.0):
        return found
    low, high = certain_ends(found.value, questions)
    return replace(found, low=low, high=high)


def threshold(questions: Sequence[Rated], wanted: float) -> float | None:
    """The lowest confidence from which on the share of right answers is at least `wanted`; None where there is none."""
    answers = _Answers.of(questions)
    found = answers.figures(np.ones((1, len(answers.level))))
    levels, covered = answers.level[answers.starts], found.covered[0, 1:]
    enough = ((covered - found.wrong[0, 1:]) / covered >= wanted) & (levels >= 0)
    return float(levels[enough][-1]) if enough.any() else None


def told(summaries: Sequence[Evaluation], predictions: Sequence[Prediction], config: Config) -> list[Evaluation]:
    """Summaries with what the confidence of their answers is worth, where the configuration asks for it.

    Without and with routes the threshold is chosen among the answers of the same kind.
    """
    settings, seed = config.evaluation, config.run.seed
    by = settings.confidence
    if by is None:
        return list(summaries)
    passes: dict[tuple[str, int], list[Rated]] = {}
    for one in predictions:
        passes.setdefault((one.split, one.routes), []).append(rated(one, by))
    found = []
    for row in summaries:
        chosen = passes.get((settings.precision_on, row.routes), [])
        level = threshold(chosen, settings.precision) if chosen else None
        here = row.split == settings.precision_on
        confidence = measure(passes[row.split, row.routes], by, settings.bootstrap, seed, None if here else level)
        confidence = replace(
            confidence,
            wanted=settings.precision,
            chosen_on=settings.precision_on if chosen else None,
            threshold=level,
        )
        found.append(replace(row, confidence=confidence))
    return found
