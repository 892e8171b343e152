"""`passages` and `refine`: what a teacher writes while a run is at work, kept where it holds, and paid for once."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from realm.config import Config, load_config
from realm.desk.cases import read_case
from realm.desk.task import DeskTask
from realm.errors import ConfigError, DataError, TeacherError
from realm.plugins import trust
from realm.student.load import load
from realm.student.renderer import Renderer
from realm.tasks.base import normal
from realm.tasks.workers import VerifierPool
from realm.traces.asking import replies
from realm.traces.base import Given, LaterError, Spent, Trace, Voice
from realm.traces.examples import asked
from realm.traces.pipeline import made, run_steps, spent_in
from realm.traces.steps.passages import passages
from tests.tiny import CONTEXT, Killed, TinyTask, go, killed_at, pool, thinking, tiny_bank, tiny_config, weights
from tests.traces.author import KIND, Author, beyond, doubted, total


@pytest.fixture(autouse=True)
def author(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What teachers answered."""
    trust(KIND)
    answered: list[Any] = []
    monkeypatch.setattr(Author, "answered", answered)
    yield answered


@pytest.fixture
def config(tmp_path: Path, student: Path) -> Config:
    found = tiny_config(tmp_path, student, recipe="distill")
    return found.changed({"teachers": {"author": {"kind": KIND, "model": "m"}}, "routes.k": 1})


@pytest.fixture
def book(tmp_path: Path) -> Path:
    file = tmp_path / "book.md"
    file.write_text("# Sums\n" + "".join(f"- Sums of {number}.\n" for number in range(8)))
    return file


def run(config: Config, task: TinyTask, folder: Path, *entries: Any) -> tuple[list[Trace], Given]:
    """What steps make as a stage begins, in a folder of a run."""
    model, tokenizer = load(config.model.path)
    bank = tiny_bank(task)
    renderer = Renderer(config, task, bank, tokenizer, CONTEXT, k=0)

    def students(which: str, spent: Spent) -> Voice:
        return Voice(model, tokenizer, batch_size=8, spent=spent)

    with pool() as verifiers:
        given = Given(config, task, bank, renderer, verifiers, 0, students, folder)
        return run_steps(entries, given), given


