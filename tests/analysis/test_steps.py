from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.analysis.arithmetic import equations, numbers
from realm.analysis.steps import (
    FALSE_SUM,
    OTHER_OPERATION,
    OTHER_QUANTITY,
    OTHER_VALUE,
    OTHER_WORDS,
    STOPS_EARLY,
    UNKNOWN,
    Reference,
    bare,
    split_steps,
)

TRUE = [
    "60 / 3 = 20",
    "60 meters/sprint * 3 sprints/day = 180 meters per day",
    "3 x 60 = 180 and 180 × 3 = 540",
    "He runs 60/3=<<60/3=20.0>>20 meters",
    "$1,200 + $300 = $1,500",
    "20% of 50 = 10",
    "1/2 = 50%",
    "100 / 3 = 33",
    "2 / 3 = 0.67",
    "2 * 3 = 6 * 2 = 12",  # a chain that runs on
    "((-6 + 7) * -2) = (1 * -2) = -2",
    "2 ^ 3 = 8",
    "x = 5 + 3 = 8",
    "so 4 - -5 = 9",
    "15 / 60 = 25 percent",
    "15 / 60 = 25%",
    "7 / 2 = 4",
    "33.3 * 30 = 1000",  # of a third that was rounded
    "2.5 * 3 = 8",
    # as LaTeX and Markdown have it
    r"$3 \times 4 + 2 = 14$",
    r"\text{Total} = 20 \div 4 + 1 = \boxed{6}",
    r"\frac{12}{3} + 2 \cdot 3 &= 10 \\",
    r"20\% \times \$50 = \$10",
    "1{,}200 + 300 = 1{,}500",
    "5 × 8 = **40**",
    # the mark of an entry is no sign
    "- 5 apples * $0.75 = $3.75",
    "* 5 * 3 = 15",
    "2) 5 + 3 = 8",
    "120 total units x 1/4 = 30 units",
    "1/2 of 20 + 5 = 15",
    "4800 minutes + 240 minutes = 5040 minutes",
]
FALSE = [
    "60 / 3 = 21",
    "he has 7 + 5 = 13 apples",
    "10 - 3 = 7. Then 7 * 2 = 15.",
    "(-6 + 4 + 9) = (-2 + 13) = 11",
    "2 / 3 = 0.57",
    "7 * 8 = 54 dollars",
    "6 / 3 = 200",  # a hundred times as much is no percentage
    "0.05 * 200 = 1000",
    "$1.20 + $1 = $3",
    r"\[ 3 \times 4 = 13 \]",
    r"5 + 3 = \boxed{9}",
    "17 - 2 = **5** tadpoles",
    "- 5 * 3 = 16",
    "50% * 20 + 1 = 12",
]
#: Nothing is stated, or nothing that is understood.
SILENT = [
    "5x + 3 = 13",
    "y = 2x + 5 = 7",
    "def f(a=3): return a == 4",
    "3 = three",
    "a = b",
    "1 / 0 = 5",
    "9 ^ 9999 = 1",
    "=",
    # an operand is lost: at a sign before, at a word between, as a part of a name
    r"\sqrt{16} + 2 * 3 = 10",
    "4! + 2 * 3 = 30",
    "|-5| + 2 * 3 = 11",
    "f(2) + 3 * 2 = 10",
    "Andrea's 52 apples + Jamal's 44 apples + 48 bananas = 144 fruits",
    "Alani (20 * 2) + Margot (60 * 2) = 160",
    "he is J3 + 2 = 37",
    "3.5e3 + 1 = 3501",
    # the number is another one
    "12:30 + 2 = 14:30",
    "1,5 + 2 = 3,5",
    "3 dozen + 2 * 3 = 42",
    "twice 20 + 5 = 45",
    "13 boxes of 12 + 4 = 160",
    "1 piece every 2 hours * 8 hours = 4 pieces",
    "4 feet + 3 inches = 51 inches",
    "1 hour and 20 minutes + 5 minutes = 1 hour and 25 minutes",
    "10 * 25 cents = $2.50",
    "$100 - 20% = $80",
    "40 nickels x 5 cents = 2 dollars",
    "the low of these 3 countries is -30 / 3 = -10",
]


