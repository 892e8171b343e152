"""Steps that shorten what is taught to what the student needs: a scripted student with a planted need."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from dataclasses import replace

from realm.method.completion import parse
from realm.tasks.base import Question
from realm.traces.base import Trace
from realm.traces.examples import completion
from realm.traces.steps.adapt import adapt
from realm.traces.steps.prune import prune
from tests.traces.scripted import given, trace

NEVER = 99


def planted(count: int, source: random.Random) -> tuple[list[Question], dict[str, tuple[int, int]], list[Trace]]:
    """Questions, (steps, steps needed) of each, and a right CoT of each: as lines or as sentences."""
    asked = [Question(f"q{n}", f"question number {n}", str(n * 7 % 10)) for n in range(count)]
    sizes, traces = {}, []
    for number, question in enumerate(asked):
        steps = 1 if number == 0 else source.randint(2, 20)
        sizes[question.id] = steps, NEVER if number == 1 else source.randint(1, steps)
        text = ("\n" if number % 2 else " ").join(f"Step {n} says so." for n in range(steps))
        traces.append(trace(question, text))
    return asked, sizes, traces


def test_the_planted_beginning_is_found_in_few_answers() -> None:
    source = random.Random(9)
    asked, sizes, traces = planted(40, source)
    by_text = {question.question: question for question in asked}
    answers: Counter[str] = Counter()

    def says(prompt: str, sample: int) -> str:
        question = by_text[re.search(r"question number \d+", prompt)[0]]  # type: ignore[index]
        assert prompt.endswith("</think><answer>"), "the thinking is closed"
        answers[question.id] += 1
        enough = prompt.count("says so.") >= sizes[question.id][1]
        return f" {question.answer if enough else 'x'} </answer>"

    have, voice = given(asked, says)
    wrong = trace(asked[2], " ".join(["It says so."] * 30), "x", sample=1)
    found = list(prune([*traces, wrong], have))
    assert found[-1] is wrong
    for before, after in zip(traces, found, strict=False):
        steps, needed = sizes[before.question.id]
        whole = re.split(r"(?<=\.)\s", before.cot.text)
        assert re.split(r"(?<=\.)\s", after.cot.text) == whole[: min(needed, steps)]
        assert before.cot.text.startswith(after.cot.text), "white space and all"
        assert (after.cot.answer, after.cot.id) == (before.cot.answer, before.cot.id)
        assert answers[before.question.id] <= math.ceil(math.log2(steps)) + 1
    assert found[1] is traces[1], "nothing brings the student home"
    assert len(voice.calls) <= math.ceil(math.log2(20)) + 1, "one call a round"
    assert all(options["temperature"] is None for options in voice.options)


def test_at_least_so_many_steps_stay() -> None:
    asked, _, traces = planted(10, random.Random(10))
    have, _ = given(asked, lambda prompt, sample: "")
    assert list(prune(traces, have)) == traces
    right = given(asked, lambda prompt, sample: str(int(re.search(r"number (\d+)", prompt)[1]) * 7 % 10))[0]  # type: ignore[index]
    for least in (0, 1, 3):
        for before, after in zip(traces, prune(traces, right, least=least), strict=True):
            assert after.cot.text.count("says so.") == min(least, before.cot.text.count("says so."))
    unjudged = [replace(one, cot=replace(one.cot, label=None)) for one in traces]
    assert list(prune(unjudged, right)) == unjudged


def test_a_cot_that_leaves_no_room_for_the_answer_stays() -> None:
    asked = Question("q", "question number 1", "7")
    long = trace(asked, " ".join(["It is so."] * 200))
    short = trace(asked, "It is so. It is so. It is so.", sample=1)
    have, voice = given([asked], lambda prompt, sample: "7")
    first, second = prune([long, short], have)
    assert first is long
    assert second.cot.text == "It is so."
    assert all(prompt.count("so.") < 4 for call in voice.calls for prompt in call), "it is not asked beyond its context"


def test_who_needs_no_thinking_is_taught_none() -> None:
    source = random.Random(11)
    asked = [Question(f"q{n}", f"question number {n}", str(n * 7 % 10)) for n in range(50)]
    able = {question.question: source.randrange(6) for question in asked} | {asked[0].question: 5}
    gold = {question.question: question.answer for question in asked}

    def says(prompt: str, sample: int) -> str:
        question = re.search(r"question number \d+", prompt)[0]  # type: ignore[index]
        assert re.search(r"<think>\s*</think><answer>$", prompt), "no thinking"
        return f" {gold[question] if sample < able[question] else 'x'} </answer>"

    traces = [trace(q, f"thought {n}", sample=n) for q in asked[1:] for n in range(2)]
    traces += [trace(asked[0], "wrong", "x")]
    have, voice = given(asked, says)
    found = list(adapt(traces, have, samples=5, right=4))
    assert len(voice.calls) == 1
    assert voice.options[0]["temperature"] == 1.0
    for question in asked:
        mine = [one for one in found if one.question == question]
        if able[question.question] >= 4 and question != asked[0]:
            (one,) = mine
            read = parse(completion(have.renderer, one.cot), 0)
            assert (read.think, read.answer, read.format_ok) == ("", question.answer, True)
        else:
            assert mine == [one for one in traces if one.question == question]
