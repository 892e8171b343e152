"""The step `student`: what the student writes, read, judged, and left out where it makes no sense alone."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.errors import ConfigError, DataError, ModelError
from realm.student.load import load
from realm.student.renderer import Renderer
from realm.tasks.base import Question
from realm.traces.base import Given, LaterError, Voice
from realm.traces.steps.perplexity import perplexity
from realm.traces.steps.right import right
from realm.traces.steps.student import student as writes
from tests.tiny import CONTEXT, TinyTask, pool, tiny_bank, tiny_config
from tests.traces.scripted import given, questions, trace


def said(think: str, answer: str) -> str:
    return f"<think> {think} </think> <answer> {answer} </answer>"


def bank_for(count: int) -> Bank:
    bank = Bank()
    for question in questions(count):
        bank.append(
            CoT(
                question.id, f"thought {sample}", question.answer if sample % 2 else "x", sample % 2, "t", sample=sample
            )
            for sample in range(6)
        )
    return bank


def test_what_it_writes_is_read_and_judged() -> None:
    asked = questions(12)
    source = random.Random(1)
    script = {(q.question, n): str(source.randrange(10)) for q in asked for n in range(3)}

    def says(prompt: str, sample: int) -> str:
        question = re.search(r"question number \d+", prompt)[0]  # type: ignore[index]
        return said(f"so it is {question} {sample}", script[question, sample])

    have, voice = given(asked, says)
    before = [trace(asked[0], "from the bank")]
    found = list(writes(before, have, samples=3))
    assert found[0] is before[0]
    assert len(found) == 1 + 3 * 12
    for one in found[1:]:
        cot = one.cot
        assert cot.answer == script[one.question.question, cot.sample]
        assert cot.text == f"so it is {one.question.question} {cot.sample}"
        assert cot.label == int(cot.answer == one.question.answer)
        assert (cot.teacher, cot.question_id) == ("student", one.question.id)
    assert {one.cot.label for one in found[1:]} == {0, 1}
    assert list(right(found, have)) == [one for one in found if one.cot.label == 1]
    assert len(voice.calls) == 1
    assert voice.options[0]["temperature"] == 1.0
    assert not any("<route" in prompt for prompt in voice.calls[0])
    again = list(writes(found, have, samples=3))
    assert len({one.cot.id for one in again}) == len(again), "ids are unique, whoever samples again"
    assert voice.options[1]["seed"] != voice.options[0]["seed"]


def test_what_makes_no_sense_is_left_out() -> None:
    texts = [
        said("fine", "3"),
        said("route 2 is right", "3"),
        "<think> no end <answer> 3 </answer>",
        said("scored", "3") + " <scores> 1 </scores>",
        "3",
        said("no answer", ""),
    ]
    asked = [q for q in questions(10) if q.answer == "3"]
    have, _ = given(asked, lambda prompt, sample: texts[sample])
    alone = list(writes([], have, samples=len(texts)))
    assert [one.cot.text for one in alone] == ["fine", "route 2 is right"], "a word like any other where none is shown"


def test_with_routes_it_reads_those_of_the_bank_and_may_not_speak_of_them() -> None:
    scores = " <scores> 1, 0, 1, 0 </scores>"
    texts = [said("fine", "0") + scores, said("as route 2 says", "0") + scores, said("unscored", "0")]
    have, voice = given(questions(5), lambda prompt, sample: texts[sample], bank_for(5))
    have.renderer.selection = replace(have.renderer.selection, k=0)  # as of a stage whose own prompts show none
    found = list(writes([], have, samples=3, routes=True))
    assert [one.cot.text for one in found] == ["fine"] * 5
    assert all(prompt.count("</route>") == have.config.routes.k for prompt in voice.calls[0])
    with pytest.raises(DataError, match="the bank has none for any question"):
        list(writes([], given(questions(5))[0], routes=True))


def test_agreed_are_those_that_most_right_ones_read_like() -> None:
    answers = [("a", "0"), ("b", "0"), ("b", "0"), ("c", "1"), ("c", "1"), ("c", "1")]
    have, _ = given(questions(1), lambda prompt, sample: said(*answers[sample]))
    found = list(writes([], have, samples=6, agreed=True))
    assert sorted((one.cot.text, one.cot.label) for one in found) == [("b", 1), ("c", 0), ("c", 0), ("c", 0)]
    assert [one.cot.sample for one in found if one.cot.label] == [1], "the first of them"
    have, _ = given(questions(1), lambda prompt, sample: said(str(sample), "0"))
    assert len(list(writes([], have, agreed=True))) == 4, "all, where no two read alike"


def test_some_of_the_questions_by_lot() -> None:
    chosen = set()
    for seed in range(5):
        have, voice = given(questions(30), seed=seed)
        list(writes([], have, questions=7))
        assert len(set(voice.calls[0])) == 7
        chosen.add(tuple(sorted(voice.calls[0])))
    assert len(chosen) > 1


def test_a_real_student_samples_the_same_again_and_it_is_counted(tmp_path: Path, student_model: Given) -> None:
    one, other = (list(writes([], student_model, samples=2)) for _ in range(2))
    assert one == other
    assert one
    spent = student_model.spent
    assert spent.completions == 2 * 2 * 12
    assert spent.tokens > sum((t.cot.completion_tokens or 0) for t in one) * 2
    assert list(writes([], student_model, samples=2, routes=True)) != one


def test_how_far_it_is_is_said_where_it_takes_long(
    student_model: Given, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "realm.traces.base")
    monkeypatch.setattr("realm.traces.base.EVERY", 1e9)
    list(perplexity(list(writes([], student_model)), student_model))
    assert not caplog.messages
    monkeypatch.setattr("realm.traces.base.EVERY", 0.0)
    list(perplexity(list(writes([], student_model)), student_model))
    assert "prompts answered: 2 of 12" in caplog.messages
    assert any(re.fullmatch(r"completions scored: 8 of \d+", said) for said in caplog.messages)


def test_another_model_may_write_in_its_place(student: Path, student_model: Given, tmp_path: Path) -> None:
    found = list(writes([], student_model, samples=2, model=str(student)))
    own = list(writes([], student_model, samples=2))
    assert [one.cot.text for one in found] == [one.cot.text for one in own], "the same weights write the same"
    assert {one.cot.teacher for one in found} == {str(student)}
    assert student_model.spent.completions == 2 * 2 * 12
    with pytest.raises(LaterError):
        list(writes([], replace(student_model, pool=None), model=str(student)))
    with pytest.raises(ModelError, match=r"^training\.sft\.traces: student: model: /nowhere: there .* directory\.$"):
        list(writes([], student_model, model="/nowhere"))
    with pytest.raises(ConfigError, match="student: model: desk-base reads other tokens than the student"):
        list(writes([], replace(student_model, pool=None), model="desk-base"))


def test_a_program_counts_by_its_result_where_programs_are_run() -> None:
    """As in an evaluation: what the answer part says beside a program is not read."""
    asked = [Question("q", "three times four", "12")]
    ready, _ = given(asked, lambda prompt, sample: "<think> answer = 3 * 4 </think> <answer> 13 </answer>")
    (alone,) = writes([], ready, samples=1)
    assert (alone.cot.label, alone.cot.answer) == (0, "13")
    ready = replace(ready, config=ready.config.changed({"prompt.execute": True}))
    (ran,) = writes([], ready, samples=1)
    assert (ran.cot.label, ran.cot.answer) == (1, "12")
    ready.verifier.close()


def test_there_is_no_student_yet_while_a_run_is_prepared(student_model: Given) -> None:
    early = Given(student_model.config, student_model.task, None, student_model.renderer)
    with pytest.raises(LaterError):
        list(writes([], early))


@pytest.fixture
def student_model(tmp_path: Path, student: Path) -> Given:
    model, tokenizer = load(str(student), "float32")
    config, task = tiny_config(tmp_path, student), TinyTask()
    renderer = Renderer(config, task, tiny_bank(task), tokenizer, CONTEXT)
    return Given(
        config,
        task,
        tiny_bank(task),
        renderer,
        pool(),
        students=lambda which, spent: Voice(model, tokenizer, batch_size=8, spent=spent),
    )