@pytest.mark.parametrize("text", TRUE)
def test_true_sums(text: str) -> None:
    found = equations(text)
    assert found
    assert all(equation.true for equation in found)


@pytest.mark.parametrize("text", FALSE)
def test_false_sums(text: str) -> None:
    assert not all(equation.true for equation in equations(text))


@pytest.mark.parametrize("text", SILENT)
def test_what_is_not_understood_is_left_alone(text: str) -> None:
    assert all(equation.true for equation in equations(text))


def test_letters_keep_their_values() -> None:
    known: dict[str, float] = {}
    equations("Let's calculate A = (2 * 3) = 6.", known)
    assert known == {"A": 6.0}
    assert [equation.true for equation in equations("A + 1 = 7", known)] == [True]
    assert [equation.true for equation in equations("A + 1 = 8", known)] == [False]
    equations("40% of P = 240", known)
    assert "P" not in known


@given(st.text(alphabet="0123456789+-*/^()=. xA%,[]{}$é", max_size=200))
def test_any_text_is_read(text: str) -> None:
    equations(text, {})
    numbers(text)


@pytest.mark.parametrize(
    "text", ["(" * 4000 + "1" + ")" * 4000 + "=1", "9^9^9^9 = 1", "-" * 5000 + "1=1", "1" * 5000 + "=1+1"]
)
def test_hostile_sums_cost_nothing(text: str) -> None:
    assert all(equation.true for equation in equations(text))


def test_steps_are_lines_or_sentences() -> None:
    assert split_steps("a b\nc d\n\ne f") == ["a b", "c d", "e f"]
    assert split_steps("One thing. Then 2.5 of it. Mr. X e.g. agrees! Done") == [
        "One thing.", "Then 2.5 of it.", "Mr. X e.g. agrees!", "Done",
    ]  # fmt: skip
    assert split_steps("1. Add them. 2. Take away. ") == ["1. Add them.", "2. Take away."]
    assert split_steps("It costs 2. 65 - 2 = 63. So 63.") == ["It costs 2.", "65 - 2 = 63.", "So 63."]
    assert split_steps("x = 1\ny = 2\nA: 3") == ["x = 1", "y = 2"]
    assert split_steps(" \n ") == []


def test_hedges_and_citations_are_no_part_of_what_is_said() -> None:
    assert (
        bare("Usually a lamp has 30 days.")
        == bare("By the book, a lamp has 30 days")
        == ("a", "lamp", "has", "30", "days")
    )


QUESTION = "Ann has 3 boxes of 12 eggs and breaks 6 of them. How many are whole?"
RIGHT = "3 boxes hold 3 * 12 = 36 eggs.\nShe breaks 6 of them.\nSo 36 - 6 = 30 are whole."

# wrong CoT, its answer, step, kind
DIVERGING = [
    ("3 boxes hold 3 * 12 = 38 eggs.\nShe breaks 6.\nSo 38 - 6 = 32.", "32", 0, FALSE_SUM),
    ("3 boxes hold 3 * 12 = 36 eggs.\nShe breaks 6.\nSo 36 + 6 = 42.", "42", 2, OTHER_OPERATION),
    ("First we count.\nThe boxes hold 3 * 6 = 18 eggs.\nSo 18 are whole.", "18", 1, OTHER_QUANTITY),
    ("3 boxes hold 3 * 12 = 36 eggs.\nThat is it.\nSo 36.", "36", 2, STOPS_EARLY),
    ("3 boxes hold 3 * 12 = 36 eggs.\nShe breaks 7 of them.\nSo it is less.", "29", 1, OTHER_VALUE),
    (
        "3 boxes hold 3 * 12 = 36 eggs.\nMy cousin likes omelettes on Sundays.\nSo 36 - 6 = 30 are whole.",
        "x",
        1,
        OTHER_WORDS,
    ),
]


