"""Steps that weigh traces, or parts of them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from realm.bank.store import Bank
from realm.method.completion import parse
from realm.traces.base import Tokenized, Trace
from realm.traces.examples import examples, tokenize
from realm.traces.steps.by_teacher import by_teacher
from realm.traces.steps.distinct import distinct
from realm.traces.steps.explain import explain
from realm.traces.steps.pam import pam
from realm.traces.weights import own_weights
from tests.traces.scripted import given, questions, tokenizer, trace


def mixed(source: random.Random, count: int = 40) -> list[Trace]:
    """Of each question two right traces and none to two wrong ones, in any order."""
    found = []
    for number, question in enumerate(questions(count)):
        # No wrong answer is the gold.
        wrong = [
            trace(question, f" two and two make {digit}.\nFinal answer: {digit}", f"{digit}", sample=digit)
            for digit in range(90, 90 + number % 3)
        ]
        if wrong and number % 2:
            wrong.append(trace(question, "two and two make mine", "95", sample=95, teacher="student"))
        right = [
            trace(question, f"by way {way} it is {question.answer}.\nFinal answer: {question.answer}", sample=10 + way)
            for way in (1, 2)
        ]
        found += [*wrong, *right]
    source.shuffle(found)
    return found


def learned(row: Tokenized, weights: list[float]) -> tuple[str, str]:
    """What is learned of a completion, and what is not."""
    parts = ([t for t, w in zip(row.completion, weights, strict=True) if bool(w) == wanted] for wanted in (True, False))
    one, other = (str(tokenizer().decode(part)) for part in parts)
    return one, other


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_pam_teaches_the_check_and_the_right_part(share: float) -> None:
    traces = mixed(random.Random(1))
    ready, _ = given([one.question for one in traces])
    found = list(pam(traces, ready, share=share))
    right = [one for one in traces if one.cot.label == 1]
    wrong_first = [one for one in found if one.spans]
    with_wrong = [one for one in right if any(o.question == one.question and o.cot.label == 0 for o in traces)]
    own = {one.question for one in traces if one.cot.teacher == "student"}
    assert len(found) == len(right)
    assert len(wrong_first) == min(round(share * len(right)), len(with_wrong))
    for row in tokenize(ready.renderer, examples(found, ready, len(found))):
        teaches, leaves = learned(row, own_weights(row, ready))
        read = parse(row.text, 0)
        assert read.format_ok and read.answer == row.trace.question.answer
        if row.trace.spans:
            stated = leaves.split("would be ")[1]
            assert leaves.startswith("two and") and stated.strip(" .\n").startswith("9")
            assert ("mine" in leaves) == (row.trace.question in own), "the student's own errors first"
            assert "two and" not in teaches and "It is wrong. Once more:" in teaches and "by way" in teaches
        else:
            assert not leaves and "It is right." in teaches and "two and" not in teaches
        assert "Final answer" not in row.text, "each is told as the one that is being checked"
    assert found == list(pam(traces, ready, share=share))


def test_pam_says_where_wrong_thinkings_are_too_long(caplog: pytest.LogCaptureFixture) -> None:
    traces = mixed(random.Random(1))
    ready, _ = given([one.question for one in traces])
    ready = replace(ready, config=ready.config.changed({"training.rl.max_completion_length": 5}))
    assert not any(one.spans for one in pam(traces, ready))
    assert "pam: 0 of" in caplog.text and "0 are short enough (training.rl.max_completion_length = 5)" in caplog.text


def test_by_teacher_counts_right_ones() -> None:
    """Wherever it stands among the steps; the best counts 1, so that one teacher alone is taught as ever."""
    asked = questions(10)
    source = random.Random(2)
    share = {"good": 8, "poor": 2}
    bank = Bank()
    traces = []
    for teacher, right in share.items():
        for number, question in enumerate(asked):
            one = trace(question, "so", None if number < right else "none", teacher=teacher)
            traces.append(replace(one, weight=source.choice((1.0, 0.5))))
            bank.append([one.cot])
    ready, _ = given(asked, bank=bank)
    for some in (traces, [one for one in traces if one.cot.label]):
        for before, after in zip(some, by_teacher(some, ready), strict=True):
            assert after == replace(before, weight=before.weight * (1.0 if before.cot.teacher == "good" else 0.25))
    alone, _ = given(asked)
    own = [trace(question, "so", None if number < 3 else "none") for number, question in enumerate(asked)]
    assert list(by_teacher(own, alone)) == own


def test_explain_asks_each_question_twice() -> None:
    asked = questions(6)
    ready, _ = given(asked)
    traces = [trace(question, f"it is {question.answer}", sample=n) for question in asked for n in range(2)]
    found = list(explain(traces, ready, answer=0.5, explanation=2.0))
    taught = examples(found, ready, 24)
    for question in asked:
        for brief in (False, True):
            rows = [one for one in taught if one.trace.question == question and bool(one.trace.instruction) == brief]
            assert len(rows) == 2, "both tasks take turns"
            for one in rows:
                read = parse(one.completion, 0)
                assert read.format_ok and read.answer == question.answer
                assert (read.think == "") == brief
                assert ("Give the answer alone" in one.messages[-1]["content"]) == brief
                assert one.trace.weight == (0.5 if brief else 2.0)


def test_explain_keeps_weights_and_turns() -> None:
    source = random.Random(3)
    ready, _ = given(asked := questions(8))
    traces = [
        replace(
            trace(q, "so", sample=n), weight=source.choice((0.25, 1.0, 3.0)), turn=source.choice(("", f"{q.id}/{n}"))
        )
        for q in asked
        for n in range(3)
    ]
    found = list(explain(traces, ready, answer=0.5, explanation=2.0))
    for before, whole, brief in zip(traces, found[::2], found[1::2], strict=True):
        assert (whole.weight, brief.weight) == (before.weight * 2, before.weight / 2)
        assert (whole.cot, brief.cot.text) == (before.cot, "")
    turns = {one.turn or one.question.id for one in traces}
    assert len(turns) > len(asked)
    assert len({one.turn for one in found}) == 2 * len(turns), "each takes its turn with both"


def test_distinct_ones_that_were_made_of_one_cot_take_turns_of_their_own() -> None:
    ready, _ = given(asked := questions(3))
    found = list(distinct(list(explain([trace(question, "so") for question in asked], ready)), ready))
    assert len({one.turn for one in found}) == len(found) == 6
