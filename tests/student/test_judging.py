"""Same answers, copies and classes, as the task's verifier sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from realm.method.routes import Route
from realm.student.judging import classes, copied
from realm.tasks.verify import Verdict
from realm.tasks.workers import Claim, VerifierPool, verify_once

ROUTES = (Route("a", "", "17", 0), Route("b", "", "18", 1), Route("c", "", "a dozen", 0), Route("d", "", " ", 0))


def test_copied() -> None:
    with VerifierPool("number") as pool:
        found = copied(
            pool,
            [
                ("17", False, ROUTES, ""),
                ("17.0", False, ROUTES, ""),  # the verifier takes it for 17
                ("a dozen", False, ROUTES, ""),  # unreadable, but the very same text
                ("18", False, ROUTES, ""),  # equals a right route only
                ("19", False, ROUTES, ""),
                ("17", True, ROUTES, ""),  # a right answer copies no mistake
                (None, False, ROUTES, ""),
                ("", False, ROUTES, ""),
                (" ", False, ROUTES, ""),
                ("17", False, (), ""),
            ],
        )
    assert found == [True, True, True, False, False, False, False, False, False, False]


def test_classes() -> None:
    with VerifierPool("choice", ("accept", "reject")) as pool:
        found = classes(pool, ["accept", "Reject", "perhaps", None, "accept"], ("accept", "reject"), [""] * 5)
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
        copied(pool, [("5 kg", False, [Route("a", "", "5", 0)], "q")])
        classes(pool, ["5 kg"], ["5"], ["q"])
        assert pool.asked == [("5 kg", "5", "q"), ("5 kg", "5", "q")]
