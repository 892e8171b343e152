"""Guided CoT distillation: which expert comments a sample of the teacher is shown (method, section 3)."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from realm.sections import GuidanceConfig
from realm.tasks.base import Comment, Question

#: From this many comments on, a word that more than half of them have tells none of them from the others.
COMMON_FROM = 4
#: Words of a question that a message names.
_NAMED = 8


class Guidance:
    """The comments of a run, and the rule by which a question's samples are shown some of them.

    Args:
        comments: all there are.
        settings: `probability` ρ per sample; `match`: `tag` shows those that share a tag with the question, `always`
            all, `retrieval` the `top` best by BM25 (package bm25s) among those of whose words it has `floor` or more.
            Words that tell something count: no function word, and none that most comments have.
    """

    def __init__(self, comments: Sequence[Comment], settings: GuidanceConfig) -> None:
        self.comments = tuple(comments)
        self.settings = settings
        self._index: _Index | None = None
        self._found: tuple[Question | None, tuple[Comment, ...]] = (None, ())

    def shown(self, question: Question, source: random.Random) -> tuple[Comment, ...]:
        """The comments of one sample: with probability ρ those that match the question, otherwise none."""
        # Drawn first, so that ρ alone never shifts the rest of the sample's stream.
        drawn = source.random() < self.settings.probability
        return self.matching(question) if drawn else ()

    def matching(self, question: Question) -> tuple[Comment, ...]:
        """The comments that match the question, in the order of the file (`retrieval`: best first)."""
        if self.settings.match == "always":
            return self.comments
        if self.settings.match == "tag":
            tags = set(question.tags)
            return tuple(comment for comment in self.comments if not tags.isdisjoint(comment.tags))
        if self._found[0] != question:  # a question's samples are drawn one behind the other
            self._found = (question, self._best(question))
        return self._found[1]

    def warnings(self, questions: Sequence[Question]) -> Iterator[str]:
        """What is likely not meant: that no question is shown any comment (by `retrieval`: some are not, and why), and,
        with `tag`, tags of one side alone.
        """
        if not self.settings.probability or not questions:
            return
        retrieval = self.settings.match == "retrieval"
        without = [question for question in questions if not self.matching(question)] if retrieval else []
        why = f"; e.g. {without[0].id}: {self.why_none(without[0])}" if without else ""
        if len(without) == len(questions) or (not retrieval and not any(map(self.matching, questions))):
            yield (
                f"guidance.probability is {self.settings.probability:g}, but no expert comment matches any question; "
                f"no sample will be guided (see guidance.comments and guidance.match){why}"
            )
        elif without:
            yield (
                f"no expert comment matches {len(without)} of {len(questions)} questions, which are asked without{why}"
            )
        if (
            self.settings.match != "tag" or self.settings.comments is None
        ):  # a task's own comments are as they should be
            return
        asked = {tag for question in questions for tag in question.tags}
        known = {tag for comment in self.comments for tag in comment.tags}
        for tags, here, there in ((asked - known, "questions", "comment"), (known - asked, "comments", "question")):
            if tags:
                more = f" and {len(tags) - 5} more" if len(tags) > 5 else ""
                yield f"tags of {here} that no {there} has: {', '.join(sorted(tags)[:5])}{more}"

    def why_none(self, question: Question) -> str:
        """Why `retrieval` finds no comment for the question, with its words; "" where it finds one."""
        return "" if self.matching(question) else self._indexed().why_none(question.question, self.settings.floor)

    def _best(self, question: Question) -> tuple[Comment, ...]:
        best = self._indexed().best(question.question, self.settings.top, self.settings.floor)
        return tuple(self.comments[number] for number in best)

    def _indexed(self) -> _Index:
        if self._index is None:
            self._index = _Index(self.comments)
        return self._index


class _Index:
    """Comments by their words; a comment is found by its tags too."""

    def __init__(self, comments: Sequence[Comment]) -> None:
        from bm25s import BM25

        from realm.teacher.words import PAIR, Words

        texts = [f"{comment.text} {' '.join(comment.tags)}" for comment in comments]
        self._words = Words(texts)
        self._found = found = [self._words(text) for text in texts]
        held = Counter(word for words in found for word in words)
        self._known = frozenset(held)
        most = len(texts) / 2 if len(texts) >= COMMON_FROM else len(texts)
        self._telling = {
            word: math.log(1 + (len(texts) - times + 0.5) / (times + 0.5))
            for word, times in held.items()
            if times <= most
        }
        # Of the text alone: tags are further words to be found by, none that a question should have too.
        self._sizes = [
            sum(self._telling.get(word, 0.0) / (2 if PAIR.fullmatch(word) else 1) for word in self._words(comment.text))
            for comment in comments
        ]
        self._scores = BM25()
        if held:
            # The empty word keeps the index from failing at a comment without any.
            listed = [[word for word, forms in words.items() for _ in forms] or [""] for words in found]
            self._scores.index(listed, show_progress=False)

    def share(self, number: int, asked: Iterable[str]) -> float:
        """How much of a comment the words of a text are: of its telling words, each weighed by how few have it."""
        found = self._found[number]
        return sum(self._telling[word] for word in asked if word in found) / (self._sizes[number] or 1.0)

    def best(self, text: str, top: int, floor: float) -> list[int]:
        """The numbers of the comments of whose words a text has that share, best first; equal ones in their order."""
        asked = [word for word in self._words(text) if word in self._telling]
        if not asked:
            return []
        scores = self._scores.get_scores(asked).tolist()
        order = sorted(range(len(scores)), key=lambda number: (-scores[number], number))
        return [number for number in order if scores[number] > 0 and self.share(number, asked) >= floor][:top]

    def why_none(self, text: str, floor: float) -> str:
        asked = self._words(text)
        if not asked:
            return "it has no word to look for"
        if telling := {word: forms for word, forms in asked.items() if word in self._telling}:
            most = max(self.share(number, telling) for number in range(len(self._found)))
            return f"it has at most {most:.1%} of a comment's words, and guidance.floor is {floor:g}: {_named(telling)}"
        if common := {word: forms for word, forms in asked.items() if word in self._known}:
            return f"it shares with them only words that most of them have: {_named(common)}"
        return f"none of its words is in a comment: {_named(asked)}"


def _named(words: dict[str, list[str]]) -> str:
    shown = ", ".join(forms[0] for forms in list(words.values())[:_NAMED])
    return f"{shown} and {len(words) - _NAMED} more" if len(words) > _NAMED else shown
