"""The steps of a CoT, and the one at which a wrong CoT leaves the right ones of its question."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from realm.analysis.arithmetic import Equation, equations, numbers
from realm.method.distance import words

#: A text of at least this many lines has its steps in lines, any other in sentences.
LINES = 3
_MAX_STEPS, _MAX_STEP = 200, 4_000

# A sentence ends before white space, but not behind an initial, a title or `e.g.`.
_SENTENCE = re.compile(r"(?<=[.!?])(?<!\b[A-Z]\.)(?<!\b[a-z]\.[a-z]\.)(?<!\bMrs\.)(?<!\bMr\.)(?<!\bDr\.)\s+")
_NUMBERED = re.compile(r"^(?:\d{1,2}[.)]|[-*•])$")
#: A last line that only repeats the answer: `A: 5`, `#### 5`, `Answer: (B)`.
_ANSWER = re.compile(r"^(?:A|Answer|Final answer)\s*:\s*\S+$|^####\s*\S+$", re.IGNORECASE)

#: A step that only announces what comes next.
_ANNOUNCES = re.compile(
    r"(?:here's how|let's|let us|to (?:solve|find|determine|answer))\b|.*:\s*$", re.IGNORECASE | re.DOTALL
)

_HEDGING = "usually probably maybe perhaps likely generally typically normally assume assuming guess seems"
HEDGES = frozenset(_HEDGING.split(" "))
CITED = re.compile(
    r"\b(?:by the book|according to|as stated|given that|the rule|the policy|per the)\b,?", re.IGNORECASE
)
#: Words that begin a conclusion and carry nothing of it.
_FILLERS = HEDGES | frozenset(["so", "then", "therefore", "thus", "hence", "now", "first", "next", "finally", "and"])

#: How a wrong CoT can leave the right ones, from strong to weak evidence.
FALSE_SUM, OTHER_OPERATION, OTHER_QUANTITY, OTHER_SUM = "false sum", "other operation", "other quantity", "other sum"
OTHER_VALUE, STOPS_EARLY, OTHER_WORDS, UNKNOWN = "other value", "stops early", "other words", "no evidence"


@dataclass(frozen=True)
class Divergence:
    """Where a wrong CoT goes wrong, as far as can be told.

    Attributes:
        index: of the step, from 0.
        kind: one of the kinds above.
        step: its text.
        right: the step of a right CoT that it stands against; "" where there is none.
    """

    index: int
    kind: str
    step: str
    right: str = ""


def split_steps(text: str) -> list[str]:
    """The steps of a CoT: its lines (where it has at least three), else its sentences.

    At most 200 of 4 000 characters, none blank.

    A list number by itself belongs to the step behind it, and a last line that only repeats the answer is no step.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    parts = lines if len(lines) >= LINES else [part for line in lines for part in _SENTENCE.split(line)]
    steps: list[str] = []
    for part in parts[:_MAX_STEPS]:
        if steps and _NUMBERED.match(steps[-1]):
            steps[-1] = f"{steps[-1]} {part.strip()}"[:_MAX_STEP]
        elif part.strip():
            steps.append(part.strip()[:_MAX_STEP])
    return steps[:-1] if len(steps) > 1 and _ANSWER.match(steps[-1]) else steps


def stated_sums(text: str) -> list[Equation]:
    """The sums that the steps of a CoT state, in order; letters keep their values from step to step."""
    known: dict[str, float] = {}
    return [found for step in split_steps(text) for found in equations(step, known)]


def bare(step: str) -> tuple[str, ...]:
    """The words of a step without citations, hedges and words that open a conclusion."""
    return tuple(word for word in words(CITED.sub(" ", step)) if word not in _FILLERS)


def similarity(one: Sequence[str], other: Sequence[str]) -> float:
    """Jaccard similarity of two bags of words, in [0, 1]."""
    left, right = set(one), set(other)
    union = len(left | right)
    return len(left & right) / union if union else 0.0


