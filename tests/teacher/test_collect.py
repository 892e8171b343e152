"""Collecting: N labelled samples a question, guided with probability ρ, the same for a seed, never asked for twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from realm.analysis.stats import statistics
from realm.bank.cot import CoT, comment_hash
from realm.bank.folder import BankFolder
from realm.bank.store import Bank
from realm.config import Config, load_config
from realm.desk.task import DeskTask
from realm.errors import ConfigError, ResourceError
from realm.tasks.registry import load_task
from realm.tasks.verify import Verdict
from realm.tasks.workers import Claim, VerifierPool
from realm.teacher.base import Ask, Reply
from realm.teacher.collect import bank_info, check_same, collect, costly, make_plan, worded_as
from realm.teacher.prompts import PROMPT, QUESTION_FIRST
from tests.conftest import read_rows, write_rows
from tests.holding import another_holds
from tests.teacher.asked import endpoint_config
from tests.teacher.asked import fill as fill_from
from tests.teacher.fake_teacher import PRICED, FakeTeacher, Sums, gather, make_config, right, settings
from tests.teacher.wire import Wire


@pytest.fixture(scope="module")
def task() -> DeskTask:
    return DeskTask(max_train=40, max_test=10)


def fill(path: Path, task: DeskTask, *overrides: str) -> BankFolder:
    config = load_config(None, ["bank.samples=4", *overrides])
    there = (path / "bank.json").exists()
    folder = BankFolder.open(path) if there else BankFolder.create(path, bank_info(config, task))
    with VerifierPool("desk") as pool:
        collect(config, task, folder, pool)
    return folder


def rows(folder: BankFolder) -> list[CoT]:
    return list(folder.scan())


def test_n_labelled_samples_of_every_question(task: DeskTask, tmp_path: Path) -> None:
    folder = fill(tmp_path / "bank", task)
    questions = {row.id: row for split in task.splits() for row in task.rows(split)}
    assert folder.questions().keys() == questions.keys()
    assert Counter(cot.question_id for cot in rows(folder)) == dict.fromkeys(questions, 4)
    hashes = {comment_hash(comment): comment for comment in task.comments}
    assert folder.comments().keys() == hashes.keys()
    for cot in rows(folder):
        assert cot.label == int(task.verifier(cot.answer, questions[cot.question_id].answer))
        assert cot.text.endswith(f"So {cot.answer}.")
        assert cot.guided == bool(cot.comments)
        assert {tag for name in cot.comments for tag in hashes[name].tags} <= set(questions[cot.question_id].tags)
    assert not (folder.path / "labels.jsonl").exists()


def test_a_bank_of_the_scripted_teacher_is_the_same_to_the_byte(task: DeskTask, tmp_path: Path) -> None:
    banks = [fill(tmp_path / name, task) for name in ("one", "two")]
    for name in ("cots.jsonl", "questions.jsonl", "comments.jsonl", "bank.json"):
        assert (banks[0].path / name).read_bytes() == (banks[1].path / name).read_bytes()
    order = [question.id for split in task.splits() for question in task.rows(split)]
    assert [(cot.question_id, cot.sample) for cot in rows(banks[0])] == [(name, n) for name in order for n in range(4)]
    assert rows(fill(tmp_path / "three", task, "run.seed=1")) != rows(banks[0])


def test_guidance_probability_decides_who_is_right(task: DeskTask, tmp_path: Path) -> None:
    never = Bank.open(fill(tmp_path / "never", task, "guidance.probability=0").path)
    always = Bank.open(fill(tmp_path / "always", task, "guidance.probability=1").path)
    assert not any(cot.guided for cot in never.all())
    assert statistics(never.groups())["error_ratio"] > 0.5 > 0.3 > statistics(always.groups())["error_ratio"]


def test_a_stopped_collection_goes_on_with_what_is_owed(task: DeskTask, tmp_path: Path) -> None:
    straight = rows(fill(tmp_path / "straight", task))
    folder = fill(tmp_path / "bank", task)
    path = tmp_path / "bank" / "cots.jsonl"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # killed in the middle of a line
    assert 0 < len(rows(folder)) < len(straight)
    fill(tmp_path / "bank", task)
    assert {cot.id: cot for cot in rows(folder)} == {cot.id: cot for cot in straight}
    assert len(rows(folder)) == len(straight)


def test_more_samples_keep_those_there_are(task: DeskTask, tmp_path: Path) -> None:
    before = rows(fill(tmp_path / "bank", task))
    after = rows(fill(tmp_path / "bank", task, "bank.samples=6"))
    assert len(after) == len(before) * 6 // 4
    assert after[: len(before)] == before
    assert BankFolder.open(tmp_path / "bank").info["samples"] == 6


def test_only_the_splits_named_are_asked_about(task: DeskTask, tmp_path: Path) -> None:
    folder = fill(tmp_path / "bank", task, "collect.splits=[validation]")
    assert {cot.question_id for cot in rows(folder)} == {row.id for row in task.rows("validation")}
    with pytest.raises(ConfigError, match=r"collect\.splits: expected some of train, .*, found 'exam'"):
        make_plan(load_config(None, ["collect.splits=[exam]"]), task)


def test_the_gold_is_told_of_train_alone(task: DeskTask) -> None:
    teacher = "teachers={big: {kind: openai, model: m, api_key_env: null, prompt: '{question} {comments} {gold}'}}"
    for splits in ("[]", "[train, ood, test]"):
        with pytest.raises(ConfigError, match=r"teachers\.big\.prompt: \{gold\} .* set collect\.splits to \[train\]"):
            make_plan(load_config(None, [teacher, f"collect.splits={splits}"]), task)
    plan = make_plan(load_config(None, [teacher, "collect.splits=[train]", "guidance.probability=0"]), task)
    (source,) = plan.sources
    golds = {question.id: question.answer for question in task.rows("train")}
    jobs = list(plan.jobs(source))
    assert {job.question.id for job in jobs} == golds.keys()
    for job in jobs:
        assert job.messages[-1]["content"] == f"{job.question.question} {golds[job.question.id]}"


def test_the_scripted_teacher_knows_the_desk_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"id": "{n}", "question": "{n}?", "answer": "{n}"}}\n' for n in range(40)))
    config: Config = load_config(None, ["task.name=jsonl", f"task.path={path}", "task.test_size=5"])
    with pytest.raises(ConfigError, match=r"the scripted teacher only knows the task desk, found task\.name jsonl"):
        make_plan(config, load_task(config))


def test_a_cot_that_the_verifier_failed_on_has_no_label(
    task: DeskTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = {
        0: Verdict(True),
        1: Verdict(False, "timeout"),
        2: Verdict(False, "error: x"),
        3: Verdict(False, "unreadable"),
    }
    judged = 0
    known = {question.claim(None)[1:] for name in task.splits() for question in task.rows(name)}

    def verify(self: VerifierPool, pairs: Sequence[Claim]) -> list[Verdict]:
        nonlocal judged
        judged += len(pairs)
        assert all(pair[1:] in known for pair in pairs), "each with its gold, the question's text and its kind"
        return [verdicts[number % 4] for number in range(len(pairs))]

    monkeypatch.setattr(VerifierPool, "verify", verify)
    folder = fill(tmp_path / "bank", task)
    found = {(cot.sample, cot.label, cot.reason) for cot in rows(folder)}
    assert found == {(0, 1, ""), (1, None, "timeout"), (2, None, "error: x"), (3, None, "unreadable")}
    before = judged
    fill(tmp_path / "bank", task)
    assert judged == before  # they were looked at; nobody looks again


def test_what_a_kill_left_unjudged_is_judged_on_resume(task: DeskTask, tmp_path: Path) -> None:
    straight = rows(fill(tmp_path / "bank", task))
    path = tmp_path / "bank" / "cots.jsonl"
    write_rows(path, [row | {"label": None, "reason": ""} for row in read_rows(path)])
    assert rows(fill(tmp_path / "bank", task)) == straight


def test_the_samples_are_shared_out_to_the_teachers(tmp_path: Path) -> None:
    big, small = FakeTeacher(name="big"), FakeTeacher(name="small", concurrent=False, batch=4)
    tally = gather(
        tmp_path / "bank", {big: settings(3), small: settings(1), FakeTeacher(name="none"): settings(0)},
        "bank.samples=4",
    )  # fmt: skip
    cots = rows(BankFolder.open(tmp_path / "bank"))
    assert Counter(cot.teacher for cot in cots) == {"big": 30, "small": 10}
    assert {(cot.teacher, cot.sample) for cot in cots} == {("big", 0), ("big", 1), ("big", 2), ("small", 0)}
    assert (tally.owed, tally.done, tally.left) == (40, 40, 0)
    assert small.calls == [4, 4, 2]
    assert set(big.calls) == {1}
    assert small.closed and big.closed


def test_concurrency_is_bounded_over_all_teachers(tmp_path: Path) -> None:
    one, two = FakeTeacher(name="one", delay=0.005), FakeTeacher(name="two", delay=0.005)
    alone = FakeTeacher(name="alone", concurrent=False, delay=0.005)
    together = 0

    def behave(ask: Ask, number: int) -> Reply:
        nonlocal together
        together = max(together, one.under_way + two.under_way + alone.under_way)
        return right(ask)

    one.behave = two.behave = alone.behave = behave
    teachers = dict.fromkeys((one, two, alone), settings())
    gather(tmp_path / "bank", teachers, "bank.samples=6", "collect.concurrency=5", task=Sums(20))
    assert 3 <= together <= 5
    assert alone.most == 1
    assert min(one.most, two.most) >= 2


def test_the_row_says_where_it_came_from(tmp_path: Path) -> None:
    def behave(ask: Ask, number: int) -> Reply:
        return Reply("bad \ud800", "1\ud800", "malformed", None, 3, {"finish_reason": "stop"})

    teacher = FakeTeacher(behave)
    gather(tmp_path / "bank", teacher, "guidance.probability=1", task=Sums(1))
    (cot,) = rows(BankFolder.open(tmp_path / "bank"))
    assert (cot.text, cot.answer, cot.label, cot.problem) == ("bad \ud800", "1\ud800", None, "malformed")
    assert (cot.guided, cot.comments) == (True, (comment_hash(Sums.comments[0]),))
    assert (cot.prompt_tokens, cot.completion_tokens, cot.meta) == (None, 3, '{"finish_reason": "stop"}')
    assert cot.seconds is not None and len(cot.params) == len(cot.prompt) == 16
    assert not cot.usable


def test_what_the_server_does_not_tell_is_charged_at_its_most(tmp_path: Path) -> None:
    teacher = FakeTeacher(lambda ask, number: Reply("I add. 1", "1", "", None, 3))
    tally = gather(tmp_path / "bank", {teacher: settings(price=PRICED)}, task=Sums(1))
    assert tally.spent.tokens == (6 + 64) + 3
    assert str(tally.spent.cost) == "0.076"
    assert tally.currency == "USD"


def test_other_settings_are_refused_by_name_and_harmless_ones_welcome(tmp_path: Path) -> None:
    task = DeskTask(max_train=3, max_test=2)
    config = make_config("bank.samples=2")
    folder = BankFolder.create(tmp_path / "bank", bank_info(config, task))
    check_same(folder, bank_info(make_config("bank.samples=9", "collect.concurrency=3", "collect.timeout=1"), task))
    clerk = "teachers.scripted-clerk"
    check_same(folder, bank_info(make_config(f"{clerk}.price={{input: 1000}}"), task))
    for key, value in (
        ("guidance.probability", "0.2"), (f"{clerk}.sampling.temperature", "0.1"), ("run.seed", "8"),
        (f"{clerk}.share", "2"),
    ):  # fmt: skip
        named = key.removeprefix("run.")
        with pytest.raises(ConfigError, match=rf"collected with another {named}; go on with the same settings"):
            check_same(folder, bank_info(make_config(f"{key}={value}"), task))
    comments = tmp_path / "rules.md"
    comments.write_text("- Rule one.\n")
    with pytest.raises(ConfigError, match=r"another guidance\.hash"):
        check_same(folder, bank_info(make_config(f"guidance.comments={comments}"), task))


def test_a_bank_is_gone_on_with_in_the_words_in_which_it_was_begun(tmp_path: Path) -> None:
    """Prompts of ours once had the question first; `bank.json` named no prompt then."""
    task = Sums(4)
    with Wire() as wire:
        config = endpoint_config(wire)
        before = {"wire": config.teachers["wire"].model_copy(update={"prompt": QUESTION_FIRST})}
        fill_from(tmp_path / "old", config.model_copy(update={"teachers": before}), task)
        fill_from(tmp_path / "new", config, task)
        old, new = (BankFolder.open(tmp_path / name) for name in ("old", "new"))
        assert (old.info["teachers"]["wire"]["prompt"], new.info["teachers"]["wire"]["prompt"]) == (None, PROMPT)
        assert {seen.body["messages"][1]["content"].startswith("Question:") for seen in wire.requests} == {True, False}
        for folder in (old, new):
            known = worded_as(config, folder.path)
            check_same(folder, bank_info(known, task))
            assert fill_from(folder.path, known, task).owed == 0
        assert len(wire.requests) == 8
        with pytest.raises(ConfigError, match=r"another teachers\.wire\.prompt"):
            check_same(old, bank_info(config, task))
    own = {"wire": config.teachers["wire"].model_copy(update={"prompt": "{question}"})}
    mine = config.model_copy(update={"teachers": own})
    assert worded_as(mine, old.path) == mine
    assert worded_as(config, tmp_path / "none") == config


def test_nothing_secret_is_in_the_bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    config = make_config("teachers.big={kind: openai, model: m, base_url: 'http://there/v1', api_key_env: MY_KEY}")
    folder = BankFolder.create(tmp_path / "bank", bank_info(config, DeskTask(max_train=3, max_test=2)))
    text = (folder.path / "bank.json").read_text()
    assert "MY_KEY" in text
    assert "sk-very-secret" not in text


def test_one_process_at_a_time(tmp_path: Path) -> None:
    folder = BankFolder.create(tmp_path / "bank", {})
    teacher = FakeTeacher()
    with another_holds(folder.path), pytest.raises(ResourceError, match="is working in this folder"):
        gather(tmp_path / "bank", teacher)
    assert not teacher.asked


def test_only_banks_of_the_scripted_teacher_cost_nothing(task: DeskTask, tmp_path: Path) -> None:
    assert not costly(fill(tmp_path / "desk", task).path)
    gather(tmp_path / "paid", FakeTeacher())
    assert costly(tmp_path / "paid")
    assert not costly(BankFolder.create(tmp_path / "empty", {}).path)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "bank.json").write_text('{"format": 1}')
    assert costly(tmp_path / "old")
