"""LLMs-as-Instructors: what the teacher writes for the student's errors becomes the round's examples."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.config import Config, load_config
from realm.desk.cases import read_case, work_out
from realm.desk.task import DeskTask
from realm.errors import DataError
from realm.files import read_jsonl
from realm.method.completion import parse
from realm.method.prompt import messages
from realm.sections import TeacherConfig
from realm.student.load import context_length, load
from realm.student.renderer import Renderer
from realm.tasks.base import Comment, Question, Task
from realm.tasks.workers import VerifierPool
from realm.teacher.base import Ask, Reply
from realm.teacher.instructing import Written, read_example
from realm.teacher.plan import Source
from realm.traces import errors as errors_module
from realm.traces.base import Given, Spent, Trace, Voice
from realm.traces.examples import Example, examples, tokenize
from realm.traces.pipeline import run_steps
from realm.traces.steps.tailored import tailored
from tests.tiny import CONTEXT, TAGS, TinyTask, pool, thinking, tiny_config


class Instructor:
    """Asks for another sum of the same parity, as `write` words it."""

    name, batch, concurrent, costs, parameters = "tiny", 4, False, "time", None
    asked: list[Ask]

    def __init__(self) -> None:
        self.asked = []

    def messages(self, question: Question, comments: Sequence[Comment]) -> Any:
        return [{"role": "user", "content": question.question}]

    def write(self, ask: Ask) -> str:
        a, b = ask.source.randrange(8), ask.source.randrange(8)
        made = Question("", f"{a} plus {b}", str((a + b) % 2))
        return Written(made.question, thinking(made, made.answer), made.answer).reply()

    async def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        self.asked += asks
        return [Reply(self.write(ask), "", "", 50, 10) for ask in asks]

    async def close(self) -> None:
        pass


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Instructor:
    made = Instructor()
    settings = TeacherConfig(kind="transformers", model="tiny")
    monkeypatch.setattr("realm.traces.steps.tailored.make_sources", lambda *_, **__: [Source(made, settings)])
    return made


@pytest.fixture
def config(tmp_path: Path, student: Path) -> Config:
    return tiny_config(tmp_path, student, instructors={"questions": 10, "examples": 2})


def build(
    config: Config, task: TinyTask, bank: Bank, folder: Path, spent: Spent | None = None, **options: Any
) -> list[Example]:
    """Examples of a round; what they took is added to `spent`."""
    chosen: dict[str, Any] = {"seed": 3, "round_": 0, "count": 40, "contrast": False, **options}
    config = config.changed({"run.seed": chosen["seed"]})
    with pool() as verifiers:
        given = at_work(config, task, bank, verifiers, folder, CONTEXT, round_=chosen["round_"])
        given = replace(given, spent=spent or Spent())
        traces = run_steps([{"tailored": {"contrast": chosen["contrast"]}}], given)
        return examples(traces, given, chosen["count"])


def at_work(
    config: Config, task: Task, bank: Bank, judge: VerifierPool, folder: Path, context: int, round_: int = 0
) -> Given:
    model, tokenizer = load(config.model.path)
    renderer = Renderer(config, task, bank, tokenizer, context, k=0)

    def students(which: str, spent: Spent) -> Voice:
        return Voice(model, tokenizer, batch_size=config.evaluation.batch_size, spent=spent)

    return Given(config, task, bank, renderer, judge, round_, students, folder)


def errors(folder: Path, round_: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "instructors" / f"errors-{round_}.json").read_text())["errors"]
    return found


def test_examples_are_what_the_teacher_wrote_for_the_errors(
    config: Config, task: TinyTask, bank: Bank, teacher: Instructor, tmp_path: Path
) -> None:
    found = build(config, task, bank, tmp_path / "here")
    golds = {row.id: row.answer for row in task.rows("train")}
    wrong = errors(tmp_path / "here")
    assert 0 < len(wrong) < 10, "the student guesses"
    assert all(row["answer"] != golds[row["id"]] for row in wrong)
    assert len(teacher.asked) == 2 * len(wrong), "two requests for each error"
    for ask in teacher.asked:
        assert any(f"{row['response']}\nFinal answer: {row['answer']}" in ask.question.question for row in wrong)
    assert len(found) == 40
    for example in found:
        completion = parse(example.completion, 0, TAGS)
        assert completion.format_ok
        assert example.routes == ()
        a, b = map(int, example.messages[-1]["content"].split()[0:3:2])
        assert completion.answer == str((a + b) % 2)
        assert completion.think == thinking(Question("", f"{a} plus {b}", ""), completion.answer)
        assert example.messages == messages(f"{a} plus {b}", (), task.wording, TAGS)
        assert example.taught.label is None, "nobody verified it"
    held_out = {row.question for split in task.splits() if split != "train" for row in task.rows(split)}
    replies = {cot.id: read_example(cot.text) for cot in Bank.open(tmp_path / "here/instructors/bank").all()}
    written = {name for name, one in replies.items() if one and one.question not in held_out}
    assert {example.question_id for example in found} == written
    assert {example.question_id for example in found[: len(written)]} == written, "each once before any comes again"
    _, tokenizer = load(config.model.path)
    renderer = Renderer(config, task, bank, tokenizer, CONTEXT, k=0)
    assert tokenize(renderer, found[:1])[0].completion[-1] == tokenizer.eos_token_id


def test_lessons_stand_behind_what_was_there_before(
    monkeypatch: pytest.MonkeyPatch, config: Config, task: TinyTask, bank: Bank, tmp_path: Path
) -> None:
    before, lesson = (Trace(row, bank.cots(row.id)[0]) for row in task.rows("train")[:2])
    given: Any = SimpleNamespace(config=config, task=task, folder=tmp_path)
    asked: list[bool] = []
    place = "realm.traces.steps.tailored"
    monkeypatch.setattr(f"{place}.own_errors", lambda *_, contrast: asked.append(contrast) or {})
    monkeypatch.setattr(f"{place}.exercises", lambda *_: [lesson])
    assert list(tailored([before], given, contrast=True)) == [before, lesson]
    assert asked == [True]


def test_cost(config: Config, task: TinyTask, bank: Bank, teacher: Instructor, tmp_path: Path) -> None:
    for round_ in (0, 1):
        spent, before = Spent(), len(teacher.asked)
        build(config, task, bank, tmp_path / "here", spent, round_=round_)
        assert spent.teacher_tokens == 10 * (len(teacher.asked) - before) > 0
        assert spent.completions == config.training.instructors.questions
        assert spent.tokens > 2 * spent.completions
        assert spent.seconds > 0
        # Killed and gone on with: it has been paid for once, and counts once.
        again = Spent()
        build(config, task, bank, tmp_path / "here", again, round_=round_)
        assert vars(again) == vars(spent)


def test_tokens_that_the_teacher_does_not_count_are_the_student_s(
    config: Config, task: TinyTask, bank: Bank, teacher: Instructor, tmp_path: Path
) -> None:
    class Silent(Instructor):
        async def ask(self, asks: Sequence[Ask]) -> list[Reply]:
            return [replace(reply, completion_tokens=None) for reply in await super().ask(asks)]

    teacher.__class__ = Silent
    spent = Spent()
    build(config, task, bank, tmp_path / "here", spent)
    rows = read_jsonl(tmp_path / "here" / "instructors" / "bank" / "cots.jsonl")
    assert spent.teacher_tokens == sum(len(row["text"].split()) for row in rows)


def test_a_second_start_pays_nothing_and_learns_the_same(
    config: Config, task: TinyTask, bank: Bank, teacher: Instructor, tmp_path: Path
) -> None:
    folder = tmp_path / "here"
    first = build(config, task, bank, folder)
    asked = len(teacher.asked)
    assert build(config, task, bank, folder) == first
    # Killed after the collection, or in the middle of it: what is there is neither sampled nor asked for again.
    cots = folder / "instructors" / "bank" / "cots.jsonl"
    lines = cots.read_text().splitlines(keepends=True)
    cots.write_text("".join(lines[:-2]) + lines[-2][:30])
    assert build(config, task, bank, folder) == first
    assert len(teacher.asked) == asked + 2


def test_replies_of_an_overwritten_run_are_used_where_they_fit(
    config: Config, task: TinyTask, bank: Bank, teacher: Instructor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder as `--overwrite` leaves it: with nothing but the bank of the replies."""
    folder = tmp_path / "here"

    def again(**options: Any) -> list[Example]:
        for item in (folder / "instructors").iterdir():
            if item.is_file():
                item.unlink()
        return build(config, task, bank, folder, **options)

    first = build(config, task, bank, folder, spent := Spent())
    requests = len(teacher.asked)
    assert again(spent=(anew := Spent())) == first
    assert len(teacher.asked) == requests > 0
    assert anew.teacher_tokens == spent.teacher_tokens > 0
    # Other errors: what was written for the first ones is neither taught nor counted.
    other = build(config, task, bank, tmp_path / "there", spent := Spent(), seed=4)
    assert again(spent=(anew := Spent()), seed=4) == other
    assert anew.teacher_tokens == spent.teacher_tokens
    # Nor is what another teacher wrote for the same errors.
    asked, there = len(teacher.asked), {cot.id for cot in Bank.open(folder / "instructors" / "bank").all()}
    monkeypatch.setattr(teacher, "parameters", {"temperature": 0.5})
    found = again()
    assert len(teacher.asked) - asked == 2 * len(errors(folder))
    assert there.isdisjoint(example.question_id for example in found)


