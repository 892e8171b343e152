"""Answers and golds that the verifier cannot read, as a figure: how many, a few of them, and the setting to change.

They have no label: what cannot be read is not known to be wrong.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from realm.bank.cot import CoT
from realm.display import printable
from realm.tasks.base import Question
from realm.tasks.verify import UNREADABLE, UNREADABLE_GOLD

#: Share of a bank's whole answers without label for this reason above which training cannot rely on it: verifier and
#: answers do not fit each other, and what is left is no fair sample of either teacher or questions.
MOST = 0.2
#: What is quoted of each kind, and characters of each.
EXAMPLES, WIDTH = 3, 40


class Unreadable:
    """Counts what could not be read; memory does not grow with what it is given."""

    def __init__(self) -> None:
        self._whole = self._answers = self._gold_cots = self._golds = 0
        self._examples: dict[str, None] = {}
        self._named: dict[str, str] = {}

    def add(self, question: Question | None, cots: Iterable[CoT]) -> None:
        """Count a question with all its CoTs."""
        reasons = set()
        for cot in cots:
            self.answer(cot)
            reasons.add(cot.reason)
        if question is not None and UNREADABLE_GOLD in reasons:
            self.gold(question.id, question.answer)

    def answer(self, cot: CoT) -> None:
        """Count one CoT; one that is no whole answer is told by its `problem`."""
        if cot.problem:
            return
        self._whole += 1
        self._gold_cots += cot.reason == UNREADABLE_GOLD
        if cot.reason == UNREADABLE:
            self._answers += 1
            if len(self._examples) < EXAMPLES:
                self._examples[quoted(cot.answer)] = None

    def gold(self, where: str, gold: str) -> None:
        """Count one gold; `where`: its question's id, or file and line."""
        self._golds += 1
        if len(self._named) < EXAMPLES:
            self._named[printable(where, 80)] = quoted(gold)

    def summary(self) -> dict[str, Any]:
        """`whole` answers; of these `answers` that cannot be read and `gold_cots` whose gold cannot, together their
        `share` (None without any); `examples` of the answers; `golds` that cannot be read and `gold_examples` by where
        they are. What is quoted is safe to show."""
        return {
            "whole": self._whole,
            "answers": self._answers,
            "gold_cots": self._gold_cots,
            "share": (self._answers + self._gold_cots) / self._whole if self._whole else None,
            "examples": list(self._examples),
            "golds": self._golds,
            "gold_examples": dict(self._named),
        }


def quoted(text: str) -> str:
    """The beginning of an answer in quotation marks, safe to show."""
    return f"“{printable(text.strip(), WIDTH)}”"


def sentences(found: Mapping[str, Any]) -> list[str]:
    """What to say of a `summary`: nothing, or a sentence about the answers and one about the golds."""
    said = []
    if found["answers"]:
        said.append(
            f"{found['answers']} of {found['whole']} whole answers ({found['answers'] / found['whole']:.1%}) cannot be "
            f"read by the verifier and have no label, e.g. {', '.join(found['examples'])}: choose another "
            "task.verifier (or mend task.choices) if they are right, else ask the "
            "teacher for another form (teachers.*.prompt)"
        )
    if found["golds"]:
        named = ", ".join(f"{where}: {gold}" for where, gold in found["gold_examples"].items())
        said.append(
            f"{found['golds']} {'golds' if found['golds'] > 1 else 'gold'} cannot be read by the verifier, and no CoT "
            f"of these questions has a label, e.g. {named}: mend these answers (or map another column, "
            "bank.mapping.answer), or choose another task.verifier"
        )
    return said
