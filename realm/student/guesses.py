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
#: What a forward costs whatever it holds, in that of one position more. On a CPU: weights are read once for all rows,
#: and the calls of a layer take as long as one position does in so many weights. Elsewhere arithmetic is all but free.
_READING, _CALLS, _ELSEWHERE = 16.0, 1e7, 1024.0
#: More rows than this share of it keep a forward so busy that guesses no longer pay.
_ROWS = 0.6
#: Share of what was counted that remains from one batch to the next.
_BATCH_FADE = 0.9
#: Classes of how sure a guess is.
_CLASSES = 8


class Guesses:
    """What followed what, and how often guesses of each kind have hit of late.

    It may outlive a batch, and what it holds is bounded: the older half of the beginnings goes when they are too many.

    Args:
        fixed: what a forward costs whatever it holds, in that of one position more.

    Attributes:
        forwards: of completions, after their prompts; since `reset`.
        turns: how many rows they held, added up.
        tokens: that came of them.
        near: choices so near to another one that they were made anew (see `realm.student.ahead`).
    """

    def __init__(self, fixed: float) -> None:
        self.fixed = fixed
        self._young: dict[int, list[int]] = {}
        self._old: dict[int, list[int]] = {}
        kinds = len(_LENGTHS) * 2 * _CLASSES
        self._hits, self._tries = [1.0] * kinds, [2.0] * kinds
        self.reset()

    def reset(self) -> None:
        """Count from here."""
        self.forwards = self.turns = self.tokens = self.near = 0

    def begin(self) -> None:
        """A new batch: what was poor of late may be better there."""
        self._hits = [1 + _BATCH_FADE * (hits - 1) for hits in self._hits]
        self._tries = [2 + _BATCH_FADE * (tries - 2) for tries in self._tries]

    def pay(self, rows: int) -> bool:
        """Whether guesses are worth their positions in a batch of so many rows."""
        return rows <= _ROWS * self.fixed

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
        # Where a forward brings each row two tokens, this is what a position costs of what a token does.
        enough = 2 * len(texts) / (self.fixed + 2 * len(texts))
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

    def spent(self, rows: int, tokens: int) -> None:
        """How many rows a forward held, and the tokens that came of it."""
        self.forwards, self.turns, self.tokens = self.forwards + 1, self.turns + rows, self.tokens + tokens


class Guess:
    """Tokens that may come next, and what kind of guess each is."""

    __slots__ = ("kinds", "tokens")

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.kinds: list[int] = []


_OF: WeakKeyDictionary[PreTrainedModel, Guesses] = WeakKeyDictionary()


def guesses_of(model: PreTrainedModel) -> Guesses:
    """What this model has been read and said, as long as it lives."""
    if model not in _OF:
        layers = getattr(model.config.get_text_config(), "num_hidden_layers", 1)
        on_cpu = _READING + _CALLS * layers / sum(weights.numel() for weights in model.parameters())
        _OF[model] = Guesses(on_cpu if model.device.type == "cpu" else _ELSEWHERE)
    return _OF[model]
