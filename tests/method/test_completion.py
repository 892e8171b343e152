from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.method.completion import REASONS, parse
from realm.method.prompt import Tags, escape
from tests.method import hostile

OK: tuple[str, ...] = ()
N = None

# text, routes -> thinking, answer, scores, reasons. Worked out by reading each text as the docstring of `parse` says.
SURFACE = [
    # canonical
    ("<think> t </think> <answer> 4 </answer> <scores>0.9, 0.1</scores>", 2, "t", "4", (0.9, 0.1), OK),
    ("<think>t</think><answer>4</answer>", 0, "t", "4", (), OK),
    ("\n<think>\nt\n</think>\n\n<answer>\n4\n</answer>\n<scores>\n1\n</scores>\n", 1, "t", "4", (1.0,), OK),
    # tolerated: case, white space, attributes, an opening that the chat template wrote
    ("< THINK >t</ Think ><Answer type='n'>4</ ANSWER\n><SCORES>1</scores >", 1, "t", "4", (1.0,), OK),
    ("t</think><answer>4</answer>", 0, "t", "4", (), OK),
    ("<think></think><answer>a < b > c & <b>d</b></answer>", 0, "", "a < b > c & <b>d</b>", (), OK),
    # missing closing tags
    ("<think>t<answer>4</answer>", 0, "t", "4", (), ("think_unclosed",)),
    ("<think>t</think><answer>4", 0, "t", "4", (), ("answer_unclosed",)),
    ("<think>t</think><answer>4<scores>1", 1, "t", "4", (1.0,), ("answer_unclosed", "scores_unclosed")),
    ("<think>t", 1, "t", N, (N,), ("think_unclosed", "answer_missing", "scores_missing")),
    ("<think>t</think><answer>4</answer", 0, "t", "4</answer", (), ("answer_unclosed",)),
    # missing parts
    ("", 2, "", N, (N, N), ("think_missing", "answer_missing", "scores_missing")),
    ("just 4", 0, "just 4", N, (), ("think_missing", "answer_missing")),
    ("so <answer>4</answer>", 0, "so", "4", (), ("think_missing",)),
    ("<think>t</think> 4", 0, "t", N, (), ("answer_missing", "text_outside")),
    ("<think>t</think>4</answer>", 0, "t", N, (), ("answer_missing", "text_outside")),
    ("<think>t</think><answer> \n </answer>", 0, "t", "", (), ("answer_empty",)),
    ("<think>t</think><answer>4</answer>", 1, "t", "4", (N,), ("scores_missing",)),
    # a draft in the thinking is no answer
    ("<think><answer>3</answer></think>", 0, "<answer>3</answer>", N, (), ("answer_missing",)),
    ("<think>x <answer>3</answer></think><answer>4</answer>", 0, "x <answer>3</answer>", "4", (), ("tags_misplaced",)),
    ("<answer>3</answer><think>t</think><answer>4</answer>", 0, "t", "4", (), ("tags_misplaced",)),
    ("<answer>3<think>t</think></answer>", 0, "t", N, (), ("answer_missing",)),
    # repeated: the last counts, hedging costs the format
    ("<think>t</think><answer>3</answer><answer>4</answer>", 0, "t", "4", (), ("answer_repeated",)),
    ("<think>t</think><answer>3<answer>4</answer></answer>", 0, "t", "4", (), ("answer_repeated",)),
    (
        "<think>t</think><answer>3</answer><answer>",
        0,
        "t",
        "",
        (),
        ("answer_unclosed", "answer_repeated", "answer_empty"),
    ),
    (
        "<think>t</think><answer>4</answer><scores>1</scores><scores>0</scores>",
        1,
        "t",
        "4",
        (0.0,),
        ("scores_repeated",),
    ),
    ("<think>a</think><think>b</think><answer>4</answer>", 0, "a</think><think>b", "4", (), ("tags_misplaced",)),
    ("<think><think>a</think><answer>4</answer>", 0, "<think>a", "4", (), ("tags_misplaced",)),
    # forged or misplaced tags
    ("<think>t</think><answer>4</answer></answer>", 0, "t", "4", (), ("tags_misplaced",)),
    ("<think>t</think></answer><answer>4</answer>", 0, "t", "4", (), ("tags_misplaced",)),
    ("<think>t</think><scores>1</scores><answer>4</answer>", 1, "t", "4", (1.0,), ("tags_misplaced",)),
    ("</think>t<think><answer>4</answer>", 0, "", "4", (), ("tags_misplaced", "text_outside")),
    ("<thinking>t</thinking><answer>4</answer>", 0, "<thinking>t</thinking>", "4", (), ("think_missing",)),
    ("<think>t</think>＜answer＞4＜/answer＞", 0, "t", N, (), ("answer_missing", "text_outside")),
    ("<think>t</think><answer>4</answer><scores>1</scores>", 0, "t", "4", (), ("scores_unexpected",)),
    ("<think>t</think><answer>4</answer><scores>1", 0, "t", "4", (), ("scores_unexpected",)),
    # text outside the parts
    ("Sure! <think>t</think><answer>4</answer>", 0, "t", "4", (), ("text_outside",)),
    ("<think>t</think>so<answer>4</answer>", 0, "t", "4", (), ("text_outside",)),
    ("<think>t</think><answer>4</answer> Or 5?", 0, "t", "4", (), ("text_outside",)),
]


