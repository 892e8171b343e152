"""Do the wrong answers of one question agree more often than chance would have them?

What chance means has to be said. Two nulls are tested, both by permutation within the bank:

- `shuffled`: the wrong answers are dealt out again over all questions. Answers live on different scales, so nearly
  every bank agrees more than that; it is the weak null, and only shows that the answers depend on the questions.
- `near_miss`: every error keeps its size, but not its question. An error is taken relative to the gold (a difference,
  a ratio, an edit of the text) and dealt out again among questions whose golds are alike (same kind and order of
  magnitude or length), or whose numbers miss by as much (same order of magnitude of their median difference). So two
  CoTs agree as often as two independent mistakes of the usual sizes would: common slips (off by one, doubled, a factor
  of ten), narrow ranges, few alternatives, and questions of small errors beside those of large ones are all accounted
  for. Where few answers are possible at all (yes or no, the letters of a choice), a wrong one is also drawn among
  these without its gold, each as often as it is drawn in the bank, so that neither that there are few nor that one of
  them is liked (everything is a B) looks like a habit. Of the ways to express an error the one with the highest
  agreement is taken, so that the null is the hardest of them; where errors are independent it is a little too hard.

What remains is an assumption: that a question allows as many wrong answers as others like it. One that by its own
wording allows only a few (three distractors, say, each as likely) cannot be told from a habit of that question.

The effect is the excess agreement κ = (observed − null) / (1 − null): 0 where errors are independent near misses, 1
where all wrong CoTs of a question agree. Were a share h of the wrong CoTs to follow one habit of their question and
the rest to err independently, κ would be h²; √κ is therefore reported as the habit share.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from realm.analysis.sizes import Common, commonest, read_plain
from realm.statistics.bootstrap import ends, poisson_sums

#: Strata with fewer answers or questions than this are merged with others of their kind.
STRATUM = 30
#: Few answers are possible where this many are all of the golds and wrong answers, but for `_RARE` of either, and come
#: again and again: `_EACH` times.
FEW, _RARE, _EACH = 10, 0.05, 10
#: Permutations by which the hardest way to express an error is found.
_TRIAL = 30
_REDRAWS, _FITS = 20, 200


@dataclass(frozen=True)
class Wrong:
    """One wrong answer: of which unit (question) and source (teacher) it is, and the gold it misses."""

    unit: str
    source: str
    answer: str
    gold: str


@dataclass(frozen=True)
class Test:
    """Agreement over one set of pairs, against one null. Shares in [0, 1]; None where there is no pair.

    `interval`s are 95 % bootstrap intervals over units; `p` is the share of permutations (the bank itself counted as
    one) that agree at least as often: the smallest that P permutations can show is 1 / (P + 1).
    """

    pairs: int
    observed: float | None
    null: float | None
    excess: float | None
    excess_interval: tuple[float, float] | None
    ratio: float | None
    p: float | None

    @property
    def habit_share(self) -> tuple[float, float, float] | None:
        """√κ with its interval: value, low, high."""
        if self.excess is None or self.excess_interval is None:
            return None
        value, low, high = (math.sqrt(max(0.0, end)) for end in (self.excess, *self.excess_interval))
        return value, low, high


@dataclass(frozen=True)
class Agreement:
    """The tests over all pairs of a unit, the pairs of one source, and those of different sources.

    `possible`: where few answers are (`FEW`), these in the order of their texts; else none.
    """

    answers: int
    units: int
    error: str
    overall: Test
    within: Test
    across: Test
    shuffled: Test
    common: Common | None
    possible: tuple[str, ...]


class _Pairs:
    """Counts agreeing pairs, given what each answer is; the answers' units and sources are fixed."""

    def __init__(self, units: np.ndarray, sources: np.ndarray) -> None:
        self._units, self.size = units, int(units.max()) + 1
        _, self._cells = np.unique(units * (int(sources.max()) + 1) + sources, return_inverse=True)
        self._unit_of_cell = np.zeros(int(self._cells.max()) + 1, dtype=np.int64)
        self._unit_of_cell[self._cells] = units
        overall = _pairs_of(np.bincount(units, minlength=self.size))
        within = np.bincount(self._unit_of_cell, _pairs_of(np.bincount(self._cells)), self.size)
        #: Pairs of each unit, by set: rows overall, within, across.
        self.all = np.stack([overall, within, overall - within])

    def agreeing(self, codes: np.ndarray) -> np.ndarray:
        """Agreeing pairs of each unit, shape (3, units), in the order of `all`. `codes`: equal for equal answers."""
        overall = self._count(self._units, codes, self._units)
        within = self._count(self._cells, codes, self._units)
        return np.stack([overall, within, overall - within])

    def _count(self, cells: np.ndarray, codes: np.ndarray, units: np.ndarray) -> np.ndarray:
        keys = cells * (int(codes.max()) + 1) + codes
        _, first, counts = np.unique(keys, return_index=True, return_counts=True)
        return np.bincount(units[first], _pairs_of(counts), self.size)