class Reference:
    """What the right CoTs of a question say: their steps, sums and numbers. Made once per question."""

    def __init__(self, question: str, positives: Sequence[str]) -> None:
        self._asked = set(words(question))
        self._given = {_key(number) for number in numbers(question)}
        self.steps: list[tuple[str, tuple[str, ...]]] = []
        self._sums: list[tuple[Equation, str]] = []
        self.results: set[float] = set()
        self._numbers = set(self._given)
        #: What comes behind each step in the right CoTs; "" at the end of one.
        self._following: dict[str, list[str]] = {}
        for text in positives:
            known: dict[str, float] = {}
            steps = split_steps(text)
            for step, following in zip(steps, [*steps[1:], ""], strict=False):
                self._following.setdefault(_even(step), []).append(following)
                self.steps.append((step, bare(step)))
                self._numbers.update(map(_key, numbers(step)))
                for found in equations(step, known):
                    self._sums.append((found, step))
                    self.results.add(_key(found.result))
        self._numbers |= self.results
        self._texts = {plain for _, plain in self.steps}
        self._by_length: dict[int, list[tuple[str, tuple[str, ...]]]] = {}
        for step, plain in self.steps:
            self._by_length.setdefault(len(plain), []).append((step, plain))

    def diverging(self, text: str, answer: str = "") -> Divergence:
        """The first step of a wrong CoT that the right ones do not support.

        In order, a step tells against the CoT where it states a false sum; where it states a sum whose result neither
        the question nor any right CoT knows; or where it says what a right CoT says but for one word, or for a number,
        that the question does not hold (`a lamp goes to bin coral 27`). Where no step does, weaker evidence counts:
        the same with other words or words of the question, an unknown number, an answer that right CoTs only pass
        through, the step least like any right one. A step that a right CoT has too never does; a CoT of such steps
        alone stops early, or nothing tells against it. Without right CoTs only a false sum does.
        """
        steps = split_steps(text)
        if not steps:
            return Divergence(0, UNKNOWN, "")
        if not self.steps:
            return _first_false_sum(steps)
        weak: Divergence | None = None
        known: dict[str, float] = {}
        plains = [bare(step) for step in steps]
        for index, step in enumerate(steps):
            sums = equations(step, known)
            if _even(step) in self._following:
                continue
            if kind := self._kind(sums):
                return Divergence(index, kind[0], step, kind[1] or self._nearest(plains[index]))
            if sums or plains[index] in self._texts or _ANNOUNCES.match(step):
                continue
            if (other := self._other_value(plains[index])) is not None:
                found_one = Divergence(index, OTHER_VALUE, step, other[0])
                if other[1]:
                    return found_one
                weak = weak or found_one
        return weak or self._weak(steps, plains, answer)

    def _kind(self, sums: Sequence[Equation]) -> tuple[str, str] | None:
        """What is wrong with the first of the sums that is wrong, and the right step that it stands against."""
        for found in sums:
            if not found.true:
                return FALSE_SUM, self._sum_like(found)[0]
            if _key(found.result) not in self._numbers:
                right, kind = self._sum_like(found)
                return kind, right
        return None

    def _sum_like(self, found: Equation) -> tuple[str, str]:
        """The right step whose sum shares most operands with this one, and how they differ."""
        best, common, kind = "", 0, OTHER_SUM
        mine = sorted(found.operands)
        for other, step in self._sums:
            shared = len(set(mine) & set(other.operands))
            if shared > common:
                best, common = step, shared
                same = sorted(other.operands) == mine
                kind = OTHER_OPERATION if same and other.signs != found.signs else OTHER_QUANTITY
        return best, kind

    def _other_value(self, plain: tuple[str, ...]) -> tuple[str, bool] | None:
        """The right step that is this one but for at most half of its words; whether these are new to the question."""
        best: tuple[int, str, bool] | None = None
        for step, other in self._by_length.get(len(plain), ()):
            changed = [mine for mine, theirs in zip(plain, other, strict=True) if mine != theirs]
            if changed and 2 * len(changed) <= len(plain) and (best is None or len(changed) < best[0]):
                sure = len(changed) == 1 or any(word[0].isdigit() for word in changed)
                best = (len(changed), step, sure and not self._asked.issuperset(changed))
        return None if best is None else best[1:]

    def _weak(self, steps: Sequence[str], plains: Sequence[tuple[str, ...]], answer: str) -> Divergence:
        own = [
            index for index, step in enumerate(steps)
            if _even(step) not in self._following and plains[index] not in self._texts
        ]  # fmt: skip
        for index in own:
            if any(_key(number) not in self._numbers for number in numbers(steps[index])):
                return Divergence(index, OTHER_QUANTITY, steps[index], self._nearest(plains[index]))
        given = [_key(number) for number in numbers(answer)]
        following = self._following.get(_even(steps[-1]), [])
        if (len(given) == 1 and given[0] in self.results) or (not own and following and all(following)):
            # Against the step that is missing, where that is known.
            missing = next(filter(None, following), "")
            return Divergence(len(steps) - 1, STOPS_EARLY, steps[-1], missing or self._nearest(plains[-1]))
        stating = [index for index in own if not _ANNOUNCES.match(steps[index])]
        if not stating:
            return Divergence(len(steps) - 1, UNKNOWN, "")
        index = min(stating, key=lambda index: max(similarity(plains[index], other) for _, other in self.steps))
        return Divergence(index, OTHER_WORDS, steps[index], self._nearest(plains[index]))

    def _nearest(self, plain: tuple[str, ...]) -> str:
        """The right step most like this one; "" where none shares a third of the words."""
        best = max(self.steps, key=lambda other: similarity(plain, other[1]))
        return best[0] if similarity(plain, best[1]) >= 1 / 3 else ""


def _first_false_sum(steps: Sequence[str]) -> Divergence:
    """Evidence that needs no other CoT: stated sums are true, and a letter keeps the value it was given."""
    known: dict[str, float] = {}
    for index, step in enumerate(steps):
        if any(not found.true for found in equations(step, known)):
            return Divergence(index, FALSE_SUM, step)
    return Divergence(0, UNKNOWN, "")


def _even(step: str) -> str:
    """A step with its white space made even, to be found again."""
    return " ".join(step.split()).casefold()


def _key(number: float) -> float:
    return round(number, 4)
