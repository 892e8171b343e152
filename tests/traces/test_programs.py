"""Programs and equations as what is taught: kept where they are right, made of prose where its sums are."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from realm.analysis.arithmetic import equations as read
from realm.bank.cot import CoT
from realm.config import Config
from realm.desk.book import habit_book
from realm.desk.clerk import write_cot
from realm.desk.task import DeskTask
from realm.tasks.base import Question
from realm.tasks.execute import FUNCTIONS, program_in, run
from realm.tasks.workers import VerifierPool
from realm.teacher.prompts import make_wording
from realm.traces.base import Trace
from realm.traces.steps.equations import as_equations, equations
from realm.traces.steps.formats import ASKS, formats
from realm.traces.steps.programs import programs
from realm.traces.steps.to_program import as_program, to_program


@pytest.fixture(scope="module")
def given() -> Iterator[Any]:
    """What these steps ask for of a stage."""
    with VerifierPool("number", timeout=60.0) as pool:
        yield SimpleNamespace(verifier=pool)


@pytest.fixture(scope="module")
def desk() -> Iterator[tuple[Any, list[Trace]]]:
    """The verifier of the desk, and two CoTs of its clerk, one of them guided, for each of 300 questions."""
    task = DeskTask(seed=3)
    habit, traces = habit_book(task.seed), []
    for question in task.rows("train")[:300]:
        case = task.case(question.id)
        for sample, shown in enumerate([(), tuple(task.book)]):
            source = random.Random(f"{question.id}/{sample}")
            wrote = write_cot(case, book=task.book, habit=habit, shown=shown, source=source)
            label = int(wrote.answer == question.answer)
            traces.append(Trace(question, CoT(question.id, wrote.text, wrote.answer, label, sample=sample)))
    with VerifierPool("desk", timeout=60.0) as pool:
        yield SimpleNamespace(verifier=pool), traces


def trace(text: str, gold: str = "12", answer: str = "12", label: int = 1, **more: Any) -> Trace:
    return Trace(Question("q", "How many?", gold), CoT("q", text, answer, label, **more))


def random_trace(source: random.Random, wrong: bool = False) -> Trace:
    """Prose of two to five sums, each of which uses the result before it; `wrong`: one of them is false."""
    steps, at, count = [], source.randint(1, 50), source.randint(2, 5)
    false = source.randrange(count) if wrong else -1
    for number in range(count):
        sign, other = source.choice("+-*"), source.randint(2, 9)
        result = eval(f"{at} {sign} {other}") + (number == false)
        steps.append(f"{at} {sign} {other} = {result}.")
        at = result
        if at < 0:
            return random_trace(source, wrong)
    return trace(f"We begin. {' '.join(steps)} So {at}.", str(at), str(at))


def test_random_true_prose_becomes_a_program_that_calculates_and_a_false_one_stays(given: Any) -> None:
    source = random.Random(0)
    true, false = ([random_trace(source, wrong) for _ in range(100)] for wrong in (False, True))
    for made, was in zip(to_program(true, given), true, strict=True):
        assert program_in(made.cot.text) == made.cot.text
        assert run(made.cot.text).value == was.cot.answer
        # No result of a sum is written down: the program has them of itself.
        for one in read(was.cot.text):
            assert f"= {one.right}\n" not in made.cot.text
        assert replace(made, cot=replace(made.cot, text=was.cot.text)) == was
    assert list(to_program(false, given)) == false
    assert len(list(programs(to_program([*true, *false], given), given))) == 100


@pytest.mark.parametrize(
    "text, answer, program",
    [
        ("7 + 10 = 17. 17 - 1 = 16. So 16.", "16", "a = 7 + 10\nb = a - 1\nanswer = b"),
        ("A watch has 7 days. A member gets 10 more. 7 + 10 = 17. 17 - 1 = 16.", "16",
         "# A watch has 7 days. A member gets 10 more.\na = 7 + 10\nb = a - 1\nanswer = b"),
        ("2 * 3 = 6 * 2 = 12. So 12.", "12", "a = 2 * 3\nb = a * 2\nanswer = b"),
        ("10 / 3 = 3.33. Thrice 3.33 * 3 = 9.99.", "9.99", "a = round(10 / 3, 2)\n# Thrice\nb = a * 3\nanswer = b"),
        ("20% of 50 = 10. 10 * 10 = 100", "100", "# 20% of\na = (20 / 100) * 50\nb = a * 10\nanswer = b"),
        ("A = 2 * 3 = 6. A + 1 = 7. A * (1 + 2^3) = 54", "54", "a = 2 * 3\nb = a + 1\nc = a * (1 + 2**3)\nanswer = c"),
        ("1 + 1 = 3. 3 + 1 = 4.", "4", ""),
        ("1 + 1 = 3. 2 * 6 = 12.", "12", ""),
        ("1 + 1 = 3 + 1. 2 * 6 = 12.", "12", ""),
        ("A lamp goes to bin 23. So coral 23.", "coral 23", ""),
        ("Five apples and two.", "7", ""),
    ],
)  # fmt: skip
def test_the_program_of_prose(text: str, answer: str, program: str) -> None:
    assert as_program(text, answer).replace(" ** ", "**") == program
    if program:
        assert run(program).value == answer


def test_what_does_not_run_stays_prose(given: Any) -> None:
    agent = trace("007 + 5 = 12.")
    assert as_program(agent.cot.text, "12"), "a number that Python writes otherwise"
    long = trace(" ".join(f"{at} + 1 = {at + 1}." for at in range(40)), answer="40")
    assert list(to_program([agent, long], given)) == [agent, long]


def test_words_become_the_texts_of_programs(given: Any) -> None:
    with VerifierPool("exact", timeout=60.0) as pool:
        (made,) = to_program(
            [trace("14 + 10 = 24. 30 is over 24. So it's no.", answer="it's no")],
            SimpleNamespace(verifier=pool),
            words=True,
        )
    assert made.cot.text == 'a = 14 + 10\n# 30 is over 24.\nanswer = "it\'s no"'
    assert run(made.cot.text).value == "it's no"


def test_a_program_is_kept_where_it_runs_to_the_gold_whatever_its_label(given: Any) -> None:
    rows = {
        "bare": trace("a = 3 * 4\nanswer = a", answer="13", label=0),
        "fenced": trace("Let us see.\n```python\na = 3\na * 4\n```\nThe answer is 12.", label=1),
        "in meta": trace("Some words.", label=0, meta=json.dumps({"program": "answer = 24 / 2"})),
        "a wrong number": trace("answer = 3 * 5", label=1),
        "hostile": trace("import os\nanswer = 12"),
        "endless": trace("answer = 12\nwhile True: pass"),
        "prose": trace("3 * 4 = 12. So 12."),
        "meta of others": trace("Some words.", meta="[1"),
    }
    kept = list(programs(list(rows.values()), given))
    assert [one.cot.text for one in kept] == [
        "a = 3 * 4\nanswer = a",
        "```python\na = 3\na * 4\n```",
        "answer = 24 / 2",
    ]
    assert {(one.cot.answer, one.cot.label) for one in kept} == {("12", 1)}
    # What is taught is found again where the student writes it.
    assert all(run(program_in(one.cot.text) or "").value == "12" for one in kept)


def test_the_documented_prompt_asks_a_teacher_for_what_is_kept() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/howto/programs.md").read_text(encoding="utf-8")
    (shown,) = (
        block for block in re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE) if "coder" in block
    )
    config = Config.model_validate(yaml.safe_load(shown))
    wording = make_wording("coder", config.teachers["coder"], guided=True)
    asked = wording.messages(Question("q", "How many?", "12"), [])[-1]["content"]
    assert "How many?" in asked and "{" not in asked
    (functions,) = re.findall(r"abs, min.*?timedelta", asked, re.DOTALL)
    assert set(re.findall(r"[a-z]+", functions)) - {"and"} <= FUNCTIONS.keys()
    assert [one if isinstance(one, str) else next(iter(one)) for one in config.training.sft.traces][:2] == [
        "bank",
        "programs",
    ]


def test_a_changed_number_drops_a_program(given: Any) -> None:
    source = random.Random(1)
    for made in to_program([random_trace(source) for _ in range(50)], given):
        digits = [at for at, sign in enumerate(made.cot.text) if sign.isdigit()]
        at = source.choice(digits)
        other = made.cot.text[:at] + str((int(made.cot.text[at]) + 1) % 10) + made.cot.text[at + 1 :]
        same = run(other).value == made.question.answer  # times nothing
        assert len(list(programs([replace(made, cot=replace(made.cot, text=other))], given))) == same


def test_the_desks_right_sums_become_programs_that_run_to_their_golds(desk: tuple[Any, list[Trace]]) -> None:
    given, traces = desk
    right = [one for one in traces if one.cot.label == 1]
    made = list(to_program(right, given))
    sums = [one for one in made if one.question.kind in ("left", "refund") and "=" in one.cot.text]
    coded = [one for one in made if program_in(one.cot.text)]
    assert len(programs_of := list(programs(made, given))) == len(coded)
    assert all(run(one.cot.text).value == one.question.answer for one in programs_of)
    # All but those few whose false sum was made good by luck, or that state no sum.
    assert len(coded) >= 0.95 * len(sums) > 50
    assert {one.question.kind for one in coded} <= {"left", "refund"}
    whole = list(programs(to_program(right, given, words=True), given))
    assert len(whole) >= 0.97 * len(right)


def test_equations_alone_are_kept_and_false_ones_drop_the_cot(desk: tuple[Any, list[Trace]]) -> None:
    given, traces = desk
    kept = list(equations(traces, given))
    true = [one for one in traces if (found := read(one.cot.text)) and all(sum_.true for sum_ in found)]
    assert [one.cot.id for one in kept] == [one.cot.id for one in true]
    assert 0 < len(kept) < len([one for one in traces if read(one.cot.text)]), "the clerk slips now and then"
    for one, was in zip(kept, true, strict=True):
        said = [(sum_.left, sum_.result) for sum_ in read(one.cot.text)]
        assert said == [(sum_.left, sum_.result) for sum_ in read(was.cot.text)]
        assert not set(one.cot.text) - set("0123456789+-*/=. ")
    assert (
        as_equations("By the book, a watch has 7 days. 7 + 10 = 17. 17 - 1 = 16. So 16.") == "7 + 10 = 17. 17 - 1 = 16."
    )
    assert as_equations("2 * (3 + 4) = 14\n20% of 50 = 10\nso 4") == "2 * (3 + 4) = 14. 20% * 50 = 10."


def test_equations_know_what_a_name_stands_for_in_later_steps() -> None:
    source = random.Random(2)
    for name in "ABCXYZ":
        one, other, more = (source.randint(2, 20) for _ in range(3))
        told = f"{name} = {one} * {other} = {one * other}. We go on. {name} + {more} = "
        kept = f"{one} * {other} = {one * other}. {name} + {more} = {one * other + more}."
        assert as_equations(f"{told}{one * other + more}.") == kept
        assert as_equations(f"{told}{one * other + more + 1}.") == "", "it is false"


def test_formats_of_one_question_are_told_by_the_instruction(desk: tuple[Any, list[Trace]]) -> None:
    given, traces = desk
    right = [one for one in traces if one.cot.label == 1]
    found = list(formats(right, given, plain="program"))
    by = {name: [one for one in found if one.tags["format"] == name] for name in ASKS}
    assert [replace(one, tags={}, instruction="") for one in by["text"]] == right
    assert [one.cot for one in by["equations"]] == [one.cot for one in equations(right, given)]
    assert [one.cot for one in by["program"]] == [one.cot for one in programs(to_program(right, given), given)]
    assert {name: {one.instruction for one in rows} for name, rows in by.items()} == {
        "text": {ASKS["text"]}, "equations": {ASKS["equations"]}, "program": {""},
    }  # fmt: skip
    assert {one.tags["format"] for one in formats(right, given, of=("equations",))} == {"equations"}
