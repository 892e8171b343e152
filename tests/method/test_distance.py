from __future__ import annotations

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.method.distance import NEAR_DUPLICATE, distance, farthest_point, mean_distance, shingles, words

SENTENCE = "He buys 3 apples and 4 pears, so he has 3 + 4 = 7 fruits in his basket at the end of the day"


def test_words_keep_what_carries_the_reasoning() -> None:
    assert words("So He pays $1,200.50 = 3*4!") == ["so", "he", "pays", "1,200.50", "=", "3", "*", "4"]


# one, other, distance: shingles of 3 words, 1 − shared / all
#   a b c d | a b c e: {abc, bcd} and {abc, bce}: 1 of 3 shared
#   shorter than three words: the text is one shingle
CASES = [
    ("a b c d", "a b c e", 1 - 1 / 3),
    ("A  b\nc, d", "a b c d", 0.0),
    ("3 * 4 = 12", "3 + 4 = 12", 1 - 1 / 5),
    ("yes", "yes", 0.0),
    ("yes", "no", 1.0),
    ("a b", "b a", 1.0),
    ("", "", 0.0),
    ("", "a b c", 1.0),
    ("…", "?!", 0.0),
]


@pytest.mark.parametrize(("one", "other", "expected"), CASES)
def test_distance(one: str, other: str, expected: float) -> None:
    assert distance(one, other) == pytest.approx(expected)


def test_a_changed_number_is_no_near_duplicate_in_a_short_text_and_a_changed_word_is_one_in_a_long_text() -> None:
    assert distance("a lamp goes to bin coral 27", "a lamp goes to bin amber 31") > NEAR_DUPLICATE
    long = f"{SENTENCE}. " + " ".join(f"word{number}" for number in range(60))
    assert 0 < distance(long, long.replace("pears", "plums")) <= NEAR_DUPLICATE


@given(st.text(), st.text())
def test_distance_is_symmetric_and_bounded_on_any_text(one: str, other: str) -> None:
    far = distance(one, other)
    assert 0 <= far <= 1
    assert far == distance(other, one)
    assert distance(one, one) == 0


def test_lone_surrogates_are_words_too() -> None:
    assert distance("a \ud800x b", "a \ud800y b") == 1


def test_shingles_are_the_same_in_every_process() -> None:
    program = f"from realm.method.distance import shingles; print(sorted(shingles({SENTENCE!r})))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found.strip() == str(sorted(shingles(SENTENCE)))


def test_mean_distance() -> None:
    assert mean_distance(["yes", "yes", "no"]) == pytest.approx(2 / 3)
    assert mean_distance(["yes"]) is None


PLACES = {"a": 0.0, "b": 1.0, "c": 5.0, "d": 6.0, "e": 10.0}


def apart(one: str, other: str) -> float:
    return abs(PLACES[one] - PLACES[other])


def test_farthest_point_takes_the_text_whose_nearest_chosen_one_is_farthest() -> None:
    # On a line at 0, 1, 5, 6, 10. From 0: then 10, then 5 (5 from both; 6 is 4 from 10), then the 1 or the 6.
    texts = list(PLACES)
    for seed in range(40):
        chosen = [texts[index] for index in farthest_point(texts, 4, random.Random(seed), apart)]
        if chosen[0] == "a":
            assert chosen[:3] == ["a", "e", "c"]
            assert chosen[3] in "bd"
            break
    else:
        pytest.fail("the first is never a")


def test_the_first_is_drawn_by_lot_and_so_are_ties() -> None:
    texts = ["x", "y", "z"]
    orders = {tuple(farthest_point(texts, 3, random.Random(seed))) for seed in range(60)}
    assert len(orders) == 6


@given(st.integers(0, 8), st.integers(0, 10), st.integers(0, 3))
def test_farthest_point_takes_k_different_ones_or_all(number: int, k: int, seed: int) -> None:
    chosen = farthest_point([f"text {index % 3}" for index in range(number)], k, random.Random(seed))
    assert len(chosen) == len(set(chosen)) == min(k, number)


def test_copies_come_last() -> None:
    texts = ["the sum is 4", "the sum is 4", "we count one by one", "the sum is 4"]
    for seed in range(20):
        assert {texts[index] for index in farthest_point(texts, 2, random.Random(seed))} == set(texts)
