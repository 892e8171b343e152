"""The desk's cases: worked out by hand, and told so that they can be read back."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from realm.desk.book import ITEMS, PAYMENTS, RULES, UNCOMMENTED, habit_book, random_book, shop_book
from realm.desk.cases import (
    HARD_KINDS,
    KINDS,
    Case,
    Thing,
    answerable,
    held_out,
    out_of_distribution,
    random_case,
    read_case,
    tell,
    work_out,
)
from realm.method.seeds import rng

BOOK = {
    **dict.fromkeys(RULES, "?"),
    "window:lamp": "14",
    "window:tent": "10",
    "bonus:member": "5",
    "fee:worn": "9",
    "fee:opened": "4",
    "receipt:none": "3",
    "method:cash": "credit",
    "bin:lamp": "amber 27",
    "markbin:gift": "ruby 11",
    "markaccept:gift": "always",
    "markaccept:loan": "never",
}
CASE = Case("accept", "lamp", False, 12, 40, "worn", True, "cash", None)
TWO = replace(CASE, second=Thing("opened", "tent", 25))
LATE = replace(CASE, ask="refund", late=True)


@pytest.mark.parametrize(
    ("changes", "answer", "text"),
    [
        ({}, "yes", "A lamp has 14 days. 12 is within 14. So yes."),
        ({"days": 14}, "yes", "A lamp has 14 days. 14 is within 14. So yes."),
        ({"days": 15}, "no", "A lamp has 14 days. 15 is over 14. So no."),
        (
            {"days": 19, "member": True},
            "yes",
            "A lamp has 14 days. A member gets 5 more days. 14 + 5 = 19. 19 is within 19. So yes.",
        ),
        ({"ask": "left"}, "2", "A lamp has 14 days. 14 - 12 = 2. So 2."),
        ({"ask": "refund"}, "31", "Worn costs 9. 40 - 9 = 31. So 31."),
        (
            {"ask": "refund", "receipt": False},
            "28",
            "Worn costs 9. No receipt costs 3. 9 + 3 = 12. 40 - 12 = 28. So 28.",
        ),
        ({"ask": "refund", "condition": "sealed"}, "40", "40 - 0 = 40. So 40."),
        ({"ask": "refund", "condition": "sealed", "receipt": False}, "37", "No receipt costs 3. 40 - 3 = 37. So 37."),
        ({"ask": "method"}, "credit", "Cash is paid back by credit. So credit."),
        ({"ask": "bin"}, "amber 27", "A lamp goes to bin amber 27. So amber 27."),
        ({"ask": "bin", "mark": "gift"}, "ruby 11", "A gift goes to bin ruby 11. So ruby 11."),
        ({"days": 40, "mark": "gift"}, "yes", "A gift always comes back. So yes."),
        ({"days": 1, "mark": "loan"}, "no", "A loan never comes back. So no."),
    ],
)
def test_cases_worked_out_by_hand(changes: dict[str, object], answer: str, text: str) -> None:
    solution = work_out(replace(CASE, **changes), BOOK)
    assert (solution.answer, solution.text) == (answer, text)


@pytest.mark.parametrize(
    ("case", "answer", "text"),
    [
        (
            replace(TWO, ask="refund"),
            "52",
            "Worn costs 9. Opened costs 4. 9 + 4 = 13. 40 + 25 = 65. 65 - 13 = 52. So 52.",
        ),
        (
            replace(TWO, ask="refund", receipt=False, second=Thing("worn", "tent", 25)),
            "44",
            "Worn costs 9. No receipt costs 3. 9 + 9 = 18. 18 + 3 = 21. 40 + 25 = 65. 65 - 21 = 44. So 44.",
        ),
        (
            replace(TWO, ask="refund", condition="sealed", second=Thing("sealed", "tent", 25)),
            "65",
            "40 + 25 = 65. 65 - 0 = 65. So 65.",
        ),
        (
            replace(TWO, ask="left", days=8),
            "2",
            "A lamp has 14 days. A tent has 10 days. 14 is over 10. 10 - 8 = 2. So 2.",
        ),
        (
            replace(TWO, ask="left", member=True, item="tent", second=Thing("worn", "lamp", 15)),
            "3",
            "A tent has 10 days. A lamp has 14 days. 10 is within 14. A member gets 5 more days. 10 + 5 = 15. "
            "15 - 12 = 3. So 3.",
        ),
        (
            replace(TWO, ask="left", second=Thing("worn", "lamp", 15)),
            "2",
            "A lamp has 14 days. 14 - 12 = 2. So 2.",
        ),
        (LATE, "31", "A lamp has 14 days. 12 is within 14. Worn costs 9. 40 - 9 = 31. So 31."),
        (
            replace(LATE, days=20, receipt=False),
            "22",
            "A lamp has 14 days. 20 is over 14. 20 - 14 = 6. Worn costs 9. No receipt costs 3. 6 + 9 = 15. "
            "15 + 3 = 18. 40 - 18 = 22. So 22.",
        ),
        (replace(LATE, days=20, mark="gift"), "31", "A gift always comes back. Worn costs 9. 40 - 9 = 31. So 31."),
        (replace(LATE, days=1, mark="loan"), "0", "A loan never comes back. So 0."),
    ],
)
def test_harder_cases_worked_out_by_hand(case: Case, answer: str, text: str) -> None:
    solution = work_out(case, BOOK)
    assert (solution.answer, solution.text) == (answer, text)


def test_an_overlooked_mark_is_no_excuse_for_days_over() -> None:
    case = replace(LATE, days=20, mark="gift")
    assert work_out(case, BOOK, heeds_mark=False) == work_out(replace(case, mark=None), BOOK)


def test_nobody_pays_to_give_something_back() -> None:
    assert answerable(replace(LATE, days=40, price=35), BOOK)  # 26 days over and 9
    assert not answerable(replace(LATE, days=40, price=34), BOOK)


def test_overlooked_mark_falls_back_on_the_common_rule() -> None:
    assert work_out(replace(CASE, ask="bin", mark="gift"), BOOK, heeds_mark=False).answer == "amber 27"


def test_a_slip_carries_through_to_the_answer() -> None:
    solution = work_out(replace(CASE, ask="left", member=True), BOOK, slip=lambda result: result + 1)
    assert solution.text == "A lamp has 14 days. A member gets 5 more days. 14 + 5 = 20. 20 - 12 = 9. So 9."


def test_the_question_tells_every_field() -> None:
    case = Case("bin", "tent", True, 7, 85, "opened", False, "voucher", "recall")
    assert tell(case) == (
        "A member returns an opened tent, bought 7 days ago for 85 by voucher, without receipt. "
        "It is a recall. Which bin?"
    )


@pytest.mark.parametrize("kind", [*KINDS, *HARD_KINDS])
def test_what_is_told_can_be_read_back(kind: str) -> None:
    for index in range(50):
        case = random_case(kind, rng(0, "told", kind, index))
        assert read_case(tell(case)) == case


@pytest.mark.parametrize("text", ["A lamp.", tell(CASE)[1:], tell(TWO).replace(" ago", " ago for 40"), tell(CASE) * 2])
def test_what_nobody_tells_is_not_read(text: str) -> None:
    assert read_case(text) is None


@pytest.mark.parametrize(
    ("changes", "unseen", "matters"),
    [
        ({}, False, False),
        ({"price": 70}, False, False),
        ({"price": 75}, True, False),
        ({"price": 75, "ask": "refund"}, True, True),
        ({"item": "coat", "member": True}, True, True),
        ({"item": "coat", "member": True, "ask": "bin"}, True, False),
        ({"receipt": False}, True, False),
        ({"receipt": False, "ask": "refund"}, True, True),
        ({"mark": "gift"}, True, True),
        ({"mark": "loan"}, False, False),
        ({"second": Thing("opened", "tent", 35), "ask": "refund"}, True, True),
        ({"second": Thing("opened", "tent", 30), "ask": "refund"}, False, False),
        ({"second": Thing("opened", "tent", 30), "ask": "left", "member": True}, True, True),
        ({"second": Thing("worn", "tent", 30), "condition": "opened", "receipt": False, "ask": "refund"}, True, True),
        ({"late": True, "ask": "refund", "item": "coat", "member": True}, True, True),
        ({"ask": "refund", "item": "coat", "member": True}, True, False),
    ],
)
def test_what_is_kept_out_of_training(changes: dict[str, object], unseen: bool, matters: bool) -> None:
    case = replace(CASE, **changes)
    assert (out_of_distribution(case), held_out(case)) == (unseen, matters)


def test_every_kind_is_drawn_as_asked() -> None:
    for kind in (*KINDS, *HARD_KINDS):
        assert {random_case(kind, rng(0, kind, index)).kind for index in range(50)} == {kind}


def test_books_are_functions_of_the_seed() -> None:
    assert shop_book(3) == shop_book(3) != shop_book(4)
    assert set(random_book(rng(1))) == set(RULES)


def test_habit_never_knows_a_code_or_an_uncommented_rule_of_the_shop() -> None:
    for seed in range(20):
        shop, habit = shop_book(seed), habit_book(seed)
        never = [rule for rule in RULES if rule in UNCOMMENTED or rule.startswith(("bin", "markbin"))]
        assert all(shop[rule] != habit[rule] for rule in never)
        assert any(shop[rule] == habit[rule] for rule in RULES)


def test_a_shop_uses_every_alternative_evenly() -> None:
    """Else one answer for every item would be right more often than chance."""
    for seed in range(20):
        shop = shop_book(seed)
        assert sorted(Counter(shop[f"window:{item}"] for item in ITEMS).values()) == [2, 2, 2, 2]
        assert len({shop[f"method:{payment}"] for payment in PAYMENTS}) == 4
        assert len({shop[f"fee:{condition}"] for condition in ("opened", "worn", "scratched")}) == 3
