"""Guesses of what a student will say next, and how far ahead guessing pays; nothing that is said depends on them.

They come from what was read and said before: what followed the same few tokens in the prompts, in the other completions
of the group as far as they have come, and in earlier batches. A token is drawn by a number that is known beforehand
(`realm.student.sampling`): the guess is what this number chooses among the tokens that followed, not the most frequent
one. No second model.

After "Prompt lookup decoding" (transformers) and SuffixDecoding (arXiv 2411.04975), which guess what is likeliest.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: So many tokens are looked up, the more first.
_LENGTHS = (6, 2)
#: How many of the tokens that followed are kept, and of how many beginnings.
_FOLLOWERS, _BEGINNINGS = 64, 2**18
#: Tokens that are guessed at most in a row.
_FAR = 16
#: A forward costs as much as this many positions, whatever it holds; as long as nothing was measured.
_FIRST_FIXED = 64.0
#: Share of what was measured and counted that remains from one forward, and from one batch, to the next.
_FADE, _BATCH_FADE = 0.98, 0.9
#: Guesses that hit less often than this for each position are made in every so many forwards only.
_POOR, _SELDOM = 0.03, 16
#: Guesses are cut where the rows' guesses have less than one in so many of the tokens that the longest would give them.
_PADDED = 3
#: Classes of how sure a guess is.
_CLASSES = 8


class Guesses:
    """What followed what, how often guesses of each kind have hit of late, and what a forward costs.

    It may outlive a batch, and what it holds is bounded: the older half of the beginnings goes when they are too many.

    Attributes:
        forwards: of completions, after their prompts; since `reset`.
        turns: how many rows they held, added up.
        tokens: that came of them.
        near: choices so near to another one that they were made anew (see `realm.student.ahead`).
    """

    def __init__(self) -> None:
        self._young: dict[int, list[int]] = {}
        self._old: dict[int, list[int]] = {}
        kinds = len(_LENGTHS) * 2 * _CLASSES
        self._hits, self._tries = [1.0] * kinds, [2.0] * kinds
        self._sums = [0.0] * 5
        self._gain, self._positions, self._idle = 1.0, 1.0, 0
        self.reset()

    def reset(self) -> None:
        """Count from here."""
        self.forwards = self.turns = self.tokens = self.near = 0

    def begin(self) -> None:
        """A new batch: what was poor of late may be better there."""
        self._hits = [1 + _BATCH_FADE * (hits - 1) for hits in self._hits]
        self._tries = [2 + _BATCH_FADE * (tries - 2) for tries in self._tries]
        self._gain, self._idle = max(self._gain, 2 * _POOR), 0

    def learn(self, text: Sequence[int], start: int) -> None:
        """Take in the tokens of a text from `start` on; those before were taken in, or are what they follow."""
        young = self._young
        for length in _LENGTHS:
            for place in range(max(start, length), len(text)):
                key = hash(tuple(text[place - length : place]))
                after = young.get(key)
                if after is None:
                    young[key] = [text[place]]
                    continue
                if len(after) >= _FOLLOWERS:
                    del after[::2]
                insort(after, text[place])
        if len(young) > _BEGINNINGS // 2:
            self._old, self._young = young, {}

    def ask(self, texts: Sequence[list[int]], draws: Sequence[Sequence[float]], rooms: Sequence[int]) -> list[Guess]:
        """A guess for each row of a batch, as far ahead as it pays: where a forward has much to do anyway, only what is
        all but sure.

        Args:
            texts: the token ids of each row's prompt and completion so far.
            draws: of its next tokens, none where the likeliest is taken.
            rooms: how many tokens may be guessed.
        """
        if self._gain < _POOR:
            self._idle = (self._idle + 1) % _SELDOM
            if self._idle:
                return [Guess() for _ in texts]
        rows = len(texts)
        enough = (1 + self._gain) * rows / (self._fixed() + self._positions * rows)
        found = []
        for text, numbers, room in zip(texts, draws, rooms, strict=True):
            guess, end, sure = Guess(), list(text[-max(_LENGTHS) :]), 1.0
            for ahead in range(min(room, _FAR)):
                likely, token, kind = self._next(end, numbers[ahead] if numbers else 0.5)
                sure *= likely
                if sure < enough or not likely:
                    break
                guess.tokens.append(token)
                guess.kinds.append(kind)
                end.append(token)
            found.append(guess)
        # Attention takes as long for every row as for the one with the longest guess.
        far = max(len(guess.tokens) for guess in found)
        while far > 1 and rows * far > _PADDED * sum(min(len(guess.tokens), far) for guess in found):
            far -= 1
        for guess in found:
            del guess.tokens[far:], guess.kinds[far:]
        return found

    def _next(self, end: list[int], draw: float) -> tuple[float, int, int]:
        """How likely a guess is to hit (0: there is none), the token that may follow, and what kind of guess it is."""
        best = (0.0, 0, 0)
        for number, length in enumerate(_LENGTHS):
            key = hash(tuple(end[-length:]))
            after = self._young.get(key) or self._old.get(key)
            if not after:
                continue
            count = len(after)
            place = draw * count
            token = after[int(place)]
            low, high = bisect_left(after, token), bisect_right(after, token)
            # How far the draw is from where another token would be chosen: in tokens seen where no other was, else in
            # standard errors.
            margin = min(place - low, high - place)
            alike = high - low == count
            sure = int(2 * margin) if alike else int(4 * margin / count**0.5)
            kind = (2 * number + alike) * _CLASSES + min(sure, _CLASSES - 1)
            likely = self._hits[kind] / self._tries[kind]
            if likely > best[0]:
                best = (likely, token, kind)
        return best

    def tell(self, guess: Guess, hits: int) -> None:
        """How many tokens of a guess came true; the next one did not, and nobody knows of those behind."""
        for number, kind in enumerate(guess.kinds[: hits + 1]):
            self._hits[kind] = 1 + (self._hits[kind] - 1) * 0.998 + (number < hits)
            self._tries[kind] = 2 + (self._tries[kind] - 2) * 0.998 + 1

    def spent(self, rows: int, positions: int, tokens: int, seconds: float) -> None:
        """What a forward took, for so many rows and positions, and the tokens that came of it."""
        self.forwards, self.turns, self.tokens = self.forwards + 1, self.turns + rows, self.tokens + tokens
        self._gain += 0.1 * (tokens / rows - 1 - self._gain)
        self._positions += 0.1 * (positions / rows - self._positions)
        new = (1.0, positions, positions**2, seconds, positions * seconds)
        self._sums = [_FADE * old + one for old, one in zip(self._sums, new, strict=True)]

    def _fixed(self) -> float:
        """The cost of a forward that does not depend on how many positions it holds, in that of a position."""
        count, positions, squares, seconds, products = self._sums
        spread = count * squares - positions**2
        if count < 8 or spread < 0.01 * positions**2:
            return _FIRST_FIXED
        slope = (count * products - positions * seconds) / spread
        rest = (seconds - slope * positions) / count
        return max(0.0, rest / slope) if slope > 0 else 16 * _FIRST_FIXED


class Guess:
    """Tokens that may come next, and what kind of guess each is."""

    __slots__ = ("kinds", "tokens")

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.kinds: list[int] = []


_OF: WeakKeyDictionary[PreTrainedModel, Guesses] = WeakKeyDictionary()


def guesses_of(model: PreTrainedModel) -> Guesses:
    """What this model has been read and said, as long as it lives."""
    return _OF.setdefault(model, Guesses())