@pytest.mark.parametrize(("text", "n_routes", "think", "answer", "scores", "reasons"), SURFACE)
def test_surface(
    text: str, n_routes: int, think: str, answer: str | None, scores: tuple, reasons: tuple[str, ...]
) -> None:
    parsed = parse(text, n_routes)
    assert (parsed.think, parsed.answer, parsed.scores, parsed.reasons) == (think, answer, scores, reasons)
    assert parsed.format_ok == (reasons == OK)


FEW, MANY, WORDS, RANGE = ("scores_too_few",), ("scores_too_many",), ("scores_unreadable",), ("scores_out_of_range",)

# content of the scores part, routes -> scores, surplus, reasons
SCORES = [
    ("0.9, 0.1, 0.8", 3, (0.9, 0.1, 0.8), 0, OK),
    ("1,0", 2, (1.0, 0.0), 0, OK),
    ("0.9 0.1", 2, (0.9, 0.1), 0, OK),
    ("0.9; 0.1", 2, (0.9, 0.1), 0, OK),
    ("0.9\n0.1\n", 2, (0.9, 0.1), 0, OK),
    ("0.9,\r\n0.1,", 2, (0.9, 0.1), 0, OK),
    ("[0.9, 0.1]", 2, (0.9, 0.1), 0, OK),
    ("(.9, 1., +1)", 3, (0.9, 1.0, 1.0), 0, OK),
    ("{'1': 0.9, '2': 0.1}", 2, (0.9, 0.1), 0, OK),
    ("**0.9**, `0.1`.", 2, (0.9, 0.1), 0, OK),
    ("90%, 5 %", 2, (0.9, 0.05), 0, OK),
    ("1e-1, 5E-1", 2, (0.1, 0.5), 0, OK),
    ("Route 1: 0.9, route 2: 0.1", 2, (0.9, 0.1), 0, OK),
    ("Route 1: 0.9\nRoute 2 = 0.1", 2, (0.9, 0.1), 0, OK),
    ("1: 0.9, 2: 0.1", 2, (0.9, 0.1), 0, OK),
    ("1) 0.9\n2) 0.1", 2, (0.9, 0.1), 0, OK),
    ("1. 0.9\n2. 0.1", 2, (0.9, 0.1), 0, OK),
    ("- 0.9\n- Route 2: 0.1\n* 0.5", 3, (0.9, 0.1, 0.5), 0, OK),
    # a label that names another place
    ("Route 2: 0.9, Route 1: 0.1", 2, (N, N), 0, WORDS),
    ("0: 0.9, 1: 0.1", 2, (N, N), 0, WORDS),
    # no numbers; the others keep their places
    ("high, 0.1", 2, (N, 0.1), 0, WORDS),
    ("0.9, n/a, 0.8", 3, (0.9, N, 0.8), 0, WORDS),
    ("NaN, inf, -inf", 3, (N, N, N), 0, WORDS),
    ("one, zero", 2, (N, N), 0, WORDS),
    ("1/2, 0x1", 2, (N, N), 0, WORDS),
    ("١, ½", 2, (N, N), 0, WORDS),
    ("0" * 65 + ", 1", 2, (N, 1.0), 0, WORDS),
    ("true", 1, (N,), 0, WORDS),
    # outside [0, 1]
    ("1.1, -0.1, 101%, 1e999", 4, (N, N, N, N), 0, RANGE),
    ("9, 0.1", 2, (N, 0.1), 0, RANGE),
    # too few, too many
    ("0.9", 3, (0.9, N, N), 0, FEW),
    ("", 2, (N, N), 0, FEW),
    (" , ; ", 2, (N, N), 0, FEW),
    ("0.9, 0.1, 0.8, 0.7", 2, (0.9, 0.1), 2, MANY),
    ("high, 2, 0.8", 2, (N, N), 1, ("scores_unreadable", "scores_out_of_range", "scores_too_many")),
    # the decimal comma is not read: four scores, of which 9 is none
    ("0,9, 0,1", 2, (0.0, N), 2, ("scores_out_of_range", "scores_too_many")),
]


@pytest.mark.parametrize(("listed", "n_routes", "scores", "surplus", "reasons"), SCORES)
def test_scores(listed: str, n_routes: int, scores: tuple, surplus: int, reasons: tuple[str, ...]) -> None:
    parsed = parse(f"<think>t</think><answer>4</answer><scores>{listed}</scores>", n_routes)
    assert parsed.scores == pytest.approx(scores)
    assert (parsed.answer, parsed.surplus, parsed.reasons) == ("4", surplus, reasons)


def test_own_tag_names() -> None:
    tags = Tags("denken", "antwort", "noten")
    parsed = parse("<Denken>t <answer>3</answer></denken><antwort>4</antwort><noten>1</noten>", 1, tags)
    assert (parsed.answer, parsed.scores, parsed.reasons) == ("4", (1.0,), OK)


