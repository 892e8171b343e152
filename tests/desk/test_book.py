"""Rules in words: what a text states is read back."""

from __future__ import annotations

import pytest

from realm.desk.book import RULES, random_book, state_rule, stated
from realm.method.seeds import rng


@pytest.mark.parametrize("seed", range(5))
def test_every_rule_is_read_back_as_it_is_stated(seed: int) -> None:
    book = random_book(rng(seed, "any"))
    for rule in RULES:
        assert stated(f"By the book, {state_rule(rule, book[rule])}. So 7.") == {rule: book[rule]}
    assert stated(" ".join(state_rule(rule, book[rule]).capitalize() + "." for rule in RULES)) == book


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("A lamp has 31 days.", {}),
        ("A lamp has 7 days. A lamp has 14 days.", {"window:lamp": "7"}),
        ("A lamp goes to bin amber 270.", {}),
        ("a LAMP goes to bin AMBER 27", {"bin:lamp": "amber 27"}),
        ("A gift goes to bin amber 27", {"markbin:gift": "amber 27"}),
        ("A gift always comes back.", {"markaccept:gift": "always"}),
        ("nopened costs 9", {}),
    ],
)
def test_what_is_no_statement(text: str, found: dict[str, str]) -> None:
    assert stated(text) == found
