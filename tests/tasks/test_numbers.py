"""The verifier `number`: (gold, answer, verdict, why). None: unreadable. `…`, that no list foresaw, are none either."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.tasks.numbers import Number, read_number, read_quantity
from realm.tasks.reading import UnreadableError
from realm.tasks.verify import Verdict, judge

TABLE: list[tuple[str, str, bool | None, str]] = [
    # plain
    ("18", "18", True, "the same digits"),
    ("18", "18.00", True, "equal as values"),
    ("18", "018", True, "leading zeros are no value"),
    ("18", "+18", True, "a plus is no value"),
    ("18", "60", False, "another number"),
    ("18", "181", False, "a longer number"),
    ("18", "-18", False, "the sign counts"),
    ("18", "18.0001", False, "nothing is rounded"),
    ("0.333", "1/3", False, "nothing is rounded"),
    ("0", "-0", True, "equal as values"),
    ("5", ".5e1", True, "a power of ten"),
    ("1500", "1.5x10^3", True, "a power of ten"),
    ("1500", "1.5x10³ m", True, "a power of ten"),
    ("510", "5x10", None, "a product that was not worked out"),
    ("60", "60 mph", True, "a unit by another one"),
    ("60 miles per hour", "60 mph", True, "the same unit"),
    ("60 km/h", "60 mph", False, "another unit"),
    # signs
    ("-7", "−7", True, "the minus of typographers"),
    ("-7", "- 7", True, "a blank behind the sign"),
    ("-7", "minus 7", True, "a sign in words"),
    ("7", "minus 7", False, "a sign in words"),
    ("-7", "-$7", True, "before the currency"),
    ("-7", "$-7", True, "behind the currency"),
    ("7", "--7", None, "two signs"),
    ("7", "-$-7", None, "two signs"),
    ("7", "±7", None, "two values"),
    ("-7", "(7)", False, "brackets alone are no sign"),
    ("-1234.5", "($1,234.50)", True, "an amount in brackets is a loss, as accountants write it"),
    ("1234.5", "($1,234.50)", False, "an amount in brackets is a loss, as accountants write it"),
    # separators
    ("1234567", "1,234,567", True, "thousands"),
    ("1234567", "12,34,567", True, "lakhs and thousands, as in India"),
    ("1234567", "1 234 567", True, "thousands by blanks"),
    ("1234567", "1\u202f234\u202f567", True, "thousands by thin blanks"),
    ("1234567", r"1\,234\,567", True, "thousands by LaTeX's thin blanks"),
    ("1234567", "1'234'567", True, "thousands as in Switzerland"),
    ("1234567", "1_234_567", True, "thousands as in code"),
    ("1234.5", "1.234,5", True, "both separators, so that it is told which is which"),
    ("12000", r"12{,}000", True, "LaTeX's comma without its space"),
    ("1234", "1,23,4", None, "no grouping"),
    ("3.5", "3,5", None, "a list, or a decimal comma"),
    ("18", "18, 19", None, "two numbers"),
    ("18", "18-19", None, "a range"),
    ("5", "5...10", None, "a range"),
    ("5", "5..", None, "more to come"),
    # fractions
    ("3/4", "0.75", True, "equal as values"),
    ("3/4", "6/8", True, "equal as values"),
    ("0.75", r"\frac{3}{4}", True, "LaTeX"),
    ("2.5", "2 1/2", True, "a mixed number"),
    ("2.5", "2½", True, "a mixed number"),
    ("18", "36/2", None, "a division that was not carried out"),
    ("12", "12 / 1", None, "a division that was not carried out"),
    ("3", "3/0", None, "no number"),
    # powers of ten and scales
    ("1200", "1.2 × 10^3", True, "a power of ten"),
    ("1200", r"1.2 \times 10^{3}", True, "a power of ten"),
    ("1200", "1.2·10³", True, "a power of ten"),
    ("1200", "1.2*10**3", True, "a power of ten"),
    ("1200", "1.2E+03", True, "a power of ten"),
    ("0.001", "10^-3", True, "a power of ten"),
    ("42", "42 million", False, "a scale multiplies"),
    ("42000000", "42 million", True, "a scale multiplies"),
    ("42000", "42k", True, "a scale multiplies"),
    ("42", "42M", False, "a scale multiplies"),
    ("500000", "5 lakh", True, "a scale of India"),
    ("5", "5 lakh", False, "a scale of India"),
    ("5", "5 Mio.", False, "a scale of Germany"),
    ("5", "5千", False, "a scale of China"),
    ("5", "$5B", False, "money"),
    ("5000000000", "$5B", True, "money"),
    ("36", "3 dozen", True, "a scale"),
    ("5", "5 gazillion", None, "a word that nobody knows"),
    ("5", "5 G", None, "a letter that may be a scale"),
    ("5", "5 mil", None, "a thousand, a million or a thousandth of an inch"),
    # units
    ("18", "18 dollars", True, "a unit that the gold does not have"),
    ("18", "US$18", True, "a currency"),
    ("18", "18,- €", True, "a currency"),
    ("18", "18 USD", True, "a currency"),
    ("18", "$18.00 per day", True, "a unit of two"),
    ("18 dollars", "18", True, "a unit that the answer leaves out"),
    ("50", "50%", True, "a percent sign is a unit"),
    ("50%", "50", True, "a percent sign is a unit"),
    ("50%", "0.5", False, "a percent sign is a unit"),
    ("0.5", "50%", False, "a percent sign is a unit"),
    ("5", "5 percentage points", True, "a unit"),
    ("5", "5‰", False, "not per cent"),
    ("5", "5 ppm", False, "not per cent"),
    ("5", "5 basis points", False, "not per cent"),
    ("30", "30 °C", True, "a unit"),
    ("30", r"30^{\circ}", True, "a unit"),
    ("42", "42 m²", True, "a unit with a power"),
    ("42", "42 m/s^2", True, "a unit of two"),
    ("42", "42 square meters", True, "a unit in words"),
    ("3 hours", "3 minutes", False, "two units"),
    ("3 hours", "180 minutes", True, "two units of one dimension"),
    ("5 km", "5000 m", True, "two units of one dimension"),
    ("5 kg", "5 g", False, "two units"),
    ("5 m", "5 m^2", False, "two units"),
    ("$5", "€5", False, "two currencies"),
    ("3 PM", "3 AM", False, "two times of day"),
    # nouns
    ("18", "18 apples", True, "what problems count"),
    ("3 apples", "3 pears", False, "what is counted differs"),
    ("3 wombats", "3 wombats", True, "a noun of the gold"),
    ("3", "3 wombats", None, "a noun of nobody"),
    ("18", "There are 18 apples left.", True, "words that introduce an answer"),
    ("18", "The answer is 18.", True, "words that introduce an answer"),
    ("5", "5th", True, "an ordinal"),
    ("5", "No. 5", True, "an ordinal"),
    ("5", "#5", True, "an ordinal"),
    ("5 dimes", "5 nickels", None, "a noun of nobody"),
    ("3 blue marbles", "3 red marbles", None, "what is counted differs"),
    ("3 blue marbles", "3 marbles", True, "it may be said shorter"),
    ("20 students", "20%", False, "a noun is no unit"),
    ("3 hours", "3 apples", False, "a noun is no unit"),
    ("60 mph", "60 km/h", False, "a unit that nobody knows is not the other one"),
    ("30 °C", "30 degrees Celsius", True, "the same unit in words"),
    ("18", "$18/day", True, "a unit of two"),
    ("12", "12 items/hour", True, "a unit of two"),
    ("45", "45 cm2", True, "a power without its sign"),
    ("5 MB", "5 Mb", None, "a unit in another case is another one"),
    # equations
    ("18", "x = 18", True, "a name for it"),
    ("12", "5 + 7 = 12", True, "a true equation"),
    ("12", "3 x 4 = 12", True, "a true equation"),
    ("12", "12 = 4 + 8", True, "a true equation"),
    ("12", "=12", True, "an equation with nothing on one side"),
    ("12", "5 + 8 = 12", None, "a false equation"),
    ("5", "5 = 7", None, "a false equation"),
    ("18", "9 * 2", None, "a calculation that was not carried out"),
    # parentheses
    ("12", "12 (twelve)", True, "the same again"),
    ("12", "12 (4 + 8)", True, "the same again"),
    ("12", "12 (thirteen)", None, "something else"),
    ("5", "5 (not 6)", None, "something else"),
    # hedges, negations and other changes, known to a list or not
    *[
        ("5", answer, None, "it hedges, negates or changes the number")
        for answer in """
        maybe 5|possibly 5|I guess 5|unlikely 5|about 5|~5|≈5|5ish|5+|5?|close to 5|at least 5|5 at most|max 5|not 5
        |is not 5|cannot be 5|It isn't 5|no 5|every number except 5|without 5|5 or more|5 factorial|5 squared|5 halved
        |square of 5|root of 5|twice 5|5 thirds|5 tenths|a quarter of 5|5 and a half|5 base ten|5 mod|log(5)|x5|a5|5e|5i
        |5 or 6|between 5|> 5|x > 5|5 -|\\pm 5|$\\pm 5$|5 ❌|❌ 5|sqrt(x) = 5|5<br>6|$5$$6$|5 is wrong|h 5
        |supposedly 5|on the order of 5|5π|√5|5²|5!!|0x5|٥|V|five
        """.replace("\n", "").split("|")
    ],
    ("5", "5!", True, "an exclamation, not a factorial: a number is asked for"),
    # markup
    ("18", "**18**", True, "markup"),
    ("18", "*18*", True, "markup"),
    ("18", "`18`", True, "markup"),
    ("18", "<b>18</b>", True, "markup"),
    ("18", r"\boxed{18}", True, "markup"),
    ("18", r"$\boxed{\text{18}}$", True, "markup"),
    ("18", "$18$", True, "the signs of a formula are no currency"),
    ("18", "[18]", True, "brackets"),
    ("18", "🎉 18", True, "a picture"),
    ("18", r"18~\mathrm{cm}", True, "a blank of LaTeX"),
    # times, dates, others
    ("3", "3:30", None, "a time"),
    ("3:4", "0.75", None, "the gold is no number"),
    ("2024", "2024-05-01", None, "a date"),
    ("5", "5 May 2024", None, "a date"),
    ("18", "nan", None, "no number"),
    ("18", "inf", None, "no number"),
    ("18", "", None, "nothing"),
    ("", "18", None, "no gold"),
    ("18", "dollars", None, "no number"),
    ("18", "__import__('os')", None, "no number"),
    ("18", "1e999999", None, "too large"),
    ("18", "9" * 10**6, None, "too long"),
    ("18", "18" + " dollars" * 30, None, "too long"),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "answer", "right", "why"), TABLE)
def test_table(gold: str, answer: str, right: bool | None, why: str) -> None:
    found = judge(Number(), answer, gold)
    assert (found.correct if not found.reason else None) == right, why


def test_a_noun_of_the_question_may_stand_beside_the_number() -> None:
    question = "At least how many more wombats than emus live there, not counting the twelve young?"
    assert judge(Number(), "3 wombats", "3", question).correct
    assert judge(Number(), "3 more wombats", "3", question).correct, "the question asks how many more"
    for answer in (
        "at least 3",
        "3 more than that",
        "3 emus more or less",
        "not 3",
        "3 twelve",
        "3 young wombats or emus",
    ):
        assert not judge(Number(), answer, "3", question).correct, answer


def test_nouns_of_the_question_are_compared() -> None:
    question = "She has red and blue marbles, nickels and dimes. How many?"
    assert judge(Number(), "5 nickels", "5 dimes", question) == Verdict(False)
    assert judge(Number(), "3 red marbles", "3 blue marbles", question) == Verdict(False)
    assert judge(Number(), "5 dimes", "5 dimes", question).correct


def test_letters_of_the_question_are_no_nouns() -> None:
    for answer in ("5x", "5 x", "5 y"):
        assert not judge(Number(), answer, "5", "Solve 5x + y = 7 for x.").correct, answer


def test_a_scale_that_the_question_asks_in_may_be_said_again() -> None:
    assert judge(Number(), "7 dozen", "7", "How many dozen eggs are there?").correct
    assert judge(Number(), "3 million", "3", "How many million people live there?").correct
    assert not judge(Number(), "7 dozen", "7", "How many eggs are there?").correct
    assert not judge(Number(), "7 million", "7", "How many dozen eggs are there?").correct


def test_an_unreadable_gold_is_told_from_an_unreadable_answer() -> None:
    assert judge(Number(), "5", "many").reason == "unreadable gold"
    assert judge(Number(), "many", "5").reason == "unreadable"


def test_numbers_are_read_exactly() -> None:
    assert read_number("0.1") == Fraction(1, 10)
    assert read_number("−$1,234.50") == Fraction(-2469, 2)
    assert read_number("1e-3 m") == Fraction(1, 1000)


@settings(max_examples=500, deadline=None)
@given(st.text(st.sampled_from("0123456789.,/-−+eE$%() xkMnot\n="), max_size=30))
def test_one_value_or_none(text: str) -> None:
    """Whatever a text holds, it can be right for one gold only: right for 7 and for 8 would be a hedge."""
    right = [gold for gold in ("0", "1", "7", "8", "-7", "0.7", "70", "7000") if judge(Number(), text, gold).correct]
    assert len(right) <= 1


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=60) | st.text(st.sampled_from("5 ()[]{}$€%^*/\\=kmMinora+-.,"), max_size=40))
def test_any_text_is_a_quantity_or_unreadable(text: str) -> None:
    try:
        found = read_quantity(text, ())
    except UnreadableError:
        return
    assert found.same(found)
    assert Number()(text, text)
