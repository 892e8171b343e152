from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.errors import ConfigError
from realm.tasks.verify import INLINE, UnreadableError, Verdict, judge, read_number, verifier

UNREADABLE = None  # the third outcome of the tables below

TABLES: dict[str, list[tuple[str, str, bool | None]]] = {
    # gold, answer, expected
    "exact": [
        ("blue whale", "blue whale", True),
        ("blue whale", "  blue\n whale ", True),
        ("blue whale", "Blue whale", False),
        ("blue whale", "blue whale.", False),
        ("blue whale", "blue", False),
        ("blue", "blue whale", False),
        ("no", "no or yes", False),
        ("blue", "", UNREADABLE),
        ("blue", " \n\t", UNREADABLE),
    ],
    "desk": [
        ("refund code 17", "Refund  CODE 17.", True),
        ("refund code 17", "refund code 17..", False),
        ("refund code 17", "refund code 1", False),
        ("refund code 17", "refund code 17 or refund code 18", False),
        ("refund code 17", ".", UNREADABLE),
        ("refund code 17", " . ", UNREADABLE),
    ],
    "number": [
        ("18", "18", True),
        ("18", "18.", True),
        ("18", "18.00", True),
        ("18", "018", True),
        ("18", "+18", True),
        ("18", "1.8e1", True),
        ("18", "18 dollars", True),
        ("18", "$18", True),
        ("18", "US$18", True),
        ("18", "18 €", True),
        ("18", "\\boxed{18}", True),
        ("18", "**18**", True),
        ("18", "$18$", True),
        ("18", "x = 18", True),
        ("18", "The answer is 18.", True),
        ("18", "18 dollars a day at the farmers' market", True),
        ("18", "60", False),
        ("18", "181", False),
        ("18", "1", False),
        ("18", "-18", False),
        ("18", "18.0001", False),
        ("1234.5", "$1,234.50", True),
        ("1234567", "1,234,567", True),
        ("1234", "1,23,4", UNREADABLE),
        ("1234", "1 234", UNREADABLE),
        ("0.75", "3/4", True),
        ("3/4", "0.75", True),
        ("3/4", "6/8", True),
        ("-3/4", "-0.75", True),
        ("18", "36/2", UNREADABLE),
        ("3", "3/0", UNREADABLE),
        ("50", "50%", True),
        ("50%", "50", True),
        ("0.5", "50%", False),
        ("50%", "0.5", False),
        ("-7", "−7", True),
        ("-7", "–7", True),
        ("-7", "-$7", True),
        ("-7", "$-7", True),
        ("-7", "- 7", True),
        ("-7", "7", False),
        ("7", "--7", UNREADABLE),
        ("7", "-$-7", UNREADABLE),
        ("-7", "minus 7", UNREADABLE),
        ("7", "minus 7", UNREADABLE),
        ("0.5", ".5", True),
        ("18", "18 or 19", UNREADABLE),
        ("18", "17, 18, 19", UNREADABLE),
        ("18", "18-19", UNREADABLE),
        ("18", "18 (or nineteen)", UNREADABLE),
        ("18", "18 - x", UNREADABLE),
        ("18", "9 * 2", UNREADABLE),
        ("18", "9*2", UNREADABLE),
        ("50", "10+John's age", UNREADABLE),
        ("10", "10+John's age", UNREADABLE),
        ("2", "-1.8 billion", UNREADABLE),
        ("18", "18 million", UNREADABLE),
        ("18", "18k", UNREADABLE),
        ("18", "18!", UNREADABLE),
        ("18", "18²", UNREADABLE),
        ("18", "18½", UNREADABLE),
        ("18", "18万", UNREADABLE),
        ("18", "18π", UNREADABLE),
        ("18", "18 and a half", UNREADABLE),
        ("18", "not 18", UNREADABLE),
        ("18", "less than 18", UNREADABLE),
        ("18", "at least 18", UNREADABLE),
        ("18", "At most: 18", UNREADABLE),
        ("18", "18 or more", UNREADABLE),
        ("18", "fewer 18", UNREADABLE),
        ("18", "halve 18", UNREADABLE),
        ("9", "double 9", UNREADABLE),
        ("9", "twice 9", UNREADABLE),
        ("9", "triple 9", UNREADABLE),
        ("18", "18, roughly", UNREADABLE),
        ("18", "About 18.", UNREADABLE),
        ("18", "between 18", UNREADABLE),
        ("18", "There are 18 apples left.", True),
        ("18", "It isn't 18", UNREADABLE),
        ("18", "±18", UNREADABLE),
        ("18", "log(18)", UNREADABLE),
        ("18", "A18", UNREADABLE),
        ("18", "0x12", UNREADABLE),
        ("18", "١٨", UNREADABLE),
        ("18", "eighteen", UNREADABLE),
        ("18", "18" + " dollars" * 30, UNREADABLE),
        ("1000", "1e3", True),
        ("18", "1e999999", UNREADABLE),
        ("18", "9" * 10**6, UNREADABLE),
        ("18", "nan", UNREADABLE),
        ("18", "inf", UNREADABLE),
        ("18", "", UNREADABLE),
        ("18", "dollars", UNREADABLE),
        ("18", "__import__('os')", UNREADABLE),
        ("", "18", UNREADABLE),
    ],
    "choice": [
        ("B", "B", True),
        ("B", "b", True),
        ("B", "(B)", True),
        ("B", "**B.**", True),
        ("B", "A", False),
        ("B", "A or B", UNREADABLE),
        ("B", "AB", UNREADABLE),
        ("B", "not B", UNREADABLE),
        ("B", "D", UNREADABLE),
        ("B", "()", UNREADABLE),
        ("D", "D", UNREADABLE),
    ],
    "python": [
        ("[(4, 1), 'a']", '[(4,1),"a"]', True),
        ("{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}", True),
        ("{1, 2}", "{2, 1}", True),
        ("1.0", "1", True),
        ("True", "1", False),
        ("[True]", "[1]", False),
        ("{True: 0}", "{1: 0}", False),
        ("[1]", "(1,)", False),
        ("'a'", "b'a'", False),
        ("'a'", "a", UNREADABLE),
        ("[0, 0]", "[0] * 2", UNREADABLE),
        ("3", "1 + 2", UNREADABLE),
        ("3", "len('abc')", UNREADABLE),
        ("None", "__import__('os').abort()", UNREADABLE),
        ("1", "9" * 10**6, UNREADABLE),
        ("1", "9" * 9000, UNREADABLE),
        ("1", "", UNREADABLE),
        ("''", "", UNREADABLE),
        ("''", '""', True),
    ],
}


