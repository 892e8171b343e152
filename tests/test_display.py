"""What others wrote cannot act on the terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.display import printable, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 漢字", "plain ü 漢字"),
        ("a\nb\tc", "a⏎b c"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("\ud800", "\\ud800"),
        ("a\u202eb\u200b", "a\\u202eb\\u200b"),
        ("\U000e0041", "\\U000e0041"),
        ("a\u2028b\r", "a\\u2028b\\x0d"),
        ("", ""),
    ],
)
def test_what_acts_is_shown_by_its_number(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(alphabet=st.characters()), st.none() | st.integers(1, 30))
def test_nothing_that_acts_is_left(text: str, width: int | None) -> None:
    shown = printable(text, width)
    assert not any(unicodedata.category(character)[0] == "C" for character in shown)
    assert "\n" not in shown
    assert width is None or len(shown) <= width


def test_what_is_cut_says_so() -> None:
    assert printable("x" * 10**6, 5) == "xxxx…"
    assert printable("xxxxx", 5) == "xxxxx"


def test_lines_stay_lines() -> None:
    assert printable_lines("a\r\n\tb\x1b\nc") == "a\n    b\\x1b\nc"
