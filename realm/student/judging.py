"""Questions about answers that the task's one verifier decides, in batches and each only once."""

from collections.abc import Sequence

from realm.method.routes import Route
from realm.tasks.base import Question
from realm.tasks.verify import UNREADABLE, UNREADABLE_GOLD, of_kind
from realm.tasks.workers import Claim, VerifierPool, verify_once


def unreadable(answer: str | None, reason: str) -> bool:
    """Whether there is an answer, but none that could be compared; `reason`: of its verdict."""
    return bool(answer and answer.strip()) and reason in (UNREADABLE, UNREADABLE_GOLD)


def copied(pool: VerifierPool, answers: Sequence[tuple[str | None, bool, Sequence[Route], Question]]) -> list[bool]:
    """For `same_err`: whether a wrong answer equals a wrong answer of a shown route.

    Two answers are equal where their texts are, or where the verifier takes one for the other (18 and 18.0).

    Args:
        answers: (answer, whether it is right, routes shown, question) of each completion. A right or
            missing answer copies nothing.
    """
    pairs: list[list[Claim]] = []
    for answer, correct, routes, question in answers:
        wrong = {route.answer for route in routes if not route.label} if answer and not correct else set()
        pairs.append([question.claim(answer, other) for other in sorted(wrong) if other.strip()])
    flat = [pair for found in pairs for pair in found if pair[0] != pair[1]]
    equal = {pair for pair, verdict in zip(flat, verify_once(pool, flat), strict=True) if verdict.correct}
    return [any(pair[0] == pair[1] or pair in equal for pair in found) for found in pairs]


def classes(
    pool: VerifierPool, answers: Sequence[str | None], labels: Sequence[str], questions: Sequence[Question]
) -> list[str | None]:
    """For macro-F1: the first class that the verifier takes each answer for; None where it is none of them.

    Where each kind of question has a verifier of its own, those whose is not `choice` have no class.

    `questions`: that of each answer.
    """
    by = [of_kind(pool.verifier, question.kind) for question in questions]
    claims = [
        question.claim(answer if one is pool.verifier or one.name == "choice" else None, label)
        for answer, question, one in zip(answers, questions, by, strict=True)
        for label in labels
    ]
    verdicts = verify_once(pool, claims)
    found = [labels[i % len(labels)] if verdict.correct else None for i, verdict in enumerate(verdicts)]
    rows = [found[i : i + len(labels)] for i in range(0, len(found), len(labels))]
    return [next((label for label in row if label is not None), None) for row in rows]