def test_seed_round_and_count(config: Config, task: TinyTask, bank: Bank, teacher: Instructor, tmp_path: Path) -> None:
    first = build(config, task, bank, tmp_path / "one")
    assert build(config, task, bank, tmp_path / "two") == first
    assert build(config, task, bank, tmp_path / "one", round_=1) != first
    assert build(config, task, bank, tmp_path / "three", seed=4) != first
    assert build(config, task, bank, tmp_path / "four", count=7) == first[:7]


def test_contrast_shows_a_positive_cot(
    config: Config, task: TinyTask, bank: Bank, teacher: Instructor, tmp_path: Path
) -> None:
    without = task.rows("train")[0].id
    thin = Bank()
    thin.append(cot for cot in bank.all() if cot.question_id != without or cot.label == 0)
    build(config, task, thin, tmp_path / "here", contrast=True, seed=7)
    rows = errors(tmp_path / "here")
    for row in rows:
        cots = [cot for cot in thin.cots(row["id"]) if cot.label == 1 and cot.guided]
        assert row["right"] == (f"{cots[0].text}\nFinal answer: {cots[0].answer}" if cots else "")
    for ask in teacher.asked:
        assert ("A right response" in ask.question.question) == (not ask.question.id.startswith(f"{without}/"))
    build(config, task, thin, tmp_path / "alone", seed=7)
    assert {row["right"] for row in errors(tmp_path / "alone")} == {""}


