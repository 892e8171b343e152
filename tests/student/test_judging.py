"""Same answers, copies and classes, as the task's verifier sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from realm.method.routes import Route
from realm.student.judging import classes, copied
from realm.tasks.base import Question
from realm.tasks.verify import Verdict
from realm.tasks.workers import Claim, VerifierPool, verify_once

ASKED = Question("1", "", "")
ROUTES = (Route("a", "", "17", 0), Route("b", "", "18", 1), Route("c", "", "a dozen", 0), Route("d", "", " ", 0))


def test_copied() -> None:
    with VerifierPool("number") as pool:
        found = copied(
            pool,
            [
                ("17", False, ROUTES, ASKED),
                ("17.0", False, ROUTES, ASKED),  # the verifier takes it for 17
                ("a dozen", False, ROUTES, ASKED),  # unreadable, but the very same text
                ("18", False, ROUTES, ASKED),  # equals a right route only
                ("19", False, ROUTES, ASKED),
                ("17", True, ROUTES, ASKED),  # a right answer copies no mistake
                (None, False, ROUTES, ASKED),
                ("", False, ROUTES, ASKED),
                (" ", False, ROUTES, ASKED),
                ("17", False, (), ASKED),
            ],
        )
    assert found == [True, True, True, False, False, False, False, False, False, False]


def test_classes() -> None:
    with VerifierPool("choice", ("accept", "reject")) as pool:
        found = classes(pool, ["accept", "Reject", "perhaps", None, "accept"], ("accept", "reject"), [ASKED] * 5)
    assert found == ["accept", "reject", None, None, "accept"]


def test_equal_pairs_are_judged_once() -> None:
    class Counting(VerifierPool):
        asked: ClassVar[list[Claim]] = []

        def verify(self, pairs: Sequence[Claim]) -> list[Verdict]:
            self.asked.extend(pairs)
            return super().verify(pairs)

    with Counting("exact") as pool:
        verdicts = verify_once(pool, [("a", "a", "q"), ("b", "a", "q"), ("a", "a", "q"), (None, "a"), ("a", "a", "r")])
        assert [verdict.correct for verdict in verdicts] == [True, False, True, False, True]
        assert pool.asked == [("a", "a", "q"), ("b", "a", "q"), (None, "a"), ("a", "a", "r")]
        # Other comparisons know the question too.
        pool.asked.clear()
        asked = Question("1", "q", "5", kind="weight")
        copied(pool, [("5 kg", False, [Route("a", "", "5", 0)], asked)])
        classes(pool, ["5 kg"], ["5"], [asked])
        assert pool.asked == [("5 kg", "5", "q", "weight")] * 2
