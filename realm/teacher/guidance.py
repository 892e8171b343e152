"""Guided CoT distillation: which expert comments a sample of the teacher is shown (method, section 3)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from realm.sections import GuidanceConfig
from realm.tasks.base import Comment, Question

if TYPE_CHECKING:
    from bm25s import BM25


class Guidance:
    """The comments of a run, and the rule by which a question's samples are shown some of them.

    Args:
        comments: all there are.
        settings: `probability` ρ per sample; `match`: `tag` shows those that share a tag with the question, `always`
            all, `retrieval` the `top` best by BM25 (package bm25s) among those that share a word with it.
    """

    def __init__(self, comments: Sequence[Comment], settings: GuidanceConfig) -> None:
        self.comments = tuple(comments)
        self.settings = settings
        self._index: BM25 | None = None
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
        """What is likely not meant: that no question is shown any comment, and, with `tag`, tags of one side alone."""
        if not self.settings.probability or not questions:
            return
        if not any(map(self.matching, questions)):
            yield (
                f"guidance.probability is {self.settings.probability:g}, but no expert comment matches any question; "
                "no sample will be guided (see guidance.comments and guidance.match)"
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

    def _best(self, question: Question) -> tuple[Comment, ...]:
        if not self.comments:
            return ()
        index = self._index = self._index or _index(self.comments)
        words = _words([question.question])[0]
        known = [word for word in dict.fromkeys(words) if word in index.vocab_dict]
        if not known:
            return ()
        scores = index.get_scores(known).tolist()
        # Equal scores keep the order of the file.
        order = sorted(range(len(self.comments)), key=lambda number: (-scores[number], number))
        return tuple(self.comments[number] for number in order[: self.settings.top] if scores[number] > 0)


def _index(comments: Sequence[Comment]) -> BM25:
    from bm25s import BM25

    index = BM25()
    # A comment is found by its tags too. The empty word keeps the index of comments without any word from failing.
    texts = [f"{comment.text} {' '.join(comment.tags)}" for comment in comments]
    index.index([words or [""] for words in _words(texts)], show_progress=False)
    return index


def _words(texts: list[str]) -> list[list[str]]:
    """The words of every text as BM25 compares them: lower case, English function words left out."""
    from bm25s import tokenize

    found: list[list[str]] = tokenize(texts, stopwords="en", return_ids=False, show_progress=False)
    return found