@pytest.mark.parametrize(
    ("name", "gold", "answer", "expected"),
    [
        pytest.param(name, *row, id=f"{name}-{number}-{row[1][:20]!r}")
        for name, rows in TABLES.items()
        for number, row in enumerate(rows)
    ],
)
def test_table(name: str, gold: str, answer: str, expected: bool | None) -> None:
    found = judge(verifier(name, ("A", "B", "C")), answer, gold)
    if expected is UNREADABLE:
        assert not found.correct and found.reason in ("unreadable", "unreadable gold")
    else:
        assert found == Verdict(expected)


def test_numbers_are_read_exactly() -> None:
    assert read_number("0.1") == Fraction(1, 10)
    assert read_number("−$1,234.50") == Fraction(-2469, 2)
    assert read_number("1e-3 m") == Fraction(1, 1000)


@pytest.mark.parametrize("name", ["exact", "number", "choice", "desk", "python", "math"])
@pytest.mark.parametrize("empty", ["", " ", "\n\t ", "\u3000", None])
def test_an_empty_answer_never_verifies_even_against_an_empty_gold(name: str, empty: str | None) -> None:
    check = verifier(name, ("A", "B"))
    assert not judge(check, empty, empty or "").correct
    if empty is not None:
        with pytest.raises(UnreadableError):
            check(empty, empty)


@pytest.mark.parametrize("name", INLINE)
@pytest.mark.parametrize("unit", ["9", " ", "1,", "-", "a ", ".", "1/", "$", "(", "1e", "\u2212", "\ud800", "<answer>"])
def test_inline_verifiers_take_linear_time_on_a_million_characters(name: str, unit: str) -> None:
    text = unit * (10**6 // len(unit)) + "x"
    start = time.perf_counter()
    judge(verifier(name, ("A", "B")), text, "18")
    judge(verifier(name, ("A", "B")), "18", text)
    assert time.perf_counter() - start < 20  # quadratic: many minutes


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("0123456789.,/-−+eE$% xnot\n"), max_size=30))
def test_number_reads_one_value_or_none(text: str) -> None:
    """Whatever a text holds, it can be right for one gold only: right for 7 and for 8 would be a hedge."""
    check = verifier("number")
    right = [gold for gold in ("0", "1", "7", "8", "-7", "0.7", "70", "7000") if judge(check, text, gold).correct]
    assert len(right) <= 1


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*INLINE, "python"]), st.text(max_size=60), st.text(max_size=60))
def test_judge_never_raises(name: str, answer: str, gold: str) -> None:
    verdict = judge(verifier(name, ("A", "B")), answer, gold)
    assert not (verdict.correct and (verdict.reason or not answer.strip()))


def test_what_a_verifier_raises_is_the_reason() -> None:
    class Broken:
        name = "broken"

        def __call__(self, answer: str, gold: str, question: str = "") -> bool:
            raise ZeroDivisionError("x" * 1000)

    verdict = judge(Broken(), "1", "1")
    assert not verdict.correct
    assert verdict.reason.startswith("error: ZeroDivisionError: xxx")
    assert len(verdict.reason) == 200


@pytest.mark.parametrize("choices", [(), ("A",), ("A", "a"), ("A", "(A)"), ("A", "--", "()")])
def test_choices_that_cannot_be_told_apart_are_refused(choices: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"task\.choices"):
        verifier("choice", choices)


def test_an_unknown_verifier_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'fuzzy'.*exact.*number.*math"):
        verifier("fuzzy")