def test_every_reason_is_met_by_a_golden_text() -> None:
    met = {reason for row in SURFACE for reason in row[-1]} | {reason for row in SCORES for reason in row[-1]}
    assert met == set(REASONS)


@given(hostile.text | st.text(), st.integers(0, 6))
def test_any_text_is_parsed(text: str, n_routes: int) -> None:
    parsed = parse(text, n_routes)
    assert len(parsed.scores) == n_routes
    assert all(score is None or 0 <= score <= 1 for score in parsed.scores)
    assert parsed.surplus >= 0
    assert list(parsed.reasons) == [reason for reason in REASONS if reason in parsed.reasons]
    assert parsed.format_ok == (not parsed.reasons)
    if parsed.format_ok:
        assert parsed.answer
        assert None not in parsed.scores
        assert parsed.surplus == 0


@given(hostile.text, hostile.text, st.integers(1, 3))
def test_the_last_answer_counts_whatever_stands_before(before: str, thinking: str, n_routes: int) -> None:
    text = f"{before}<think>{thinking}</think><answer>3</answer><answer>4</answer><scores>{'1,' * n_routes}</scores>"
    parsed = parse(text, n_routes)
    assert parsed.answer == "4"
    assert parsed.scores == (1.0,) * n_routes
    assert "answer_repeated" in parsed.reasons


@given(hostile.text, st.integers(1, 4))
def test_the_text_of_the_scores_never_touches_the_answer(listed: str, n_routes: int) -> None:
    text = f"<think>t</think><answer>4</answer><scores>{escape(listed, Tags())}</scores>"
    parsed = parse(text, n_routes)
    assert (parsed.think, parsed.answer) == ("t", "4")
    assert set(parsed.reasons) <= {reason for row in SCORES for reason in row[-1]}


HUGE: dict[str, Callable[[int], str]] = {
    "less-than": lambda n: "<" * n,
    "less-than and space": lambda n: "< " * (n // 2),
    "spaces in a tag": lambda n: "<" + " " * n + "think>",
    "spaces in no tag": lambda n: "<" + " " * n + "x",
    "spaces behind a slash": lambda n: "</" + " " * n + "answer",
    "slashes": lambda n: "<" + "/" * n,
    "unclosed openings": lambda n: "<think" * (n // 6),
    "openings": lambda n: "<answer>" * (n // 8),
    "closings": lambda n: "</think>" * (n // 8),
    "nested parts": lambda n: "<think><answer><scores>" * (n // 23),
    "long attributes": lambda n: "<answer " + "x" * n,
    "entities": lambda n: "&lt;" * (n // 4),
    "zeros in an entity": lambda n: "&#" + "0" * n,
    "entities of zeros": lambda n: "&#0" * (n // 3),
    "letters": lambda n: "a" * n,
    "many scores": lambda n: "<scores>" + "0.9," * (n // 4),
    "many scores in a row": lambda n: "<scores>" + "1 " * (n // 2),
    "many words": lambda n: "<scores>" + "route 1 " * (n // 8),
    "digits": lambda n: "<scores>" + "9" * n,
    "an exponent": lambda n: "<scores>1e" + "9" * n,
    "points": lambda n: "<scores>" + "." * n,
    "spaces": lambda n: "<scores>" + " " * n + "1",
    "lines": lambda n: "<scores>" + "\n" * n,
    "brackets": lambda n: "<scores>" + "[" * n + "1" + ")" * n,
}


def best(function: Callable[[], object]) -> float:
    """Processor seconds of the best of three calls: what the machine does besides is not counted."""

    def once() -> float:
        start = time.process_time()
        function()
        return time.process_time() - start

    return min(once() for _ in range(3))


@pytest.mark.parametrize("kind", HUGE)
def test_time_is_linear_up_to_a_million_characters(kind: str) -> None:
    # Ten times the text. Linear: a factor of 10. Quadratic: a factor of 100, and seconds instead of milliseconds at
    # the larger size. The bound stands between the two and leaves a tenth of a second for whatever disturbs so short
    # a measurement. Only what passes this is tried with 10^6 characters, where a quadratic parser would not come back.
    def parsing(text: str) -> object:
        return parse(text, 4)

    def escaping(text: str) -> object:
        return escape(text, Tags())

    small, large, huge = (HUGE[kind](n) for n in (10_000, 100_000, 1_000_000))
    for work in (parsing, escaping):
        assert best(partial(work, large)) < 40 * best(partial(work, small)) + 0.1
    assert len(parse(huge, 4).scores) == 4
    assert not parse(huge, 4).format_ok
    safe = parse(f"<think>{escape(huge, Tags())}</think><answer>4</answer>", 0)
    assert (safe.answer, safe.reasons) == ("4", OK)


@pytest.mark.parametrize("word", ["nan", "NaN", "+nan", "-inf", "Infinity", "1e400", "nan%"])
def test_nan_and_infinity_are_never_scores(word: str) -> None:
    assert parse(f"</think><answer>4</answer><scores>{word}</scores>", 1).scores == (None,)
