"""What a completion answers, and what it is paid."""

from __future__ import annotations

import pickle

import realm
from realm.method.completion import parse
from realm.method.prompt import Tags
from realm.student.scoring import read
from realm.tasks.workers import VerifierPool

TEXTS = [
    "<think>a = 3 * 4\nanswer = a</think> <answer>13</answer>",
    "<think>answer = 3 * 5</think> <answer>12</answer>",
    "<think>while True:\n    pass\nanswer = 12</think> <answer>12</answer>",
    "<think>3 * 4 = 12</think> <answer>12</answer>",
    "<think>answer = 12",
]


def test_programs_pay_by_their_results_alone() -> None:
    plain, tooled = realm.RewardFunction("number"), realm.RewardFunction("number", execute=True)
    assert [one is not None and one > 1 for one in plain(completions=TEXTS, answer=["12"] * 5)] == [
        False, True, True, True, False,
    ]  # fmt: skip
    found = tooled(completions=TEXTS, answer=["12"] * 5)
    assert [one is not None and one > 1 for one in found] == [True, False, False, True, True]
    assert found[2] == 0, "no form either, where a program has no result"
    assert pickle.loads(pickle.dumps(tooled))(completions=TEXTS, answer=["12"] * 5) == found


def test_without_it_completions_are_those_of_the_parser_and_no_worker_starts() -> None:
    with VerifierPool("number") as pool:
        rows = [(text, routes) for text in TEXTS for routes in (0, 2)]
        assert read(rows, Tags(), pool) == [parse(text, routes) for text, routes in rows]
        assert pool._programs._workers == [None]
