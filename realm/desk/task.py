"""The task `desk`: the shop's questions in splits that are disjoint by construction, all a function of one seed.

Splits: `train`, `validation` and `test` come from one distribution (but `test` and `validation` hold no question that
rests on an uncommented rule); `ood` holds combinations of conditions and prices that training never shows;
`uncommented` holds questions on rules that no expert comment states. `validation_ood` and `validation_uncommented` are
their counterparts to choose settings by, so that `ood` and `uncommented` are looked at once.

`desk-hard` is the same shop with harder cases, in splits of its own by the same names: two things at once, and days
over the window that are charged, unless a rare mark decides. Its reasonings take about twice as many steps.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace

from realm.desk.book import UNCOMMENTED, comments, shop_book
from realm.desk.cases import (
    DAYS,
    HARD_KINDS,
    KINDS,
    PRICES,
    Case,
    answerable,
    held_out,
    out_of_distribution,
    random_case,
    tell,
    work_out,
)
from realm.method.prompt import Wording
from realm.method.seeds import rng
from realm.tasks.base import Question
from realm.tasks.verify import verifier

#: Short on purpose: the student is tiny, and every token of a prompt is paid for in every completion of its group.
WORDING = Wording(
    system="",
    question="{question} {routes} {instruction}",
    route="<route {number}> {route} </route>",
    with_routes="Judge the routes and answer.",
    without_routes="Answer.",
    synthesize="Answer.",
)
TRIES = 200
#: Questions of each split.
SIZES = {
    "train": 1500, "validation": 120, "test": 400, "ood": 300, "uncommented": 200,
    "validation_ood": 120, "validation_uncommented": 120,
}  # fmt: skip
#: Relative frequency of each kind where a split follows the trained distribution.
FREQUENCY = {"method": 4, "bin": 5, "accept": 5, "left": 5, "refund": 6, "rare": 2}
HARD_FREQUENCY = {"two-refund": 4, "two-left": 4, "late": 4, "late-rare": 2}


class DeskTask:
    """The returns desk of one shop.

    Args:
        seed: fixes the shop's book and every split. There is one packaged shop, 0, whatever the seed of a run.
        max_train: use at most this many training questions.
        max_test: use at most this many questions of every held-out split.
        hard: the harder tier.
    """

    wording = WORDING
    labels: tuple[str, ...] = ()

    def __init__(
        self, seed: int = 0, max_train: int | None = None, max_test: int | None = None, *, hard: bool = False
    ) -> None:
        self.seed, self.name = seed, "desk-hard" if hard else "desk"
        self.kinds, self._frequency = (HARD_KINDS, HARD_FREQUENCY) if hard else (KINDS, FREQUENCY)
        self.book = shop_book(seed)
        self.comments = comments(self.book)
        self.verifier = verifier("desk")
        self._cases: dict[str, Case] = {}
        self._rows: dict[str, list[Question]] = {}
        seen: set[str] = set()

        def common(case: Case) -> bool:
            return not out_of_distribution(case)

        # What a case has to be, and whether its answer rests on an uncommented rule; None: either.
        accepts: dict[str, tuple[Callable[[Case], bool], bool | None]] = {
            "test": (common, False),
            "ood": (held_out, False),
            "uncommented": (common, True),
            "validation": (common, False),
            "train": (common, None),
            "validation_ood": (held_out, False),
            "validation_uncommented": (common, True),
        }
        # Held-out splits first: they must not change when someone asks for more or fewer training questions. (The last
        # two came later; drawn after the others, they changed none of them.)
        for split, (accept, uncommented) in accepts.items():
            self._rows[split] = self._draw(seed, split, accept, uncommented, seen)
        self._told = frozenset(seen)
        self._rows["train"] = self._rows["train"][:max_train]
        for split in self._rows.keys() - {"train"}:
            self._rows[split] = self._rows[split][:max_test]

    def _draw(
        self, seed: int, split: str, accept: Callable[[Case], bool], uncommented: bool | None, seen: set[str]
    ) -> list[Question]:
        source = rng(seed, self.name, "split", split)
        frequency = [self._frequency[kind] for kind in self.kinds]
        rows: list[Question] = []
        while len(rows) < SIZES[split]:
            kind = source.choices(self.kinds, frequency)[0]
            # Draw until a case of this kind fits, so that kinds with picky cases keep their frequency; a split that can
            # have no such case (no held-out condition matters to `method`, say) gives up on the kind instead.
            for _ in range(TRIES):
                case = random_case(kind, source)
                if not accept(case) or (question := tell(case)) in seen or not answerable(case, self.book):
                    continue
                solution = work_out(case, self.book)
                if uncommented is None or uncommented != UNCOMMENTED.isdisjoint(solution.rules):
                    break
            else:
                continue
            seen.add(question)
            row = Question(
                id=f"{split}-{len(rows)}",
                question=question,
                answer=solution.answer,
                split=split,
                kind=case.kind,
                difficulty=len(solution.steps) - 1,
                tags=solution.rules,
            )
            self._cases[row.id] = case
            rows.append(row)
        return rows

    def splits(self) -> tuple[str, ...]:
        """Every split, training first."""
        return tuple(SIZES)

    def rows(self, split: str) -> list[Question]:
        """The questions of a split, always in the same order."""
        return self._rows[split]

    def case(self, question_id: str) -> Case:
        """The case behind a question; the scripted teacher reads it."""
        return self._cases[question_id]

    def edited(self, question: Question, edit: str, source: random.Random) -> Question | None:
        """The case with other days and price (`number`), of another customer or with the receipt turned round (`flip`),
        or told in another order (`wording`), worked out anew; inside or outside the trained distribution as it was."""
        if edit == "wording":
            told = re.sub(r"bought (\d+ days ago) for (\d+ by \w+)", r"bought for \2 \1", question.question)
            return replace(question, question=told) if told != question.question else None
        if edit not in ("number", "flip"):
            return None
        case = self.case(question.id)
        turned = [replace(case, member=not case.member), replace(case, receipt=not case.receipt)]
        source.shuffle(turned)
        drawn = (replace(case, days=source.choice(DAYS), price=source.choice(PRICES)) for _ in range(TRIES))
        for one in drawn if edit == "number" else turned:
            if one != case and out_of_distribution(one) == out_of_distribution(case) and answerable(one, self.book):
                return replace(question, question=tell(one), answer=work_out(one, self.book).answer)
        return None

    def fresh(self, case: Case) -> bool:
        """Whether the case is of the trained distribution and none of any split, as if none had been cut short."""
        return tell(case) not in self._told and not out_of_distribution(case)
