from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.errors import ConfigError
from realm.tasks.verify import INLINE, UnreadableError, Verdict, judge, verifier

UNREADABLE = None  # the third outcome of the tables below

TABLES: dict[str, list[tuple[str, str, bool | None]]] = {
    # gold, answer, expected
    "exact": [
        ("blue whale", "blue whale", True),
        ("blue whale", "  blue\n whale ", True),
        ("blue whale", "Blue Whale", True),
        ("blue whale", "blue whale.", True),
        ("blue whale", '"Blue whale."', True),
        ("blue whale", "**blue whale**", True),
        ("blue whale", "blue whale\u200b", True),
        ("été", "e\u0301te\u0301", True),
        ("3.0", "3", False),
        ("10:30", "10:30 AM", False),
        ("fish", "\ufb01sh", False),
        ("it's", "it’s", False),
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
        ("refund code 17", ".", False),
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
        ("[1, 2]", "```python\n[1, 2]\n```", True),
        ("[1, 2]", "```\n[1, 2]\n```", True),
        ("[1, 2]", "$[1, 2]$", True),
        ("[1, 2]", "\\boxed{[1, 2]}", True),
        ("[1, 2]", "**[1, 2]**", True),
        ("[1, 2]", "[1, 2].", True),
        ("[1, 2]", "[1, 2]  # sorted", True),
        ("'x'", "‘x’", True),
        ("True", "true", True),
        ("[None, 'null']", '[null, "null"]', True),
        ("'true'", "true", False),
        ("[1000]", "[1,000]", UNREADABLE),
        ("(1, 0)", "1,000", UNREADABLE),
        ("[1, 2]", "x = [1, 2]", UNREADABLE),
        ("{'a': 2}", "{'a': 1, 'a': 2}", True),
        ("9007199254740993", "9007199254740992.0", False),
        ("float('inf')", "float('inf')", UNREADABLE),
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
    start = time.process_time()
    judge(verifier(name, ("A", "B")), text, "18")
    judge(verifier(name, ("A", "B")), "18", text)
    assert time.process_time() - start < 20  # quadratic: many minutes


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
    with pytest.raises(ConfigError, match=r"task\.verifier: expected exact, number, choice, math.*found 'fuzzy'"):
        verifier("fuzzy")