def test_what_cannot_be_taught_is_left_out_and_told(
    config: Config,
    task: TinyTask,
    bank: Bank,
    teacher: Instructor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held_out = task.rows("test")[0]
    replies = [
        "I would not know.",
        Written(held_out.question.replace(" ", "  "), "is", "1").reply(),
        Written("1 plus 1", "is " * 30, "0").reply(),
        Written("1 plus " * 60, "is", "0").reply(),
    ]
    counter = iter(range(1000))

    def write(_: Instructor, ask: Ask) -> str:
        number = next(counter)
        return replies[number] if number < len(replies) else Written("1 plus 1", "is even", "0").reply()

    monkeypatch.setattr(Instructor, "write", write)
    found = build(config, task, bank, tmp_path / "here")
    assert {example.messages[-1]["content"] for example in found} == {"1 plus 1 answer"}
    assert {parse(example.completion, 0, TAGS).think for example in found} == {"is even"}
    assert all(part in caplog.text for part in ("unreadable: 1", "held out: 1", "too long: 2"))


def test_without_errors_positive_cots_are_taught(
    config: Config,
    task: TinyTask,
    bank: Bank,
    teacher: Instructor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(errors_module, "sampled", lambda *_: [])
    with caplog.at_level(logging.WARNING):
        found = build(config, task, bank, tmp_path / "here", spent := Spent(), count=100)
    assert "positive CoTs of the bank are taught" in caplog.text
    assert not teacher.asked
    right = {cot.id for row in task.rows("train") for cot in bank.cots(row.id) if cot.label == 1}
    assert {example.question_id for example in found} == right
    assert not any(vars(spent).values())
    with pytest.raises(DataError, match="nothing to teach"):
        build(config, task, Bank(), tmp_path / "there")


def test_replies_without_any_example_do_not_stop_the_run(
    config: Config,
    task: TinyTask,
    bank: Bank,
    teacher: Instructor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Instructor, "write", lambda *_: "I would not know.")
    assert len(build(config, task, bank, tmp_path / "here")) == 40
    assert "left out (unreadable:" in caplog.text
    assert "positive CoTs of the bank are taught" in caplog.text


def desk_config(folder: Path) -> Config:
    overrides = {
        "run.dir": folder, "model.path": "desk-base", "guidance.probability": 0.5, "routes.k": 1, "bank.samples": 1,
        "training.rl.max_completion_length": 64, "training.instructors.questions": 160,
        "training.instructors.examples": 2, "evaluation.batch_size": 64,
    }  # fmt: skip
    return load_config(None, [f"{key}={value}" for key, value in overrides.items()])


def test_the_desk_s_clerk_instructs(tmp_path: Path) -> None:
    """By contrast with a right response its examples are right more often than from the error alone."""
    config, task = desk_config(tmp_path), DeskTask()
    bank = Bank()
    for row in task.rows("train"):
        bank.append([CoT(row.id, work_out(task.case(row.id), task.book).text, row.answer, 1)])
    model, _ = load(config.model.path)
    shares = {}
    for contrast in (False, True):
        with VerifierPool("desk") as verifiers:
            given = at_work(config, task, bank, verifiers, tmp_path / str(contrast), context_length(model, config))
            found = examples(run_steps([{"tailored": {"contrast": contrast}}], given), given, 64)
        assert len(found) == 64
        assert all(example.completion.startswith(("<think> By the book", "<think> Usually")) for example in found)
        replies = Bank.open(tmp_path / str(contrast) / "instructors" / "bank").all()
        assert 0.3 < sum(cot.guided for cot in replies) / len(replies) < 0.7, "comments as often as for CoTs"
        written = [one for cot in replies if (one := read_example(cot.text))]
        assert len(written) == len(replies)
        cases = [(one.answer, read_case(one.question)) for one in written]
        right = [case is not None and answer == work_out(case, task.book).answer for answer, case in cases]
        shares[contrast] = sum(right) / len(replies)
    assert shares[True] > 0.85
    assert shares[False] < shares[True] - 0.15