def _pairs_of(counts: np.ndarray) -> np.ndarray:
    return (counts * (counts - 1) / 2).astype(np.float64)


@dataclass(frozen=True)
class _Error:
    """One way to express the errors: a code for each (equal codes are equal errors) and the stratum it is dealt in.

    `gold`: the code of the unit's own gold, for errors that are answers themselves and must not become right; else −1.
    `drawn`: a code is drawn among them all by these weights instead, shape (codes,), and never the own gold.
    """

    name: str
    codes: np.ndarray
    strata: np.ndarray
    gold: np.ndarray
    drawn: np.ndarray | None = None


class _Drawer:
    """Draws every answer anew among the few possible ones, its own gold left out."""

    def __init__(self, error: _Error, source: np.random.Generator) -> None:
        assert error.drawn is not None
        golds, self._row = np.unique(error.gold, return_inverse=True)
        weights = np.repeat(error.drawn[None], len(golds), axis=0)
        weights[np.arange(len(golds)), golds] = 0.0
        # Rows of cumulated shares, each in a unit of its own, so that one search serves all of them.
        shares = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
        self._steps = (shares + np.arange(len(golds))[:, None]).ravel()
        self._source, self._size = source, len(error.drawn)

    def deal(self) -> np.ndarray:
        found = np.searchsorted(self._steps, self._row + self._source.random(len(self._row)), side="right")
        return found - self._row * self._size