@pytest.mark.parametrize(("text", "answer", "index", "kind"), DIVERGING)
def test_where_a_wrong_cot_leaves_the_right_one(text: str, answer: str, index: int, kind: str) -> None:
    found = Reference(QUESTION, [RIGHT]).diverging(text, answer)
    assert (found.index, found.kind) == (index, kind)
    assert found.step == split_steps(text)[index]


def test_a_missed_rule_stands_against_the_right_one() -> None:
    question = "A customer returns a lamp, bought by card. Which bin?"
    right = ["By the book, a lamp goes to bin amber 31. So amber 31.", "A lamp goes to bin amber 31. So amber 31."]
    found = Reference(question, right).diverging("Usually a lamp goes to bin coral 27. So coral 27.", "coral 27")
    assert (found.index, found.kind) == (0, OTHER_VALUE)
    assert bare(found.right) == ("a", "lamp", "goes", "to", "bin", "amber", "31")


def test_without_a_right_cot_only_a_false_sum_counts() -> None:
    reference = Reference(QUESTION, [])
    found = reference.diverging("3 * 12 = 36\n36 - 6 = 31\nso 31", "31")
    assert (found.index, found.kind, found.step) == (1, FALSE_SUM, "36 - 6 = 31")
    assert reference.diverging("A = 2 * 3 = 6\nB = A + 1 = 8\nso 8", "8").index == 1
    assert reference.diverging("no idea at all", "5").kind == UNKNOWN
    assert reference.diverging("", "").kind == UNKNOWN


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=20))
def test_any_text_has_a_divergence(right: str, wrong: str, answer: str) -> None:
    for positives in ([], [right]):
        found = Reference(right, positives).diverging(wrong, answer)
        steps = split_steps(wrong)
        assert found.step == (steps[found.index] if steps and found.kind != UNKNOWN else "")


FEES = [
    "The fee is 5 euro.\nExpress adds 7: 5 + 7 = 12.\nTogether 12 - 1 = 11.",
    "Express adds 7.\nIt is green.\nSo 11.",
]


@pytest.mark.parametrize(
    ("text", "answer", "kind", "right"),
    [
        ("The fee is 5 euro.\nExpress  adds 7: 5 + 7 = 12.\nA: 12", "12", STOPS_EARLY, "Together 12 - 1 = 11."),
        ("The fee is 5 euro.\nIt is green.", "x", STOPS_EARLY, "So 11."),
        ("The fee is 5 euro.\nIt is green.\nSo 11.", "x", UNKNOWN, ""),
        ("It is green.\nIt glitters and glows.\nSo 11.", "x", OTHER_WORDS, ""),
    ],
)  # fmt: skip
def test_a_step_of_a_right_cot_tells_against_nothing(text: str, answer: str, kind: str, right: str) -> None:
    found = Reference("How much is it?", FEES).diverging(text, answer)
    assert (found.kind, found.right) == (kind, right)
    if kind == STOPS_EARLY:
        assert found.index == len(split_steps(text)) - 1


def test_a_false_sum_that_right_cots_state_too_tells_nothing() -> None:
    right = "We take 2 + 2 = 5 boxes.\nThey weigh 9.\nSo 9."
    found = Reference("What do they weigh?", [right]).diverging("We take 2 + 2 = 5 boxes.\nThey weigh 8.\nSo 8.", "8")
    assert (found.index, found.kind) == (1, OTHER_VALUE)


@given(
    st.lists(st.sampled_from([step for fee in FEES for step in fee.split("\n")] + ["Else 3."]), min_size=1, max_size=5)
)
def test_the_diverging_step_is_never_a_right_one(steps: list[str]) -> None:
    found = Reference("How much is it?", FEES).diverging("\n".join(steps), "x")
    assert found.kind in (STOPS_EARLY, UNKNOWN) or found.step == "Else 3."
