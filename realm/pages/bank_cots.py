"""Questions of a bank with their CoTs as data for the page's browser, where the CoTs stand as completions do."""

from collections.abc import Iterable, Iterator
from functools import partial

from realm.bank.cot import CoT
from realm.bank.scan import Group as Scanned
from realm.pages.completions import BUDGET, LONG, SHORT, Group, Lot, cut
from realm.tasks.base import Question

#: CoTs shown of one question.
MANY = 64


class SampledBank:
    """What a page shows of a bank's questions that have CoTs: all, or as many as fit, by lot."""

    def __init__(self, budget: int = BUDGET) -> None:
        self._lot = Lot(budget)

    def among(self, groups: Iterable[Scanned]) -> Iterator[Scanned]:
        """The groups as they are, noted on their way."""
        for question, cots in groups:
            if cots:
                self._lot.add(cots[0].question_id, partial(_group, question, cots))
            yield question, cots

    @property
    def groups(self) -> list[Group]:
        """The questions, in the order of the bank."""
        return self._lot.groups

    @property
    def sentence(self) -> str:
        """How many there are."""
        shown, seen = len(self.groups), self._lot.seen
        return (
            f"{shown} of {seen} questions that have CoTs, drawn by lot."
            if shown < seen
            else f"All {seen} that have CoTs."
        )


def _group(question: Question | None, cots: list[CoT]) -> Group:
    known = question or Question(cots[0].question_id, "(its question is not in the bank)", "")
    return {
        "recipe": cut(known.split, SHORT),
        "when": "",
        "place": 0,
        "final": True,
        "step": 0,
        "id": cut(known.id, SHORT),
        "kind": cut(known.kind, SHORT),
        "difficulty": None,
        "question": cut(known.question, LONG),
        "gold": cut(known.answer, SHORT),
        "p": None,
        "routes": None,
        "n": len(cots),
        "right": sum(cot.label == 1 for cot in cots),
        "completions": [_completion(cot) for cot in cots[:MANY]],
    }


def _completion(cot: CoT) -> Group:
    return {
        "by": cut(cot.teacher, SHORT),
        "guided": cot.guided,
        "think": "",
        "text": cut(cot.text, LONG),
        "answer": cut(cot.answer, SHORT) or None,
        "scores": [],
        "correct": None if cot.label is None else cot.label == 1,
        "copied": False,
        "truncated": None,
        "reward": None,
        "parts": None,
        "scoring": None,
        "reasons": [cut(text.replace("_", " "), SHORT) for text in (cot.problem, cot.reason) if text],
    }