class _Dealer:
    """Deals errors out again within their strata."""

    def __init__(self, error: _Error, source: np.random.Generator) -> None:
        self._error, self._source = error, source
        self._order = np.argsort(error.strata, kind="stable")
        ordered = error.strata[self._order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        sizes = np.diff(np.r_[starts, len(ordered)])
        of = np.repeat(np.arange(len(starts)), sizes)
        self._start, self._size = np.empty(len(of), np.int64), np.empty(len(of), np.int64)
        self._start[self._order], self._size[self._order] = starts[of], sizes[of]
        self._sorted = ordered

    def deal(self) -> np.ndarray:
        """The codes, each at the place of another of its stratum; one that would be the gold is drawn anew."""
        error = self._error
        shuffled = np.lexsort((self._source.random(len(self._sorted)), self._sorted))
        dealt = np.empty_like(error.codes)
        dealt[self._order] = error.codes[self._order[shuffled]]
        for _ in range(_REDRAWS):
            bad = np.flatnonzero(dealt == error.gold)
            if not bad.size:
                break
            pick = self._start[bad] + (self._source.random(bad.size) * self._size[bad]).astype(np.int64)
            dealt[bad] = error.codes[self._order[pick]]
        return dealt


def agreement(wrong: Sequence[Wrong], *, permutations: int, seed: int) -> Agreement:
    """Test the agreement of wrong answers within their units.

    Empty answers must have been left out; `shuffled` gets a fifth of the permutations. Time: about 3 ms a permutation
    for 10 000 answers. Raises `ValueError` for no answer at all.
    """
    if not wrong:
        raise ValueError("agreement needs wrong answers")
    source = np.random.default_rng(seed)
    units = _codes([one.unit for one in wrong])
    pairs = _Pairs(units, _codes([one.source for one in wrong]))
    errors, possible = _errors(wrong)
    trials = {error.name: _null(pairs, error, _TRIAL, source)[0][0].sum() for error in errors}
    hardest = max(errors, key=lambda error: trials[error.name])
    # What was observed is the answers' own agreement, however the errors are dealt.
    observed = pairs.agreeing(errors[0].codes)
    mean, totals = _null(pairs, hardest, permutations, source)
    weights = np.random.default_rng(seed + 1)
    overall, within, across = (
        _test(observed[row], mean[row], totals[row], pairs.all[row], weights) for row in range(3)
    )
    flat = _Error(
        "shuffled", _codes([_plain(one.answer) for one in wrong]), np.zeros_like(units), np.full_like(units, -1)
    )
    flat_mean, flat_totals = _null(pairs, flat, max(_TRIAL, permutations // 5), source)
    shuffled = _test(pairs.agreeing(flat.codes)[0], flat_mean[0], flat_totals[0], pairs.all[0], weights)
    common = commonest([(one.unit, one.answer, one.gold) for one in wrong], weights)
    return Agreement(len(wrong), pairs.size, hardest.name, overall, within, across, shuffled, common, possible)


def _null(
    pairs: _Pairs, error: _Error, permutations: int, source: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mean agreeing pairs of each unit, shape (3, units), and their sum in each permutation, (3, permutations)."""
    dealer = _Dealer(error, source) if error.drawn is None else _Drawer(error, source)
    mean = np.zeros((3, pairs.size))
    totals = np.zeros((3, permutations))
    for number in range(permutations):
        found = pairs.agreeing(dealer.deal())
        mean += found
        totals[:, number] = found.sum(1)
    return mean / max(1, permutations), totals


def _test(
    observed: np.ndarray, null: np.ndarray, totals: np.ndarray, pairs: np.ndarray, source: np.random.Generator
) -> Test:
    held = pairs > 0
    observed, null, pairs = observed[held], null[held], pairs[held]
    if not pairs.size:
        return Test(0, None, None, None, None, None, None)
    number = float(pairs.sum())
    share, chance = observed.sum() / number, null.sum() / number
    p = (1 + int((totals >= observed.sum() - 1e-9).sum())) / (1 + totals.size)
    excess = (share - chance) / (1 - chance) if chance < 1 else None
    interval = None
    if excess is not None:
        above, below = poisson_sums([observed - null, pairs - null], source)
        with np.errstate(invalid="ignore", divide="ignore"):
            interval = ends(above / below)
    ratio = float(share / chance) if chance > 0 else None
    return Test(int(number), float(share), float(chance), None if excess is None else float(excess), interval, ratio, p)


def _codes(values: Sequence[object]) -> np.ndarray:
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values], dtype=np.int64)


def _plain(answer: str) -> str:
    return " ".join(answer.split())


def _errors(wrong: Sequence[Wrong]) -> tuple[list[_Error], tuple[str, ...]]:
    """The ways to express these errors: as answers, differences and ratios (edits, where they are no numbers); and the
    possible answers, where they are few."""
    golds = {one.gold: read_plain(one.gold) for one in wrong}
    kinds: list[tuple[str, str]] = []
    values: list[object] = []
    differences: list[object] = []
    ratios: list[object] = []
    for one in wrong:
        gold = golds[one.gold]
        answer = None if gold is None else read_plain(one.answer)
        if gold is None or answer is None:
            taken, put, *where = _edit(_plain(one.gold), _plain(one.answer))
            kinds.append((f"text {_shape(one.gold)}", "text"))
            values.append(("text", _plain(one.answer)))
            differences.append(("edit", taken, put, *where))
            # In a sentence a value takes the place of another, whichever that was.
            ratios.append(("put", put, *where) if " " in taken + put or one.gold.count(" ") > 1 else differences[-1])
        else:
            whole = "whole" if gold.denominator == answer.denominator == 1 else "fraction"
            kinds.append((f"number {whole} {_magnitude(gold)}", f"number {whole}"))
            values.append(("number", answer))
            differences.append(("difference", answer - gold))
            ratios.append(("ratio", answer / gold) if gold else ("difference", answer - gold))
    units = [one.unit for one in wrong]
    strata = _codes(_merged(kinds, units))
    spreads = _codes(_merged(_spreads(kinds, differences, units), units))
    own = [
        ("text", _plain(one.gold)) if kind[1] == "text" else ("number", golds[one.gold])
        for one, kind in zip(wrong, kinds, strict=True)
    ]
    both = _codes([*values, *own])
    none = np.full(len(wrong), -1, dtype=np.int64)
    answers, right = both[: len(wrong)], both[len(wrong) :]
    possible, drawn = _possible(answers, right)
    texts = dict(zip(both.tolist(), [one.answer for one in wrong] + [one.gold for one in wrong], strict=True))
    errors = [
        _Error("answer", answers, strata, right),
        _Error("difference or edit", _codes(differences), strata, none),
        _Error("difference, by size", _codes(differences), spreads, none),
        _Error("ratio or text put in", _codes(ratios), strata, none),
    ]
    if possible:
        errors.append(_Error("one of few answers", answers, np.zeros_like(answers), right, drawn))
    return errors, tuple(sorted(texts[code] for code in possible))


def _possible(answers: np.ndarray, golds: np.ndarray) -> tuple[list[int], np.ndarray]:
    """The codes of the possible answers, where they are few; and for all codes the weights w by which wrong answers are
    drawn: an answer a to a question of gold g with probability w_a / (Σ w − w_g).

    The weights are those of highest likelihood (quasi-independence, fitted as Luce's model of choice): a's expected
    number, Σ over the golds g ≠ a of n_g w_a / (Σ w − w_g), is the one that was found.
    """
    size = int(max(answers.max(), golds.max())) + 1
    told, asked = np.bincount(answers, minlength=size), np.bincount(golds, minlength=size)
    order = np.argsort(-(told + asked), kind="stable")[:FEW]
    held = min(told[order].sum(), asked[order].sum())
    if held < (1 - _RARE) * len(answers) or len(answers) < _EACH * len(order):
        return [], np.zeros(0)
    wrong = answers != golds  # labels may contradict the verifier
    count, number = np.bincount(answers[wrong], minlength=size), np.bincount(golds[wrong], minlength=size)
    weights = np.full(size, 1 / size)
    for _ in range(_FITS):
        each = number / np.maximum(1 - weights, 1e-9)
        fitted = count / np.maximum(each.sum() - each, 1e-9)
        weights = fitted / max(fitted.sum(), 1e-9)
    shares = np.cumsum((told + asked)[order]) / (2 * len(answers))
    few = int(np.searchsorted(shares, 1 - _RARE)) + 1
    # An answer that was never given may be drawn where no other is left.
    return [int(code) for code in order[:few]], weights + 1e-12


def _spreads(
    kinds: Sequence[tuple[str, str]], differences: Sequence[Any], units: Sequence[str]
) -> list[tuple[str, str]]:
    """Strata of questions whose numbers miss by as much: by half decades of the median size of their differences."""
    sizes: dict[tuple[str, str], list[Fraction]] = {}
    for (_, kind), difference, unit in zip(kinds, differences, units, strict=True):
        if difference[0] == "difference":
            sizes.setdefault((kind, unit), []).append(abs(difference[1]))
    middle = {key: sorted(found)[len(found) // 2] for key, found in sizes.items()}
    return [
        (f"{kind} {_magnitude(middle[kind, unit])}" if difference[0] == "difference" else fine, kind)
        for (fine, kind), difference, unit in zip(kinds, differences, units, strict=True)
    ]


def _magnitude(gold: Fraction) -> str:
    """The sign and the half decade of a number."""
    return "0" if gold == 0 else f"{'-' if gold < 0 else '+'}{math.floor(2 * math.log10(abs(gold)))}"


def _shape(text: str) -> str:
    """What a text looks like: its runs of letters, digits and other signs, and its length to a factor of two."""
    runs = re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", _plain(text)[:200]))
    short = re.sub(r"(.{1,4}?)\1+", r"\1", runs)[:8]
    return f"{short} {len(_plain(text)).bit_length()}"


def _edit(gold: str, answer: str) -> tuple[str, str, bool, bool]:
    """What was taken out of the gold and put in instead, and whether that was at its beginning or its end.

    By characters, or by words where the gold has several: a value that takes the place of another is put in whole.
    """
    by_words = gold.count(" ") > 1
    one, other = (gold.split(), answer.split()) if by_words else (list(gold), list(answer))
    shorter = min(len(one), len(other))
    start = 0
    while start < shorter and one[start] == other[start]:
        start += 1
    end = 0
    while end < shorter - start and one[-1 - end] == other[-1 - end]:
        end += 1
    joint = " " if by_words else ""
    return joint.join(one[start : len(one) - end]), joint.join(other[start : len(other) - end]), start == 0, end == 0


def _merged(kinds: Sequence[tuple[str, str]], units: Sequence[str]) -> list[str]:
    """The fine stratum of each answer, or the coarse one where the fine one holds too few answers or questions."""
    answers = Counter(fine for fine, _ in kinds)
    questions: dict[str, set[str]] = {}
    for (fine, _), unit in zip(kinds, units, strict=True):
        questions.setdefault(fine, set()).add(unit)
    return [fine if answers[fine] >= STRATUM <= 3 * len(questions[fine]) else coarse for fine, coarse in kinds]
