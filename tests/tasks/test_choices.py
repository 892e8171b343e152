"""The verifier `choice`: (answer, what is read, why). None: unreadable."""

from __future__ import annotations

import pytest

from realm.tasks.choices import Choice
from realm.tasks.reading import UnreadableError

LETTERS = Choice(("A", "B", "C", "D", "E"))
WORDS = Choice(("yes", "no", "not enough information"))

TABLE: list[tuple[str, str | None, str]] = [
    ("B", "B", "plain"),
    ("b", "B", "any case where it stands alone"),
    ("(B)", "B", "brackets"),
    ("B.", "B", "a full stop"),
    ("**B**", "B", "markup"),
    (r"\boxed{\text{B}}", "B", "markup"),
    (r"\textbf{(B)}", "B", "markup"),
    ("【B】", "B", "brackets of others"),
    ("Ｂ", "B", "a wide letter"),
    ("В", None, "a letter of another alphabet"),
    ("- B", "B", "a list of one"),
    ("B ✓", "B", "a tick"),
    ("Option B", "B", "its own name"),
    ("Choice (B)", "B", "its own name"),
    ("the answer is B", "B", "a sentence"),
    ("I'd go with B.", "B", "a sentence"),
    ("B is correct", "B", "a sentence"),
    ("B is the right answer.", "B", "a sentence"),
    ("B) Paris", "B", "with its text"),
    ("(B) Paris", "B", "with its text"),
    ("B. Paris", "B", "with its text"),
    ("B - Paris", "B", "with its text"),
    ("B: Paris", "B", "with its text"),
    ("B because the others fail", "B", "with its reason"),
    ("the answer is B because A is too small", "B", "a reason may name another"),
    ("C, since A and B fail", "C", "a reason may name another"),
    ("Paris", None, "the text alone is not among the choices"),
    ("B is the most likely answer", "B", "a sentence"),
    ("I'll go with B", "B", "a sentence"),
    ("B, not A", "B", "the other is denied"),
    ("B rather than A", "B", "the other is denied"),
    ("B. A is wrong.", "B", "the other is denied"),
    ("B) Both A and C", "B", "with its text"),
    ("B. Vitamin C deficiency", "B", "with its text"),
    ("B) red or blue", "B", "with its text"),
    ("B) It does not change", "B", "with its text"),
    ("B because it fits. Wait, actually the answer is C.", None, "taken back"),
    ("B. A also fits", None, "two"),
    ("B: False", None, "taken back"),
    ("B. No.", None, "taken back"),
    ("B. Paris. Incorrect.", None, "taken back"),
    ("B ❌", None, "taken back"),
    ("B (incorrect)", None, "taken back"),
    ("B (or C)", None, "two"),
    ("B (maybe)", None, "a hedge"),
    ("A or B", None, "two"),
    ("B and C", None, "two"),
    ("A, B", None, "two"),
    ("AB", None, "two"),
    ("B) or C)", None, "two"),
    ("B. No wait, C.", None, "two"),
    ("not B", None, "negated"),
    ("The answer is not B", None, "negated"),
    ("B is wrong", None, "negated"),
    ("B, or not", None, "a hedge"),
    ("~~A~~ B", None, "something is crossed out"),
    ("F", None, "no choice"),
    ("2", None, "no choice"),
    ("Banana", None, "a word that begins like one"),
    ("()", None, "nothing"),
    ("B" * 5000, None, "an essay"),
]


@pytest.mark.parametrize(("answer", "read", "why"), TABLE)
def test_letters(answer: str, read: str | None, why: str) -> None:
    assert _read(LETTERS, answer) == read, why


@pytest.mark.parametrize(
    ("answer", "read", "why"),
    [
        ("Yes.", "yes", "case and punctuation"),
        ("no", "no", "plain"),
        ("Not enough information", "not enough information", "the longest that fits, not `no`"),
        ("not-enough-information", "not enough information", "hyphens"),
        ("not_enough_information", "not enough information", "underscores"),
        (r"\text{Yes}", "yes", "markup"),
        ("No, because it is raining", "no", "with its reason"),
        ("No, it is not possible.", "no", "with its reason"),
        ("No. Hamsters do not lay eggs.", "no", "with its reason"),
        ("The answer is: no", "no", "a sentence"),
        ("not - enough information", "not enough information", "hyphens"),
        ("Yes, that's false", None, "taken back"),
        ("Yes, because it fits. So the answer is no.", None, "two"),
        ("yes or no", None, "two"),
        ("not enough info", None, "no choice"),
        ("true", None, "no choice"),
        ("nothing", None, "a word that begins like one"),
    ],
)
def test_words(answer: str, read: str | None, why: str) -> None:
    assert _read(WORDS, answer) == read, why


@pytest.mark.parametrize(
    ("choices", "answer", "read"),
    [
        (("C", "C#", "C++"), "C", "C"),
        (("C", "C#", "C++"), "C++", "C++"),
        (("-1", "0", "+1", "1"), "-1", "-1"),
        (("-1", "0", "+1", "1"), "(1)", "1"),
        (("-1", "0", "+1", "1"), "+1", "+1"),
        (("-1", "0", "1"), "−1", "-1"),
        (("1", "2", "3"), "2", "2"),
        (("1", "2", "3"), "2) 45 km", "2"),
        (("1", "2", "3"), "2.5", None),
        (("1", "2", "3"), "2,000", None),
        (("1", "2", "3"), "[2, 5]", None),
        (("1", "2", "3"), "> 2", None),
        (("0", "1"), "0.5", None),
        (("(A)", "(B)"), "(B) a dog", "(B)"),
        (("Option A", "Option B"), "The answer is Option B", "Option B"),
        (("true", "false"), "False. The statement is not true.", "false"),
        (("true", "false"), "The statement is true.", "true"),
        (("true", "false"), "The opposite is true.", None),
        (("true", "false"), "This claim is true.", "true"),
        (("positive", "negative"), "Sentiment: Positive", "positive"),
        (
            ("entailment", "neutral", "contradiction"),
            "Contradiction: a man cannot sleep while running.",
            "contradiction",
        ),
        (("entailment", "neutral", "contradiction"), "neutral (not entailment)", "neutral"),
        (("entailment", "neutral", "contradiction"), "entailment: no", None),
    ],
)
def test_choices_of_other_kinds(choices: tuple[str, ...], answer: str, read: str | None) -> None:
    assert _read(Choice(choices), answer) == read


def _read(check: Choice, answer: str) -> str | None:
    try:
        return check.key(answer)
    except UnreadableError:
        return None