def test_an_exercise_is_taught_where_it_is_answered_alike_twice(
    config: Config, task: TinyTask, tmp_path: Path, book: Path, author: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    found, given = run(config, task, tmp_path / "run", {"passages": {"file": str(book), "examples": 4}})
    first = [ask for ask in author if ask.question.id.startswith("passage/")]
    second = author[len(first) :]
    assert [len({ask.question.id for ask in first}), len(first)] == [8, 32]
    held_out = {normal(row.question) for split in ("validation", "test") for row in task.rows(split)}
    wrote = [f"{ask.question.question.split()[-1].rstrip('.')} plus " for ask in first]
    alone = [ask.messages[0]["content"] for ask in second]
    assert held_out.isdisjoint(alone) and all(any(one.startswith(start) for start in wrote) for one in alone)
    assert len(second) < len(first), "some would have asked what is held out"
    assert sorted(one.question.question for one in found) == sorted(one for one in alone if not doubted(one))
    assert 0 < len(found) < len(second)
    for one in found:
        assert one.cot.answer == total(one.question.question).answer
        assert one.cot.text == thinking(one.question, one.cot.answer)
        assert one.cot.label is None and one.turn == "" and one.instruction == ""
    assert given.spent.teacher_tokens == 10 * (len(first) + len(second))
    assert f"{len(second) - len(found)} of {len(second)} exercises are left out: asked again" in caplog.text
    assert "held out: " in caplog.text


def test_with_the_book_open_the_passage_is_shown_the_second_time(
    config: Config, task: TinyTask, tmp_path: Path, book: Path, author: list[Any]
) -> None:
    config = config.changed({"guidance.probability": 0.0})
    entry = {"passages": {"file": str(book), "examples": 2, "open_book": True}}
    found, _ = run(config, task, tmp_path / "run", "bank", entry)
    of_the_bank, found = found[:48], found[48:]
    assert {one.cot.teacher for one in of_the_bank} == {"tiny"}, "what was there before stays"
    assert {one.cot.teacher for one in found} == {"author"}
    second = [ask for ask in author if not ask.question.id.startswith("passage/")]
    for ask in second:
        question, passage = ask.messages[0]["content"].split("\n")
        assert passage == f"Sums of {question.split()[0]}.", "its own"
    assert len(found) == sum(not doubted(ask.question.question) for ask in second) > 0


@pytest.mark.parametrize("step", ["passages", "refine"])
def test_what_a_teacher_draws_is_a_function_of_the_seed(
    config: Config,
    task: TinyTask,
    tmp_path: Path,
    book: Path,
    author: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    row = next(one for one in task.rows("train") if not beyond(one.question))
    error = {"id": row.id, "response": "so", "answer": "2"}  # of whatever seed
    monkeypatch.setattr("realm.traces.errors.sampled", lambda *_: [error])
    entry: Any = {step: {"file": str(book)}} if step == "passages" else step
    drawn = []
    for number, seed in enumerate((3, 3, 4)):
        run(config.changed({"run.seed": seed}), task, tmp_path / str(number), entry)
        drawn.append([ask.source.random() for ask in author if "/" in ask.question.id])
        author.clear()
    assert drawn[0] == drawn[1] != drawn[2] != []


def test_how_far_it_is_is_said(
    config: Config,
    task: TinyTask,
    tmp_path: Path,
    book: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("realm.traces.base.EVERY", 0.0)
    priced = config.changed({"teachers.author.price": {"input": 1000, "output": 1000, "currency": "EUR"}})
    with caplog.at_level(logging.INFO):
        run(priced, task, tmp_path / "run", {"passages": {"file": str(book)}})
    assert re.search(r"asking author for 8 replies, for at most \d+\.\d\d EUR", caplog.text)
    assert "replies of teachers: 8 of 8" in caplog.text


def test_a_collection_that_broke_off_goes_on_and_pays_nothing_twice(
    config: Config, task: TinyTask, tmp_path: Path, book: Path, author: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"passages": {"file": str(book), "examples": 4}}
    straight, given = run(config, task, tmp_path / "straight", entry)
    whole = {ask.key for ask in author}
    author.clear()
    for most in (6, 20, 40):
        monkeypatch.setattr(Author, "most", most)
        with pytest.raises(TeacherError):
            run(config, task, tmp_path / "cut", entry)
    monkeypatch.undo()
    monkeypatch.setattr(Author, "answered", author)
    found, gone_on = run(config, task, tmp_path / "cut", entry)
    assert found == straight
    assert len(author) == len(whole)
    assert {ask.key for ask in author} == whole
    assert gone_on.spent.teacher_tokens == given.spent.teacher_tokens
    # And once more, as after `--overwrite`, which keeps the bank.
    assert run(config, task, tmp_path / "cut", entry)[0] == straight
    assert len(author) == len(whole)


def test_a_run_learns_from_passages(config: Config, tmp_path: Path, book: Path, author: list[Any]) -> None:
    """Without any bank; a resumed run reads what the killed one made."""
    settings = {"training.sft.traces": [{"passages": {"file": str(book), "examples": 3}}]}
    straight = go(config.changed({**settings, "run.name": "straight"}), bank=None)
    paid = len(author)
    cut = config.changed({**settings, "run.name": "cut"})
    with pytest.raises(Killed):
        go(cut, bank=None, progress=killed_at("sft", 0, 3))
    resumed = go(cut, bank=None, resume=True)
    assert len(author) == 2 * paid, "each run paid once"
    one, other = weights(straight.path / "model"), weights(resumed.path / "model")
    assert all(one[name].equal(other[name]) for name in one)
    assert spent_in(resumed.path / "traces").teacher_tokens == 10 * paid
    assert resumed.meta.cost is not None
    assert resumed.meta.cost.teacher_tokens == 10 * paid


def test_mistakes_are_told_before_anything_is_asked(config: Config, task: TinyTask, tmp_path: Path, book: Path) -> None:
    given = Given(config, task, None, Renderer(config, task, None, load(config.model.path)[1], CONTEXT, k=0))
    with pytest.raises(LaterError):
        passages([], given, file=str(book))
    with pytest.raises(DataError, match="cannot read it"):
        passages([], given, file=str(tmp_path / "none.md"))
    told = config.changed({"teachers.author.prompt": "{question} {comments} {gold}"})
    with pytest.raises(ConfigError, match=r"teachers\.author\.prompt: \{gold\} would tell"):
        run(told, task, tmp_path / "run", {"passages": {"file": str(book)}})
    blind = config.changed(
        {"teachers.author": {"kind": "transformers", "model": config.model.path, "prompt": "{question}"}}
    )
    with pytest.raises(ConfigError, match=r"teachers\.author\.prompt: expected \{comments\}"):
        run(blind, task, tmp_path / "run", {"passages": {"file": str(book), "open_book": True}})
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="passages: examples: Input should be greater than or equal to 1"):
        run(config, task, tmp_path / "run", {"passages": {"file": str(book), "examples": 0}})


def test_refinements_are_kept_where_they_verify(
    config: Config, task: TinyTask, tmp_path: Path, author: list[Any]
) -> None:
    found, given = run(config, task, tmp_path / "run", {"refine": {"questions": 12}})
    golds = {row.id: row for row in task.rows("train")}
    errors = json.loads((tmp_path / "run/asked/errors-0.json").read_text())["errors"]
    assert len(errors) == len(author) > 3
    right = {row["id"] for row in errors if not beyond(golds[row["id"]].question)}
    assert {one.question.id for one in found} == right
    assert 0 < len(right) < len(errors)
    for one in found:
        wrong = next(row for row in errors if row["id"] == one.question.id)
        assert one.question == golds[one.question.id]
        assert wrong["answer"] != one.question.answer == one.cot.answer
        assert one.cot.text == f"not {wrong['answer']}\n{thinking(one.question, one.cot.answer)}"
        prompt = asked(one).question
        assert prompt.startswith(one.question.question)
        assert f"\nThis is wrong: {wrong['response']}\nIts answer: {wrong['answer']}\n" in prompt
        assert one.cot.label == 1
    for ask in author:
        gold = golds[ask.question.id.partition("/")[0]].answer
        assert ask.question.question.endswith(f"Final answer: {gold}"), "the critic is told"
    assert given.spent.completions == 12
    assert given.spent.teacher_tokens == 10 * len(author)
    # Gone on with: neither sampled nor asked again, and what it took is counted.
    again, other = run(config, task, tmp_path / "run", {"refine": {"questions": 12}})
    assert again == found
    assert len(author) == len(errors)
    assert vars(other.spent) == vars(given.spent)


def test_a_refinement_that_was_cut_is_not_taught(
    config: Config, task: TinyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer may be right all the same."""
    assert run(config, task, tmp_path / "run", {"refine": {"questions": 12}})[0]
    monkeypatch.setattr(
        "realm.traces.steps.refine.replies",
        lambda given, plan: [replace(cot, problem="cut") for cot in replies(given, plan)],
    )
    with pytest.raises(DataError, match="nothing to teach"):
        run(config, task, tmp_path / "run", {"refine": {"questions": 12}})


def test_what_one_step_spent_is_not_lost_in_the_next(
    config: Config, task: TinyTask, tmp_path: Path, book: Path, author: list[Any]
) -> None:
    entries = {"passages": {"file": str(book)}}, {"refine": {"questions": 12}}
    for _ in range(2):
        found, given = run(config, task, tmp_path / "run", *entries)
        assert given.spent.teacher_tokens == 10 * len(author)
        assert given.spent.completions == 12
    assert {bool(one.instruction) for one in found} == {True, False}


def test_only_traces_of_before_are_left_where_nothing_is_wrong(
    config: Config, task: TinyTask, tmp_path: Path, author: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realm.traces.errors.sampled", lambda *_: [])
    found, _ = run(config, task, tmp_path / "run", "bank", "right", "refine")
    assert {one.instruction for one in found} == {""}
    assert not author
    assert made(["bank"], _, tmp_path / "none.json")


def test_the_desk_s_clerk_writes_from_its_book(tmp_path: Path) -> None:
    """Nobody can know the shop's rules: asked alone he answers otherwise, with the book open most often alike."""
    file = tmp_path / "book.md"
    task = DeskTask()
    file.write_text("".join(f"- {comment.text}\n" for comment in task.comments))
    overrides = {"model.path": "desk-base", "training.rl.max_completion_length": 64, "run.dir": tmp_path}
    config = load_config(None, [f"{key}={value}" for key, value in overrides.items()])
    _, tokenizer = load(config.model.path)
    renderer = Renderer(config, task, None, tokenizer, 512, k=0)
    kept = []
    with VerifierPool("desk") as verifiers:
        for open_book in (False, True):
            given = Given(config, task, None, renderer, verifiers, place=tmp_path / "run")
            entry = {"passages": {"file": str(file), "examples": 4, "open_book": open_book}}
            kept.append(run_steps([entry], given))
    assert len(kept[0]) < 58 < 87 < len(kept[1]), "of 116"
    assert all((case := read_case(one.question.question)) and task.fresh(case) for one in kept[1])
